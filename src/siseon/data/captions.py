"""Pictures with sentences: Flickr's captions.txt, and any data set whose annotations have sentences.

captions.txt (Flickr8k, Flickr30k) has a line a sentence, `picture.jpg,A dog runs .` after a head `image,caption`, or
`picture.jpg#0<tab>A dog runs .` without one; several sentences a picture, each as good as the others. The pictures are
anywhere below the same folder.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from siseon.data.dataset import Annotation, Data, Dataset, Task
from siseon.data.files import Contents, Files, Notes, Record, text_of
from siseon.interface import DataError
from siseon.language.vocabulary import Vocabulary, words_of

NAMES = ("captions.txt", "captions.csv", "results.csv", "flickr8k.token.txt", "results_20130124.token")
"""Files that hold captions, in lower case; the first that is there is read."""

_LINE = re.compile(r"\s*(?P<picture>[^,|\t]+?\.\w{3,4})(?:#\d+)?\s*(?:\t|[,|](?:\s*\d+\s*\|)?)\s*(?P<sentence>.*)")

KNOWN = 5
"""A word that stands in fewer training sentences than this is not learnt (Vinyals et al. 2015, section 4.3.1)."""


@dataclass(frozen=True, eq=False)
class Captioned:
    """A split whose pictures have sentences in `language`; their words, as labels of the vocabulary, are the targets.

    most: only so many of the first sentences of a picture count.
    """

    pictures: Dataset
    language: str
    vocabulary: Vocabulary
    most: int | None = None

    @property
    def task(self) -> Task:
        """A sentence about the picture."""
        return "captioning"

    @property
    def classes(self) -> tuple[str, ...]:
        """The words of the vocabulary."""
        return self.vocabulary.words

    def __len__(self) -> int:
        return len(self.pictures)

    def annotation(self, index: int) -> Annotation:
        """The sentences about picture `index`, and their words as labels."""
        known = self.pictures.annotation(index)
        sentences = known.sentences.get(self.language, ())[: self.most]
        tokens = tuple(tuple(self.vocabulary.encode(sentence)) for sentence in sentences)
        return replace(known, sentences={self.language: sentences}, tokens=tokens)

    def picture(self, index: int) -> np.ndarray:
        """The pixels [height, width, 3] uint8 of picture `index`."""
        return self.pictures.picture(index)


def captioned(data: Data, *, language: str, vocabulary: Vocabulary, most: int | None = None) -> Data:
    """The same pictures for captioning, with their sentences in `language`. Raises DataError where they have none.

    most: of a training picture only so many of its first sentences are learnt; all of any other count as true.
    """
    first = next(iter(data.splits.values())).annotation(0)
    if language not in first.sentences:
        has = ", ".join(filter(None, first.sentences))
        raise DataError(
            f"{data.name} has no sentences in the language '{language}'",
            f"It has {has}" if has else "Take scenes, or a folder with captions.txt",
        )
    splits = {name: Captioned(split, language, vocabulary, most if name == "train" else None) for name, split in data}
    return Data(data.name, "captioning", vocabulary.words, splits, data.problems)


def recognises(files: Files) -> bool:
    """Whether one of NAMES is there and begins like captions."""
    path = _file(files)
    return path is not None and any(pair for _, pair in _pairs(text_of(path).splitlines()[:20]))


def read(files: Files, notes: Notes) -> Contents:
    """Every picture that the file names, with its sentences in the order of the file."""
    path = _file(files)
    if path is None:
        raise DataError(f"{files.root} holds no captions", f"Name the file {NAMES[0]}")
    found: dict[str, list[str]] = {}
    lines = text_of(path).splitlines()
    for number, pair in _pairs(lines):
        if pair is None or not words_of(pair[1]):
            notes.add(path, f"line {number} is no picture and sentence", "passed over")
        else:
            found.setdefault(pair[0], []).append(pair[1].strip())
    records = []
    for name, sentences in found.items():
        picture = files.picture(name, path)
        if picture is None:
            notes.add(path, f"the picture {name} is not there", "left out")
        else:
            records.append(Record(picture, path, sentences=sentences))
    return Contents("captioning", records)


def vocabulary_of(dataset: Dataset) -> Vocabulary:
    """The words of a split of files that occur KNOWN times; all of them where that would leave nothing."""
    annotations = (dataset.annotation(index) for index in range(len(dataset)))
    sentences = [sentence for known in annotations for group in known.sentences.values() for sentence in group]
    return Vocabulary.of(sentences, least=KNOWN) if len(sentences) > 10 * KNOWN else Vocabulary.of(sentences)


def _file(files: Files) -> Path | None:
    if files.chosen is not None:
        return files.chosen
    named = {path.name.lower(): path for path in files.of(".txt", ".csv", ".token")}
    return next((named[name] for name in NAMES if name in named), None)


def _pairs(lines: Sequence[str]) -> Iterator[tuple[int, tuple[str, str] | None]]:
    """(number of the line, (picture, sentence) or None where it is neither that nor the head nor empty)."""
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match:
            yield number, (match["picture"], _unquoted(match["sentence"]))
        elif line.strip() and number > 1:
            yield number, None


def _unquoted(sentence: str) -> str:
    """A sentence of a .csv without the quotes that stand around it because of a comma."""
    return next(csv.reader([sentence]), [""])[0] if sentence.startswith('"') else sentence


def padded(tokens: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    """The sentences of each picture as one array [pictures, sentences, words] int64, -1 where there is no word."""
    most = max(map(len, tokens), default=0)
    longest = max((len(sentence) for sentences in tokens for sentence in sentences), default=0)
    target = np.full((len(tokens), most, longest), -1, np.int64)
    for rows, sentences in zip(target, tokens, strict=True):
        for row, sentence in zip(rows, sentences, strict=False):
            row[: len(sentence)] = sentence
    return target

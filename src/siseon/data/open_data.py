"""`open_data`: any data set from its path. The format is recognised, what is wrong is noted and passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from siseon.data import arrays, captions, coco, folder, masks, panoptic, voc, yolo
from siseon.data.dataset import Data, Problem, Task
from siseon.data.files import Contents, FileDataset, Files, Notes, Record, clean_name
from siseon.data.mending import mend
from siseon.data.semantic import painted
from siseon.data.splitting import split_pool
from siseon.interface import DataError
from siseon.language.vocabulary import Vocabulary

BUILT_IN = ("scenes", "digits")

FORMATS = {
    "captions": captions,
    "YOLO text": yolo,
    "COCO JSON": coco,
    "Pascal VOC": voc,
    "pictures and maps of classes": masks,
    "a folder for each class": folder,
}

MAPS = {"panoptic COCO": panoptic, "pictures and maps of classes": masks}
"""Formats that come first where maps of classes are wanted: Pascal VOC and COCO have them beside their boxes.

Panoptic first: its PNG files lie in the folder annotations, as maps may.
"""

LOOKED_FOR = (
    "Looked for: YOLO (data.yaml, or images and labels folders), COCO (*.json), Pascal VOC (*.xml), "
    "pictures and maps of classes (images and masks folders), "
    "captions (captions.txt), a folder of pictures for each class, arrays (*.npz)"
)


class UnusableDataError(DataError):
    """A data set was recognised, but nothing in it can be used. `problems` says why, file by file."""

    def __init__(self, problem: str, remedy: str, problems: Sequence[Problem]) -> None:
        super().__init__(problem, remedy)
        self.problems = tuple(problems)


def open_data(
    path: str | Path,
    *,
    task: Task | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    language: str = "en",
) -> Data:
    """Open a data set: "scenes" or "digits" (built in), or a folder or annotation file whose format is recognised.

    Formats: Pascal VOC, COCO JSON, YOLO text, pictures and maps of their classes, captions.txt (Flickr's), a folder of
    pictures for each class, arrays in an .npz. task: what the data shall be for, where it can be for several;
    "segmentation" makes maps of objects with shapes (scenes, COCO, panoptic COCO), with a class "background" first;
    "captioning" gives the sentences of scenes, in `language` ("en" or "ko"). Left out, or another, the data is what it
    is. classes: keep only these, in this order (a model's, to evaluate it); for captions the words that are known. A
    folder that is called like a built-in set is opened as "./scenes".

    Splits are the data's own. Where it has only train, or one pool, 80 / 10 / 10 % become train, val and test by a
    hash of each picture's name and `seed`; where it has train and test only, 10 % of train become val. Copies of a
    picture stay together (see splitting.py).

    What is wrong is mended or left out, and listed in `problems`. Raises DataError where there is no data set, or
    nothing in it can be used.
    """
    if str(path) in BUILT_IN:
        return replace(_for_task(_built_in(str(path), classes, seed, task, language), task), source=str(path))
    source = Path(path).expanduser().absolute()
    try:
        if source.suffix.lower() == ".npz" and source.is_file():
            return replace(arrays.read(source, classes, seed), source=str(source))
        return replace(_for_task(_open(source, task, classes, seed), task), source=str(source))
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error})", "Check the rights of its files and the disk") from error


def _for_task(data: Data, task: Task | None) -> Data:
    return painted(data) if task == "segmentation" and data.task == "detection" else data


def _open(source: Path, task: Task | None, classes: Sequence[str] | None, seed: int) -> Data:
    files, read = _recognised(source, task)
    notes = Notes(files.root)
    contents = read(files, notes)
    records = mend(contents.records, notes)
    if not records:
        raise _nothing_usable(source, "no picture can be used", notes)
    if contents.task == "captioning":
        return _captions(files, contents, records, classes, notes, seed)
    names = _chosen(contents, records, classes, notes)
    if contents.task == "classification":
        records = [record for record in records if record.label in names]
    if not names or not records:
        raise _nothing_usable(source, "no picture or object of the wanted classes", notes)
    split_pool(records, notes, seed)
    splits = {split: [record for record in records if record.split == split] for split in ("train", "val", "test")}
    if splits["train"] and not splits["val"] and not splits["test"]:
        notes.add(records[0].picture, "is the only picture, but for copies", "used to train and to validate")
        splits["val"] = splits["train"]
    if contents.task != "segmentation":
        _note_classes(names, records, notes)
    datasets = {
        split: FileDataset.of(files.root, contents.task, names, chosen) for split, chosen in splits.items() if chosen
    }
    name = source.stem if source.suffix == ".json" else files.root.name
    return Data(name, contents.task, names, datasets, notes.problems())


def _captions(
    files: Files, contents: Contents, records: list[Record], words: Sequence[str] | None, notes: Notes, seed: int
) -> Data:
    """Pictures with sentences; the vocabulary is that of the training sentences, or the words given."""
    split_pool(records, notes, seed)
    splits = {split: [record for record in records if record.split == split] for split in ("train", "val", "test")}
    datasets = {
        split: FileDataset.of(files.root, contents.task, (), chosen) for split, chosen in splits.items() if chosen
    }
    first = datasets.get("train", next(iter(datasets.values())))
    vocabulary = captions.vocabulary_of(first) if words is None else Vocabulary(tuple(words))
    data = Data(files.root.name, contents.task, (), datasets, notes.problems())
    return captions.captioned(data, language="", vocabulary=vocabulary)


SCENE_SENTENCES = 3
"""How many of a scene's sentences are learnt: of thirty, a step would spend its time on sentences and not on seeing."""


def _built_in(name: str, classes: Sequence[str] | None, seed: int, task: Task | None, language: str) -> Data:
    if task == "captioning" and name == "scenes":
        from siseon.data.scene_sentences import every_word
        from siseon.data.scenes import scenes

        if language not in ("en", "ko"):
            raise DataError(f"scenes has no sentences in the language '{language}'", "It has en and ko")
        vocabulary = Vocabulary.of(every_word(language)) if classes is None else Vocabulary(tuple(classes))
        return captions.captioned(scenes(seed=seed), language=language, vocabulary=vocabulary, most=SCENE_SENTENCES)
    if name == "digits":
        from siseon.data.digits import digits

        data = digits()
    else:
        from siseon.data.scenes import scenes

        data = scenes(seed=seed)
    if classes is not None and tuple(classes) != data.classes:
        raise DataError(
            f"'{name}' has the classes {', '.join(data.classes)}, which cannot be chosen", "Leave classes out"
        )
    return data


def _recognised(source: Path, task: Task | None) -> tuple[Files, Callable[[Files, Notes], Contents]]:
    """The files of the data set and the reader of its format."""
    if not source.exists():
        raise DataError(f"There is no {source}", f"Give a folder, an annotation file, or {' or '.join(BUILT_IN)}")
    if source.is_file():
        return _recognised_file(source)
    while (
        len(inside := [item for item in source.iterdir() if not item.name.startswith(".")]) == 1 and inside[0].is_dir()
    ):
        # Archives often unpack into one folder in another; a lone folder of pictures is no class either.
        if not any(item.is_dir() for item in inside[0].iterdir()):
            break
        source = inside[0]
    files = Files(source)
    for reader in ({**MAPS, **FORMATS} if task == "segmentation" else FORMATS).values():
        if reader.recognises(files):
            return files, reader.read
    raise DataError(f"{source} is no data set that is known: it holds {_found(files)}", LOOKED_FOR)


def _recognised_file(source: Path) -> tuple[Files, Callable[[Files, Notes], Contents]]:
    suffix = source.suffix.lower()
    if suffix == ".json":
        beside = source.parent.name.lower() in ("annotations", "labels")
        files = Files(source.parent.parent if beside else source.parent, source)
        return files, panoptic.read if panoptic.recognises(files) else coco.read
    if suffix in (".yaml", ".yml"):
        return Files(source.parent, source), yolo.read
    remedy = "Unpack it and give the folder" if suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") else LOOKED_FOR
    raise DataError(f"{source} is no data set", remedy)


def _found(files: Files) -> str:
    counts = Counter({suffix or "without a suffix": len(paths) for suffix, paths in files.by_suffix.items()})
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5)) or "no files"
    folders = sorted({parts[0] for paths in files.by_suffix.values() for parts in map(files.parts, paths) if parts})
    return f"{kinds} in the folders {', '.join(folders[:5])}" if folders else kinds


def _chosen(
    contents: Contents, records: Sequence[Record], wanted: Sequence[str] | None, notes: Notes
) -> tuple[str, ...]:
    """The classes of the data set; objects of other classes than the wanted ones are dropped from the records."""
    counts = Counter(name for record in records for name in ([record.label] if record.label else record.names))
    names = contents.classes or tuple(sorted(counts))
    if wanted is None:
        return names
    chosen = tuple(clean_name(name) for name in wanted)
    if contents.task == "segmentation" and chosen != names:
        raise DataError(f"The maps have the classes {', '.join(names)}, which cannot be chosen", "Leave classes out")
    if len(set(chosen)) < len(chosen):
        raise DataError(f"The classes {', '.join(chosen)} name one twice", "Name each class once")
    if not set(chosen) & set(names):
        raise DataError(f"The data has none of the classes {', '.join(chosen)}", f"It has {', '.join(names)}")
    for name in sorted(counts.keys() - set(chosen)):
        notes.add(notes.root, f"{counts[name]} of the class '{name}', which was not chosen", "left out")
    for record in records:
        record.keep(np.array([name in chosen for name in record.names], bool))
    return chosen


def _note_classes(names: Sequence[str], records: Sequence[Record], notes: Notes) -> None:
    used = {name for record in records for name in (*record.names, record.label)}
    unused = [name for name in names if name not in used]
    if unused:
        notes.add(notes.root, f"classes without a picture: {', '.join(unused)}", "kept")
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for same in alike.values():
        if len(same) > 1:
            notes.add(notes.root, f"classes that differ only in case or spaces: {', '.join(same)}", "kept apart")


def _nothing_usable(source: Path, what: str, notes: Notes) -> UnusableDataError:
    problems = notes.problems()
    first = "; ".join(f"{problem.file}: {problem.what}" for problem in problems[:3])
    return UnusableDataError(
        f"{source}: {what}" + (f" ({first})" if first else ""), "Mend these files and try again", problems
    )

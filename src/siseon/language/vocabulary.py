"""A vocabulary: sentences as whole numbers for a network, and back.

A word is a run of letters (Hangul too), digits, hyphens and apostrophes; each punctuation mark is a word of its own.
Case is not kept: a sentence that is put together again begins with a capital. Korean words keep their particles, which
is right where the sentences are few and alike; a large Korean vocabulary would want morphemes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_CLINGS = re.compile(r" ([.,!?;:%)\]])")
_OPENS = re.compile(r"([(\[]) ")


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case, Hangul composed."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def spoken_words(text: str) -> list[str]:
    """The words of a text without punctuation, as captions are judged."""
    return [word for word in words_of(text) if any(character.isalnum() for character in word)]


def sentence_of(words: Sequence[str]) -> str:
    """Words as a sentence: a space between them but before punctuation, a capital at the beginning."""
    text = _OPENS.sub(r"\1", _CLINGS.sub(r"\1", " ".join(words)))
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows; their places are its labels. The label after the last means any other word."""

    words: tuple[str, ...]

    @staticmethod
    def of(sentences: Iterable[str], *, least: int = 1) -> Vocabulary:
        """The words that stand in the sentences at least `least` times, the most frequent first."""
        counts = Counter(word for sentence in sentences for word in words_of(sentence))
        kept = [word for word, count in counts.items() if count >= least]
        return Vocabulary(tuple(sorted(kept, key=lambda word: (-counts[word], word))))

    def encode(self, text: str) -> list[int]:
        """The labels of the words of a text, 0..words; `len(words)` is a word that is not known."""
        return [self._places.get(word, len(self.words)) for word in words_of(text)]

    def decode(self, labels: Sequence[int]) -> str:
        """The sentence of these labels; a word that is not known is shown as an ellipsis."""
        return sentence_of([self.words[label] if label < len(self.words) else "…" for label in labels])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

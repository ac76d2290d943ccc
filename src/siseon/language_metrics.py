"""How near sentences come to true ones: BLEU and CIDEr-D. Sentences are judged in lower case without punctuation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from siseon.language.vocabulary import spoken_words

LONGEST = 4
"""Runs of up to so many words are compared."""
SIGMA = 6.0
"""Of the Gaussian by which CIDEr-D punishes a difference in length, in words."""

Run: TypeAlias = tuple[str, ...]


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of a corpus, 0..1 (Papineni et al. 2002): one candidate a picture, any number of true sentences.

    The geometric mean of the shares of runs of 1..n words that a true sentence has too, counted over all pictures, each
    run at most as often as in one true sentence; times a penalty where the candidates together are shorter than the
    true sentences nearest in length (of two as near, the shorter). No smoothing: without a common run of n words BLEU-n
    is 0. nan where there are no candidates. Raises ValueError where the lists differ in length or a picture has no true
    sentence.
    """
    pairs = _in_words(candidates, references)
    if not pairs:
        return (math.nan,) * 4
    common, said = [0] * LONGEST, [0] * LONGEST
    length = wanted = 0
    for candidate, true in pairs:
        length += len(candidate)
        wanted += min((abs(len(one) - len(candidate)), len(one)) for one in true)[1]
        for size in range(1, LONGEST + 1):
            runs = _runs(candidate, size)
            most: Counter[Run] = Counter()
            for sentence in true:
                most |= _runs(sentence, size)
            common[size - 1] += (runs & most).total()
            said[size - 1] += runs.total()
    penalty = 1.0 if length >= wanted else math.exp(1 - wanted / max(length, 1))
    first, second, third, fourth = (
        penalty * _geometric_mean(common[:size], said[:size]) for size in range(1, LONGEST + 1)
    )
    return first, second, third, fourth


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of a corpus, 0..10 (Vedantam, Zitnick, Parikh 2015, arXiv:1411.5726, equations 1 to 4 and section 6.1).

    Runs of 1..4 words weigh the more, the fewer pictures have them in a true sentence: a sentence that fits every
    picture is worth nothing. The mean over the pictures; with one picture alone it is 0, as no run is rare. nan and
    ValueError as `bleu`. As in the authors' code, equation 1's weights are counts, not shares, and the difference in
    length is that in pairs of words.
    """
    pairs = _in_words(candidates, references)
    if not pairs:
        return math.nan
    pictures: Counter[Run] = Counter()
    for _, true in pairs:
        pictures.update({run for one in true for size in range(1, LONGEST + 1) for run in _runs(one, size)})
    total = 0.0
    for candidate, true in pairs:
        own = _weights(candidate, pictures, len(pairs))
        total += sum(_alike(candidate, one, own, _weights(one, pictures, len(pairs))) for one in true) / len(true)
    return 10 * total / len(pairs)


def _in_words(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> list[tuple[list[str], list[list[str]]]]:
    if len(candidates) != len(references) or not all(references):
        raise ValueError("each picture needs one candidate and at least one true sentence")
    return [
        (spoken_words(candidate), [spoken_words(one) for one in true])
        for candidate, true in zip(candidates, references, strict=True)
    ]


def _runs(words: Sequence[str], size: int) -> Counter[Run]:
    return Counter(zip(*(words[start:] for start in range(size)), strict=False))


def _geometric_mean(common: Sequence[int], said: Sequence[int]) -> float:
    if not all(common):
        return 0.0
    return math.exp(sum(math.log(one / other) for one, other in zip(common, said, strict=True)) / len(common))


def _weights(words: Sequence[str], pictures: Mapping[Run, int], count: int) -> list[dict[Run, float]]:
    """For runs of 1..4 words: how often each stands here, times the logarithm of its rarity."""
    return [
        {run: times * math.log(count / max(pictures.get(run, 0), 1)) for run, times in _runs(words, size).items()}
        for size in range(1, LONGEST + 1)
    ]


def _alike(
    candidate: Sequence[str], true: Sequence[str], own: list[dict[Run, float]], other: list[dict[Run, float]]
) -> float:
    """The mean over run lengths of the cosine, clipped where the candidate repeats, times the penalty of length."""
    difference = max(len(candidate) - 1, 0) - max(len(true) - 1, 0)
    penalty = math.exp(-(difference**2) / (2 * SIGMA**2))
    total = 0.0
    for mine, theirs in zip(own, other, strict=True):
        product = sum(min(weight, theirs.get(run, 0.0)) * theirs.get(run, 0.0) for run, weight in mine.items())
        length = math.hypot(*mine.values()) * math.hypot(*theirs.values())
        total += product / length if length else 0.0
    return penalty * total / LONGEST

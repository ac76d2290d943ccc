"""Things as sentences, Korean and English: "왼쪽에 사람 두 명, 앞에 자동차 한 대가 있습니다."

What is sure is said first and plainly; what is not has sentences of its own, hedged by how likely it is. A sentence is
as sure as the least sure thing in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from siseon.describing.places import Distance, Side, Thing
from siseon.interface import Caption
from siseon.language.counting import Language, counted, english_number, korean_number
from siseon.language.particles import with_particle

SURE, LIKELY = 0.8, 0.5
"""Scores from which a thing is said plainly, and said to be probable; below it may be."""
CAPTION_SURE, CAPTION_LIKELY = 0.8, 0.3
"""Mean probabilities of a word from which a sentence of a captioner is said plainly, and at all."""
MOST = 6
"""So many kinds of things are named in a sentence; the others are only counted."""

ORDER = ("left", "ahead", "right")
DISTANCES = ("near", "", "far")
PLACES = {
    ("left", "near"): ("close by on the left", "왼쪽 가까이에"),
    ("left", ""): ("on the left", "왼쪽에"),
    ("left", "far"): ("far off on the left", "왼쪽 멀리"),
    ("ahead", "near"): ("right ahead", "바로 앞에"),
    ("ahead", ""): ("ahead", "앞에"),
    ("ahead", "far"): ("far ahead", "앞쪽 멀리"),
    ("right", "near"): ("close by on the right", "오른쪽 가까이에"),
    ("right", ""): ("on the right", "오른쪽에"),
    ("right", "far"): ("far off on the right", "오른쪽 멀리"),
}
NOTHING = {"en": "I see nothing that I know.", "ko": "아는 것이 보이지 않습니다."}


def described(things: Sequence[Thing], language: Language, caption: Caption | None = None) -> str:
    """What is where, in one sentence for each degree of certainty; before it the captioner's sentence, if likely."""
    levels: list[list[Thing]] = [[], [], []]
    for thing in things:
        levels[0 if thing.score >= SURE else 1 if thing.score >= LIKELY else 2].append(thing)
    said = [_sentence(level, certainty, language) for certainty, level in enumerate(levels) if level]
    scene = [] if caption is None else _scene(caption, language)
    return " ".join([*scene, *(said or ([] if scene else [NOTHING[language]]))])


def _scene(caption: Caption, language: Language) -> list[str]:
    if caption.score < CAPTION_LIKELY or not caption.text:
        return []
    text = caption.text if caption.text[-1] in ".!?" else f"{caption.text}."
    if caption.score >= CAPTION_SURE:
        return [text]
    return [f"아마 이런 모습입니다. {text}" if language == "ko" else f"It seems to be this: {text}"]


def _sentence(things: Sequence[Thing], certainty: int, language: Language) -> str:
    """One sentence about things of one degree of certainty: 0 sure, 1 likely, 2 possible."""
    groups, left_out = _groups(things)
    korean = language == "ko"
    parts: list[tuple[str, list[str]]] = []
    for place, of_place in groupby(groups, key=lambda group: group[0]):
        parts.append((PLACES[place][korean], [counted(name, count, language) for _, name, count in of_place]))
    if korean:
        return _korean(parts, certainty) + _korean_rest(left_out, certainty)
    return _english(parts, certainty, plural=groups[0][2] > 1) + _english_rest(left_out, certainty)


def _groups(things: Sequence[Thing]) -> tuple[list[tuple[tuple[Side, Distance], str, int]], int]:
    """(place, class, how many) from left to right, near to far, for the largest; and how many things are left out."""
    counts = Counter(((thing.side, thing.distance), thing.name) for thing in things)
    kept = list(counts)[:MOST]  # things come largest first
    kept.sort(key=lambda key: (ORDER.index(key[0][0]), DISTANCES.index(key[0][1])))
    groups = [(place, name, counts[place, name]) for place, name in kept]
    return groups, len(things) - sum(count for _, _, count in groups)


def _korean(parts: Sequence[tuple[str, Sequence[str]]], certainty: int) -> str:
    phrases = []
    for place, items in parts:
        *before, last = items
        joined = ", ".join([*before[:-1], f"{with_particle(before[-1], '과/와')} {last}"]) if before else last
        phrases.append(f"{place} {joined}")
    subject = with_particle(", ".join(phrases), "이/가")
    maybe = "아마 " if certainty == 1 else ""
    return f"{maybe}{subject} {'있는 것 같습니다' if certainty == 2 else '있습니다'}."


def _english(parts: Sequence[tuple[str, Sequence[str]]], certainty: int, *, plural: bool) -> str:
    joined = _listed([f"{_listed(items)} {place}" for place, items in parts])
    verb = (
        "There are" if plural else "There is",
        "There probably are" if plural else "There probably is",
        "There may be",
    )
    return f"{verb[certainty]} {joined}."


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _korean_rest(count: int, certainty: int) -> str:
    if not count:
        return ""
    number = korean_number(count)
    return (
        f" 그 밖에 {number} 개가 더 있습니다.",
        f" 아마 그 밖에 {number} 개가 더 있습니다.",
        f" 그 밖에 {number} 개가 더 있는 것 같습니다.",
    )[certainty]


def _english_rest(count: int, certainty: int) -> str:
    if not count:
        return ""
    number = english_number(count)
    verb = "is" if count == 1 else "are"
    return (
        f" {number.capitalize()} more {verb} in view.",
        f" Probably {number} more {verb} in view.",
        f" There may be {number} more.",
    )[certainty]

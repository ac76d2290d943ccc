"""How many of what, as it is said: two dogs, 개 두 마리. names/spoken.csv has the nouns and their Korean counters."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, TypeAlias

Language: TypeAlias = Literal["en", "ko"]

ENGLISH = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
UNITS = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
"""Native Korean numbers as they stand before a counter: 한 개, not 하나 개."""
TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")


class Noun(NamedTuple):
    """A class as it is said: English singular and plural, Korean, and the Korean word with which it is counted."""

    english: str
    plural: str
    korean: str
    counter: str


@cache
def nouns() -> Mapping[str, Noun]:
    """Class name -> noun: COCO's 80 classes, those of scenes, and a few more."""
    lines = files("siseon").joinpath("names", "spoken.csv").read_text(encoding="utf-8").splitlines()
    return {row["class"]: Noun(*(row[field] for field in Noun._fields)) for row in csv.DictReader(lines)}


def noun(name: str) -> Noun:
    """The noun of a class; one that is not in the table is said as it is written, and counted in 개."""
    known = nouns().get(name.lower())
    if known:
        return known
    plural = name if not name.isascii() else f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
    return Noun(name, plural, name, "개")


def counted(name: str, count: int, language: Language) -> str:
    """So many of a class, 1 or more: "a dog", "two dogs", "개 두 마리"."""
    word = noun(name)
    if language == "ko":
        return f"{word.korean} {korean_number(count)} {word.counter}"
    if count == 1:
        return f"{'an' if word.english[0].lower() in 'aeiou' else 'a'} {word.english}"
    return f"{english_number(count)} {word.plural}"


def english_number(count: int) -> str:
    """A number as a word up to twelve, in digits beyond."""
    return ENGLISH[count] if count < len(ENGLISH) else str(count)


def korean_number(count: int) -> str:
    """A native number before a counter, 1 to 99: 한, 열두, 스무, 스물한; in digits beyond."""
    if count == 20:
        return "스무"
    return TENS[count // 10] + UNITS[count % 10] if count < 100 else str(count)

"""Korean particles after any word: 은 or 는, 이 or 가, 으로 or 로, by how the word ends when it is said.

Hangul tells by its code; digits are read as Korean numbers; Latin letters as names of letters where a word has no vowel
(RCNN: 알씨엔엔), else as the English word is usually written in Hangul (net: 넷, fast: 패스트).
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Ending: TypeAlias = Literal["vowel", "ㄹ", "consonant"]

_DIGITS: dict[str, Ending] = {
    **dict.fromkeys("2459", "vowel"),  # 이 사 오 구
    **dict.fromkeys("178", "ㄹ"),  # 일 칠 팔
    **dict.fromkeys("036", "consonant"),  # 영 (십, 백, 천), 삼, 육
}
_VERSIONS: dict[str, Ending] = {**dict.fromkeys("0234568", "vowel"), **dict.fromkeys("179", "consonant")}
"""After a single letter (v2, b0) digits are read in English: 제로, 원, 투, 쓰리, 포, 파이브, 식스, 세븐, ..."""
_LETTERS: dict[str, Ending] = {"l": "ㄹ", "r": "ㄹ", "m": "consonant", "n": "consonant"}
"""The names of letters that end in a consonant: 엘, 알, 엠, 엔."""


def with_particle(word: str, pair: str) -> str:
    """The word with the right one of a pair: "은/는", "이/가", "을/를", "과/와", "으로/로", "이다/다"."""
    after_consonant, after_vowel = pair.split("/")
    end = ending(word)
    if end == "vowel" or (end == "ㄹ" and after_consonant == "으로"):
        return word + after_vowel
    return word + after_consonant


def ending(word: str) -> Ending:
    """How a word ends when it is said; what stands in parentheses at its end is not said."""
    said = re.sub(r"(?:\s*\([^()]*\)|[^0-9A-Za-z가-힣])+$", "", word)
    if not said:
        return "vowel"
    last = said[-1]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return "vowel" if final == 0 else "ㄹ" if final == 8 else "consonant"
    if last.isdigit():
        version = re.search(r"(?:^|[^A-Za-z])[A-Za-z](\d)$", said)
        return _VERSIONS[version[1]] if version else _DIGITS[last]
    latin = re.search(r"[A-Za-z]+$", said)
    return _of_latin(latin[0].lower()) if latin else "vowel"


def _of_latin(word: str) -> Ending:
    if len(word) == 1 or not re.search(r"[aeiouy]", word):
        return _LETTERS.get(word[-1], "vowel")
    if re.search(r"(?:[aeiouy]|[^aeiou]l)l?e?$", word) and re.search(r"le?$", word):
        return "ㄹ"  # model, mobile, google
    if re.search(r"(?:[mn]|ng|[mn]e)$", word):
        return "consonant"  # plain, time, pruning
    if re.search(r"(?:^|[^aeiou])[aeiou](?:t|p|k|ck|b)$", word):
        return "consonant"  # net, top, block, web
    return "vowel"

"""What can be said of a drawn scene, in English and Korean, in a closed vocabulary.

Where each thing is, the largest first; how many of what there are; and for any two where each is, seen from the other.
All of it is true, and nothing else that can be said in these words is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np

from siseon.language.particles import with_particle

CLASSES: Final = ("circle", "square", "triangle", "star", "digit")
KOREAN: Final = {"circle": "원", "square": "사각형", "triangle": "삼각형", "star": "별", "digit": "숫자"}

COLOURS: Final = (
    ("red", "빨간", (218, 38, 38)),
    ("green", "초록색", (30, 158, 58)),
    ("blue", "파란", (36, 80, 220)),
    ("yellow", "노란", (246, 214, 36)),
    ("orange", "주황색", (246, 130, 22)),
    ("purple", "보라색", (140, 50, 180)),
    ("white", "하얀", (246, 246, 246)),
    ("black", "검은", (24, 24, 28)),
)
"""English, Korean (as it stands before a noun), and RGB before shading."""

PLACES: Final = {
    (-1, 0): ("to the left of", "왼쪽에"),
    (1, 0): ("to the right of", "오른쪽에"),
    (0, -1): ("above", "위에"),
    (0, 1): ("below", "아래에"),
    (-1, -1): ("above and to the left of", "왼쪽 위에"),
    (1, -1): ("above and to the right of", "오른쪽 위에"),
    (-1, 1): ("below and to the left of", "왼쪽 아래에"),
    (1, 1): ("below and to the right of", "오른쪽 아래에"),
}
REGIONS: Final = {
    (-1, -1): ("at the top left", "왼쪽 위에"),
    (0, -1): ("at the top", "위쪽에"),
    (1, -1): ("at the top right", "오른쪽 위에"),
    (-1, 0): ("on the left", "왼쪽에"),
    (0, 0): ("in the middle", "가운데에"),
    (1, 0): ("on the right", "오른쪽에"),
    (-1, 1): ("at the bottom left", "왼쪽 아래에"),
    (0, 1): ("at the bottom", "아래쪽에"),
    (1, 1): ("at the bottom right", "오른쪽 아래에"),
}
EDGE: Final = 1 / 20
"""A thing whose centre is so near to the border of two thirds of a scene, in sides of it, may be said to be in both."""
FRONT: Final = ("in front of", "앞에")
BEHIND: Final = ("behind", "뒤에")
ENGLISH_COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six")
KOREAN_COUNTS: Final = ("", "한", "두", "세", "네", "다섯", "여섯")


@dataclass(frozen=True, slots=True)
class Thing:
    """An object: its class, and its colour as a place in COLOURS."""

    label: int
    colour: int

    @property
    def english(self) -> str:
        """A red circle."""
        colour = COLOURS[self.colour][0]
        return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {CLASSES[self.label]}"

    @property
    def korean(self) -> str:
        """빨간 원."""
        return f"{COLOURS[self.colour][1]} {KOREAN[CLASSES[self.label]]}"


def sentences(things: tuple[Thing, ...], boxes: np.ndarray, size: int = 160) -> dict[str, tuple[str, ...]]:
    """Where each thing is; how many of what there are, or that there is one only; where two are, seen from each other.

    The largest come first, and of two places that may be said of a thing the better one.
    """
    order = np.argsort(-_areas(boxes), kind="stable").tolist()
    said = [
        (
            f"{things[one].english.capitalize()} is {place}.",
            f"{with_particle(things[one].korean, '이/가')} {korean_place} 있습니다.",
        )
        for one in order
        for place, korean_place in _regions(boxes[one], size)
    ]
    said.append((_english_inventory(things), _korean_inventory(things)))
    if len(things) == 1:
        said.append((f"There is only {things[0].english}.", f"{things[0].korean} 하나만 있습니다."))
    pairs = (both for pair in combinations(order, 2) for both in (pair, pair[::-1]))
    for one, other in pairs:
        place, korean_place = _place(boxes[one], boxes[other]) or (FRONT if one > other else BEHIND)
        subject = with_particle(things[one].korean, "이/가")
        said.append(
            (
                f"{things[one].english.capitalize()} is {place} {things[other].english}.",
                f"{subject} {things[other].korean}의 {korean_place} 있습니다.",
            )
        )
    english, korean = zip(*said, strict=True)
    return {"en": english, "ko": korean}


def _regions(box: np.ndarray, size: int) -> list[tuple[str, str]]:
    """The ninths of the scene, in English and Korean, in which the centre of a box is; the one that holds it first."""
    across, down = ((box[:2] + box[2:]) / 2 / size).tolist()
    held = _third(across), _third(down)
    columns, rows = ({_third(place - EDGE), _third(place + EDGE)} for place in (across, down))
    return [REGIONS[place] for place in sorted(product(columns, rows), key=lambda place: (place != held, place))]


def _third(place: float) -> int:
    """-1, 0 or 1 for the first, second or last third of 0..1."""
    return int(3 * min(max(place, 0.0), 0.999)) - 1


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _place(box: np.ndarray, other: np.ndarray) -> tuple[str, str] | None:
    """Where a box is, seen from another, in English and Korean; None where their centres nearly fall together.

    Left, right, above and below mean at least twice as far that way as the other.
    """
    right, down = box[:2] + box[2:] - other[:2] - other[2:]
    width, height = box[2:] - box[:2] + other[2:] - other[:2]
    if 4 * abs(right) < width and 4 * abs(down) < height:
        return None
    across, along = 2 * abs(right) > abs(down), 2 * abs(down) > abs(right)
    return PLACES[int(np.sign(right)) * across, int(np.sign(down)) * along]


def _english_inventory(things: tuple[Thing, ...]) -> str:
    counts = [f"{ENGLISH_COUNTS[count]} {name}{'s' if count > 1 else ''}" for name, count in _counted(things)]
    listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    return f"The picture shows {listed}."


def _korean_inventory(things: tuple[Thing, ...]) -> str:
    counts = [f"{KOREAN[name]} {KOREAN_COUNTS[count]} 개" for name, count in _counted(things)]
    listed = "와 ".join(counts) if len(counts) == 2 else ", ".join(counts)
    return f"그림에 {with_particle(listed, '이/가')} 있습니다."


def _counted(things: tuple[Thing, ...]) -> list[tuple[str, int]]:
    counts = Counter(CLASSES[thing.label] for thing in things)
    return [(name, counts[name]) for name in CLASSES if counts[name]]


def every_word(language: str) -> tuple[str, ...]:
    """Sentences in "en" or "ko" in which each word of the closed vocabulary occurs, with each of its particles."""
    first, second = np.array([0, 0, 9, 9], np.float32), np.array([0, 0, 8, 8], np.float32)
    one = Thing(0, 0)
    said = [sentences(tuple(Thing(label, 0) for label in (0, 1, 2)), _apart(3))]
    for right, down in (*PLACES, (0, 0)):
        boxes = np.stack([first + 50, second + 50 + 30 * np.array([right, down, right, down], np.float32)])
        said += [sentences(pair, boxes) for pair in ((one, Thing(0, 1)), (Thing(0, 1), one))]
    for right, down in REGIONS:
        said.append(sentences((one,), first[None] + 75 + 53 * np.array([right, down, right, down], np.float32)))
    for label, colour in product(range(len(CLASSES)), range(len(COLOURS))):
        thing = Thing(label, colour)
        said += [sentences((thing,), first[None]), sentences((thing, one), np.stack([first, second + 40]))]
    for label, count in product(range(len(CLASSES)), range(1, len(ENGLISH_COUNTS))):
        things = (Thing(label, 0),) * count
        others = (Thing((label + 1) % len(CLASSES), 0),)
        said += [sentences(things, _apart(count)), sentences(others + things, _apart(1 + count))]
    return tuple(sentence for each in said for sentence in each[language])


def _apart(count: int) -> np.ndarray:
    return np.array([[20 * place, 0, 20 * place + 10, 10] for place in range(count)], np.float32)

"""What is said of drawn scenes is true of their pixels, and said alike in both languages."""

import re

import numpy as np
import pytest

from siseon.data import scene_sentences
from siseon.data.scene_sentences import CLASSES, COLOURS, Thing
from siseon.data.scenes import Scenes

RED, GREEN, BLUE, YELLOW, ORANGE = range(5)
CIRCLE, SQUARE, TRIANGLE, STAR, DIGIT = range(5)


@pytest.mark.parametrize(
    "box, place",
    [
        ((0, 50, 10, 60), "to the left of"),
        ((90, 50, 100, 60), "to the right of"),
        ((50, 0, 60, 10), "above"),
        ((50, 90, 60, 100), "below"),
        ((0, 0, 10, 10), "above and to the left of"),
        ((90, 0, 100, 10), "above and to the right of"),
        ((0, 90, 10, 100), "below and to the left of"),
        ((90, 90, 100, 100), "below and to the right of"),
        ((0, 69, 10, 79), "to the left of"),
        ((0, 76, 10, 86), "below and to the left of"),
    ],
)
def test_places_seen_from_the_middle(box, place):
    assert scene_sentences._place(np.array(box, np.float32), np.array((50, 50, 60, 60), np.float32))[0] == place


@pytest.mark.parametrize("box", [(50, 50, 60, 60), (0, 0, 100, 100), (52, 52, 62, 62), (40, 20, 70, 80)])
def test_things_on_one_place_are_not_beside_each_other(box):
    assert scene_sentences._place(np.array(box, np.float32), np.array((50, 50, 60, 60), np.float32)) is None


@pytest.mark.parametrize(
    "centre, places",
    [
        ((10, 10), ["at the top left"]),
        ((80, 80), ["in the middle"]),
        ((80, 150), ["at the bottom"]),
        ((57, 80), ["in the middle", "on the left"]),
        ((50, 80), ["on the left", "in the middle"]),
        ((57, 57), ["in the middle", "at the top left", "on the left", "at the top"]),
        ((159, 1), ["at the top right"]),
    ],
)
def test_near_a_border_two_places_may_be_said(centre, places):
    box = np.array([*centre, *centre], np.float32) + np.array([-5, -5, 5, 5], np.float32)
    said = [english for english, _ in scene_sentences._regions(box, 160)]
    assert said[0] == places[0] and set(said) == set(places)


@pytest.mark.parametrize(
    "things, boxes, english, korean",
    [
        (
            [Thing(DIGIT, ORANGE)],
            [(0, 0, 10, 10)],
            ("An orange digit is at the top left.", "The picture shows one digit.", "There is only an orange digit."),
            ("주황색 숫자가 왼쪽 위에 있습니다.", "그림에 숫자 한 개가 있습니다.", "주황색 숫자 하나만 있습니다."),
        ),
        (
            [Thing(SQUARE, BLUE), Thing(CIRCLE, RED)],
            [(120, 10, 150, 40), (0, 85, 20, 95)],
            (
                "A blue square is at the top right.",
                "A red circle is on the left.",
                "The picture shows one circle and one square.",
                "A blue square is above and to the right of a red circle.",
                "A red circle is below and to the left of a blue square.",
            ),
            (
                "파란 사각형이 오른쪽 위에 있습니다.",
                "빨간 원이 왼쪽에 있습니다.",
                "그림에 원 한 개와 사각형 한 개가 있습니다.",
                "파란 사각형이 빨간 원의 오른쪽 위에 있습니다.",
                "빨간 원이 파란 사각형의 왼쪽 아래에 있습니다.",
            ),
        ),
        (
            [Thing(STAR, RED), Thing(STAR, BLUE)],
            [(40, 40, 120, 120), (70, 70, 90, 90)],
            (
                "A red star is in the middle.",
                "A blue star is in the middle.",
                "The picture shows two stars.",
                "A red star is behind a blue star.",
                "A blue star is in front of a red star.",
            ),
            (
                "빨간 별이 가운데에 있습니다.",
                "파란 별이 가운데에 있습니다.",
                "그림에 별 두 개가 있습니다.",
                "빨간 별이 파란 별의 뒤에 있습니다.",
                "파란 별이 빨간 별의 앞에 있습니다.",
            ),
        ),
    ],
)
def test_sentences(things, boxes, english, korean):
    said = scene_sentences.sentences(tuple(things), np.array(boxes, np.float32))
    assert said == {"en": english, "ko": korean}


def test_every_pair_is_told_both_ways():
    things = [Thing(DIGIT, GREEN), Thing(STAR, YELLOW), Thing(DIGIT, RED), Thing(TRIANGLE, BLUE)]
    boxes = np.array([(0, 0, 40, 40), (0, 100, 5, 105), (60, 60, 90, 90), (130, 9, 140, 12)], np.float32)
    said = scene_sentences.sentences(tuple(things), boxes)["en"]
    named = [tuple(re.findall(r"\b[Aa]n? (\w+ \w+)", sentence)) for sentence in said]
    assert len({pair for pair in named if len(pair) == 2}) == 4 * 3
    assert "A green digit is above and to the left of a red digit." in said
    assert "A red digit is below and to the right of a green digit." in said


def found(annotation, picture, colour_name, class_name):
    """The box of the one object of this class that has this colour in the picture."""
    centres = np.array([colour[2] for colour in COLOURS])
    boxes = []
    for label, box, mask in zip(annotation.labels, annotation.boxes, annotation.segments, strict=True):
        nearest = np.abs(centres - np.median(picture[mask], axis=0)).sum(axis=1).argmin()
        if CLASSES[label] == class_name and COLOURS[nearest][0] == colour_name:
            boxes.append(box)
    (box,) = boxes
    return box


def test_sentences_agree_with_the_pictures():
    numbers = {word: count for count, word in enumerate(scene_sentences.ENGLISH_COUNTS)}
    data = Scenes("train")
    for index in range(40):
        annotation, picture = data.annotation(index), data.picture(index)
        said = annotation.sentences["en"]
        (inventory,) = (sentence for sentence in said if "picture" in sentence)
        relations = [sentence for sentence in said if sentence != inventory]
        told = {
            name: numbers[count] for count, name in re.findall(r"(\w+) (circle|square|triangle|star|digit)", inventory)
        }
        assert told == {CLASSES[label]: count for label, count in enumerate(np.bincount(annotation.labels)) if count}
        for relation in relations:
            objects = [found(annotation, picture, *words) for words in re.findall(r"[Aa]n? (\w+) (\w+)", relation)]
            if len(objects) == 2:
                (x, y), (other_x, other_y) = ((box[:2] + box[2:]) / 2 for box in objects)
                holds = {"left": x < other_x, "right": x > other_x, "above": y < other_y, "below": y > other_y}
                assert all(holds[word] for word in holds if word in relation)
                assert any(word in relation for word in (*holds, "front", "behind"))


def test_languages_say_as_much_in_a_small_vocabulary():
    sentences = [Scenes("train").annotation(index).sentences for index in range(120)]
    assert all(len(both["en"]) == len(both["ko"]) for both in sentences)
    words = {word for both in sentences for line in both["ko"] for word in line.rstrip(".").replace(",", "").split()}
    assert len(words) < 60

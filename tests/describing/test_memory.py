import numpy as np
import torch

from siseon.describing.describe import describe
from siseon.describing.memory import Memory
from siseon.interface import Caption, Detections

SIZE = (100, 200)


def found(*rows):
    """Detections of (name, score, left, top, right, bottom)."""
    names = tuple(dict.fromkeys(row[0] for row in rows)) or ("dog",)
    boxes = torch.tensor([row[2:] for row in rows], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([names.index(row[0]) for row in rows], dtype=torch.int64)
    return Detections(boxes, labels, torch.tensor([float(row[1]) for row in rows]), names)


def told(memory, *frames):
    answers = []
    for frame in frames:
        memory.see(frame, SIZE)
        answers.append(memory.changed())
    return answers


DOG = ("dog", 0.9, 10, 10, 50, 60)


def test_a_scene_is_told_once():
    assert told(Memory(), *[found(DOG)] * 4) == [True, False, False, False]


def test_nothing_is_told_too_and_once():
    assert told(Memory(), found(), found(), found(DOG), found()) == [True, False, True, True]


def test_a_score_that_flickers_around_the_limit_does_not_chatter():
    frames = [found(("dog", score, 10, 10, 50, 60)) for score in (0.55, 0.45, 0.52, 0.41, 0.49)]
    assert told(Memory(score=0.5), *frames) == [True, False, False, False, False]


def test_a_thing_comes_in_only_with_the_full_score():
    assert told(Memory(score=0.5), found(), found(("dog", 0.45, 10, 10, 50, 60))) == [True, False]
    memory = Memory(score=0.5)
    assert told(memory, found(DOG), found(("dog", 0.3, 10, 10, 50, 60))) == [True, True]
    assert memory.things == ()


def test_a_thing_at_the_edge_does_not_change_sides_with_every_frame():
    frames = [found(("dog", 0.9, x - 20, 10, x + 20, 60)) for x in (70, 74, 71, 75, 70)]  # left ends at 72 of 200
    memory = Memory()
    assert told(memory, *frames) == [True, False, False, False, False]
    assert told(memory, found(("dog", 0.9, 65, 10, 105, 60))) == [True]
    assert memory.things[0].side == "ahead"


def test_a_change_must_last_to_be_told():
    one, two = found(DOG), found(DOG, ("cat", 0.8, 150, 10, 190, 60))
    assert told(Memory(steady=3), one, two, one, two, two, two, two) == [True, *[False] * 4, True, False]


def test_a_thing_that_stays_is_matched_once():
    twice = found(DOG, ("dog", 0.4, 12, 10, 52, 60))
    memory = Memory(score=0.5)
    told(memory, found(DOG), twice)
    assert len(memory.things) == 1


def test_a_thing_with_two_names_is_one_thing():
    memory = Memory()
    memory.see(found(DOG, ("cat", 0.6, 11, 10, 51, 61), ("ball", 0.6, 12, 20, 22, 30)), SIZE)
    assert sorted(thing.name for thing in memory.things) == ["ball", "dog"]


def test_a_name_that_flickers_does_not_chatter():
    both = [found(("dog", score, 10, 10, 50, 60), ("cat", 1.2 - score, 10, 10, 50, 60)) for score in (0.65, 0.55, 0.62)]
    assert told(Memory(), *both) == [True, False, False]


def test_describe_speaks_only_of_news_and_asks_the_captioner_only_then():
    frames = [found(DOG), found(DOG), found(DOG, ("cat", 0.85, 150, 10, 190, 60))]
    asked = []

    class Detector:
        def predict(self, picture, *, score):
            assert score == 0.25
            return [frames.pop(0)]

    class Captioner:
        def predict(self, picture):
            asked.append(1)
            return [Caption("A dog", 0.9)]

    pictures = [(f"사진{number}.jpg", np.zeros((*SIZE, 3), np.uint8)) for number in range(3)]
    seen = list(describe(pictures, Detector(), captioner=Captioner(), language="en"))
    assert [one.text for one in seen] == [
        "A dog. There is a dog on the left.",
        "",
        "A dog. There is a dog on the left and a cat on the right.",
    ]
    assert [one.name for one in seen] == ["사진0.jpg", "사진1.jpg", "사진2.jpg"]
    assert len(asked) == 2
    assert all(one.seconds >= 0 for one in seen)

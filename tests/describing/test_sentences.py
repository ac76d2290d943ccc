import pytest

from siseon.describing.places import Thing, distance_of, side_of
from siseon.describing.sentences import described
from siseon.interface import Caption
from siseon.language.counting import counted, korean_number, noun, nouns
from siseon.weights import published_classes

BOX = (0.0, 0.0, 10.0, 10.0)


def thing(name, side="ahead", score=0.9, distance=""):
    return Thing(name, score, BOX, side, distance)


SENTENCES = [
    (
        [thing("person", "left"), thing("person", "left"), thing("car")],
        "왼쪽에 사람 두 명, 앞에 자동차 한 대가 있습니다.",
        "There are two people on the left and a car ahead.",
    ),
    (
        [thing("dog", "right", 0.95, "near")],
        "오른쪽 가까이에 개 한 마리가 있습니다.",
        "There is a dog close by on the right.",
    ),
    (
        [thing("person"), thing("umbrella"), thing("bicycle", distance="far")],
        "앞에 사람 한 명과 우산 한 개, 앞쪽 멀리 자전거 한 대가 있습니다.",
        "There is a person and an umbrella ahead and a bicycle far ahead.",
    ),
    (
        [thing("car", "left"), thing("bus", "left"), thing("truck", "left")],
        "왼쪽에 자동차 한 대, 버스 한 대와 트럭 한 대가 있습니다.",
        "There is a car, a bus and a truck on the left.",
    ),
    ([thing("cat", score=0.6)], "아마 앞에 고양이 한 마리가 있습니다.", "There probably is a cat ahead."),
    ([thing("cat", score=0.4)], "앞에 고양이 한 마리가 있는 것 같습니다.", "There may be a cat ahead."),
    (
        [thing("person", "left", 0.97), thing("car", "right", 0.55)],
        "왼쪽에 사람 한 명이 있습니다. 아마 오른쪽에 자동차 한 대가 있습니다.",
        "There is a person on the left. There probably is a car on the right.",
    ),
    ([], "아는 것이 보이지 않습니다.", "I see nothing that I know."),
    ([thing("여우")], "앞에 여우 한 개가 있습니다.", "There is a 여우 ahead."),
]


@pytest.mark.parametrize(("things", "korean", "english"), SENTENCES, ids=[row[2] for row in SENTENCES])
def test_things_are_said(things, korean, english):
    assert described(things, "ko") == korean
    assert described(things, "en") == english


@pytest.mark.parametrize("score", [0.0, 0.2, 0.49, 0.5, 0.79])
@pytest.mark.parametrize(("language", "hedges"), [("ko", ("아마", "것 같습니다")), ("en", ("probably", "may be"))])
def test_nothing_is_said_more_surely_than_it_was_seen(score, language, hedges):
    text = described([thing("dog", score=score)] * 3 + [thing(f"thing{n}", score=score) for n in range(9)], language)
    for sentence in text.split(". "):
        assert any(hedge in sentence.lower() for hedge in hedges), sentence


def test_many_kinds_are_counted_and_not_listed():
    things = [thing(name) for name in ("person", "car", "dog", "cat", "bus", "bird", "cow", "horse")]
    assert described(things, "en").endswith("Two more are in view.")
    assert described(things, "ko").endswith("그 밖에 두 개가 더 있습니다.")


@pytest.mark.parametrize(
    ("score", "begin"), [(0.9, "A dog runs. There is"), (0.5, "It seems to be this: A dog runs. "), (0.2, "There is")]
)
def test_a_caption_is_joined_as_surely_as_it_is(score, begin):
    assert described([thing("dog")], "en", Caption("A dog runs", score)).startswith(begin)


def test_a_caption_alone_does_not_say_that_there_is_nothing():
    assert described([], "ko", Caption("개가 달립니다.", 0.9)) == "개가 달립니다."
    assert described([], "ko", Caption("개가 달립니다.", 0.1)) == "아는 것이 보이지 않습니다."


def test_every_class_of_coco_has_a_korean_name_and_a_counter():
    names = [name for name in published_classes("coco") if not name.startswith("(unused")]
    assert len(names) == 80 and set(names) <= set(nouns())
    for word in nouns().values():
        assert all("가" <= character <= "힣" for character in word.korean.replace(" ", "") + word.counter)


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (1, "한"),
        (2, "두"),
        (4, "네"),
        (5, "다섯"),
        (10, "열"),
        (13, "열세"),
        (20, "스무"),
        (21, "스물한"),
        (99, "아흔아홉"),
    ],
)
def test_korean_numbers_stand_before_a_counter(number, word):
    assert korean_number(number) == word


def test_plurals_and_articles():
    assert counted("skis", 1, "en") == "a pair of skis"
    assert counted("orange", 1, "en") == "an orange"
    assert counted("sheep", 13, "en") == "13 sheep"
    assert counted("bench", 2, "en") == "two benches"
    assert counted("box", 2, "en") == "two boxes"
    assert counted("book", 3, "ko") == "책 세 권"
    assert noun("Person").korean == "사람"


@pytest.mark.parametrize(
    ("box", "side"),
    [((0, 0, 20, 9), "left"), ((40, 0, 60, 9), "ahead"), ((0, 0, 99, 9), "ahead"), ((80, 0, 99, 9), "right")],
)
def test_the_side_is_where_the_middle_is(box, side):
    assert side_of(box, 100) == side


def test_the_distance_is_the_share_of_the_picture():
    assert distance_of((0, 0, 60, 60), (100, 100)) == "near"
    assert distance_of((0, 0, 20, 20), (100, 100)) == ""
    assert distance_of((0, 0, 9, 9), (100, 100)) == "far"
    assert distance_of((0, 0, 45, 50), (100, 100), "near") == "near"
    assert distance_of((0, 0, 45, 50), (100, 100)) == ""

"""The sentences follow from the figures: other figures, other sentences."""

import math
import re

import made_up_race
import pytest
from made_up_race import result

from siseon.comparison.reading import (
    accuracy,
    best_trades,
    bottlenecks,
    choice,
    fastest,
    milliseconds,
    of_classes,
    outlines,
    quotient,
    ranked,
    reading,
    savings,
    small_objects,
)

RCNN = result("rcnn_mini", 0.31, stages={"proposals": 100.0, "features": 890.0, "rest": 10.0}, small=0.05)
FAST = result("fast_rcnn_mini", 0.55, stages={"proposals": 100.0, "features": 15.0, "rest": 10.0}, small=0.12)
FASTER = result("faster_rcnn_mini", 0.74, stages={"proposals": 9.0, "features": 11.0, "rest": 10.0}, small=0.31)
YOLO = result("yolo", 0.43, stages={"features": 8.0, "rest": 2.0}, small=0.03)
LINEAGE = (RCNN, FAST, FASTER, YOLO)


def race(*results, **more):
    return made_up_race.comparison(None, *results, **more)


def test_bottlenecks_are_grouped_by_stage():
    said = bottlenecks(LINEAGE[:3])
    assert said.en == (
        "The stage that takes longest is features in rcnn_mini (89% of 1,000 ms) and faster_rcnn_mini (37% of 30 ms); "
        "proposals in fast_rcnn_mini (80% of 125 ms)."
    )
    assert said.ko == (
        "가장 오래 걸리는 단계는 rcnn_mini(1,000 ms의 89%)와 faster_rcnn_mini(30 ms의 37%)에서는 특징 추출, "
        "fast_rcnn_mini(125 ms의 80%)에서는 후보 영역이다."
    )


def test_one_bottleneck_for_all():
    assert bottlenecks([YOLO]).ko == "yolo(10 ms의 80%)에서 가장 오래 걸리는 단계는 특징 추출이다."
    assert bottlenecks([YOLO, RCNN]).ko.endswith("에서 가장 오래 걸리는 단계는 모두 특징 추출이다.")


def test_the_fastest_and_how_much():
    said = fastest(LINEAGE)
    assert said.en == (
        "yolo is the fastest, 10 ms a picture: 3.0 times as fast as faster_rcnn_mini, the next, "
        "and 100 times as fast as rcnn_mini, the slowest."
    )
    assert said.ko == (
        "가장 빠른 것은 yolo로, 그림 한 장에 10 ms 걸린다. 다음인 faster_rcnn_mini보다 3.0배, 가장 느린 rcnn_mini보다 "
        "100배 빠르다."
    )


def test_two_models():
    said = fastest([FASTER, YOLO])
    assert said.en.endswith("10 ms a picture, 3.0 times as fast as faster_rcnn_mini.")
    assert said.ko.endswith("10 ms 걸린다. faster_rcnn_mini보다 3.0배 빠르다.")


def test_times_within_a_tenth_are_alike():
    near = result("resnet18", stages={"features": 10.9})
    assert fastest([YOLO, near]).en == "yolo (10 ms) and resnet18 (11 ms) a picture are about equally fast."
    assert fastest([YOLO, near]).ko == "yolo(10 ms)와 resnet18(11 ms)은 속도가 거의 같다."
    assert "is the fastest" in fastest([YOLO, result("resnet18", stages={"features": 11.1})]).en


def test_where_the_time_was_saved():
    said = savings(LINEAGE)
    assert [sentence.en for sentence in said] == [
        "fast_rcnn_mini needs 875 ms less than rcnn_mini; most of it is saved in features (890 ms before, 15 ms now).",
        "faster_rcnn_mini needs 95 ms less than fast_rcnn_mini; most of it is saved in proposals "
        "(100 ms before, 9.0 ms now).",
        "yolo needs 20 ms less than faster_rcnn_mini; the largest part of it is saved in proposals "
        "(9.0 ms before, none now).",
    ]
    assert said[1].ko == (
        "faster_rcnn_mini는 fast_rcnn_mini보다 95 ms 덜 걸린다. 줄어든 시간의 대부분이 후보 영역에서 나왔다"
        "(100 ms에서 9.0 ms로)."
    )
    assert savings([YOLO, FASTER]) == []


def test_a_clear_difference_in_accuracy():
    said = accuracy(race(*LINEAGE))
    assert said.en == "faster_rcnn_mini is the most accurate: AP50 0.740, then fast_rcnn_mini with 0.550."
    assert said.ko == "가장 정확한 것은 faster_rcnn_mini(AP50 0.740)고, 다음은 fast_rcnn_mini(0.550)다."


def test_a_difference_within_the_noise_is_none():
    one, two = result("lenet", 0.94, noise=0.004), result("resnet18", 0.93)
    said = accuracy(race(one, two, YOLO, pictures=67))
    assert said.en == (
        "lenet (0.940) and resnet18 (0.930) are about equally accurate (AP50): the differences are within the noise of "
        "67 pictures; yolo follows with 0.43."
    )
    assert "lenet(0.940)과 resnet18(0.930)은 AP50이 거의 같다" in said.ko
    assert said.ko.endswith("그 뒤는 yolo(0.43)다.")
    assert "is the most accurate" in accuracy(race(one, result("resnet18", 0.80))).en


def test_unknown_noise_is_noise():
    best, alike, behind = ranked([result("a", 0.9, without={}), result("b", 0.2, without={})], "AP50")
    assert (best.model, [r.model for r in alike], behind) == ("a", ["b"], [])


def test_nothing_learnt_is_said():
    said = accuracy(race(result("a", 0.01), result("b", 0.02)))
    assert said.en == "None has learnt much in 5 minutes: the best, b, has AP50 0.02."
    assert "0.02다" in said.ko


def test_a_single_model():
    assert accuracy(race(result("a", 0.01))).en == "a has not learnt much in 5 minutes: AP50 0.01."
    assert accuracy(race(FASTER)).ko == "faster_rcnn_mini의 AP50은 그림 300장에서 0.740이다."


def test_classifiers_are_judged_by_accuracy():
    said = accuracy(
        race(*(result(name, value, task="classification") for name, value in (("lenet", 0.9), ("vgg16", 0.97))),
             task="classification")
    )  # fmt: skip
    assert said.en == "vgg16 is the most accurate: accuracy 0.970, then lenet with 0.900."
    assert said.ko == "가장 정확한 것은 vgg16(정확도 0.970)이고, 다음은 lenet(0.900)이다."


def segmenters(*rows):
    results = [
        result(name, iou, task="segmentation", per_class={"원": circle, "star": star})
        for name, iou, circle, star in rows
    ]
    return race(*results, task="segmentation")


def test_segmenters_are_judged_by_the_mean_iou():
    said = accuracy(segmenters(("fcn", 0.7, 0.9, 0.5), ("segnet", 0.6, 0.95, 0.25)))
    assert said.en == "fcn is the most accurate: mean IoU 0.700, then segnet with 0.600."
    assert said.ko == "가장 정확한 것은 fcn(평균 IoU 0.700)이고, 다음은 segnet(0.600)이다."
    blind = accuracy(segmenters(("fcn", 0.5, 1.0, 0.0)))  # no more than saying one class everywhere
    assert blind.en == "fcn has not learnt much in 5 minutes: mean IoU 0.50."


def test_the_classes_of_segmenters():
    won, hardest = of_classes(segmenters(("fcn", 0.7, 0.9, 0.5), ("segnet", 0.6, 0.8, math.nan)))
    assert won.en == "fcn has the highest IoU in 1 of 2 classes."
    assert won.ko == "클래스 2개 가운데 1개에서 fcn의 IoU가 가장 높다."
    assert hardest.en == "The hardest class is star: its best IoU is 0.50."
    assert hardest.ko.startswith("가장 어려운 클래스는 star로, 가장 높은 IoU가 0.50이다")
    assert len(of_classes(segmenters(("fcn", 0.7, 0.9, 0.5)))) == 1
    assert len(reading(segmenters(("fcn", 0.7, 0.9, 0.5), ("segnet", 0.6, 0.8, 0.4)))) == 5
    assert of_classes(race(YOLO)) == [] == of_classes(segmenters(("fcn", 0.5, 1.0, 0.0), ("segnet", 0.3, 0.3, 0.3)))


def test_small_objects():
    said = small_objects(LINEAGE)
    assert said.en.endswith("best: AP 0.31, then fast_rcnn_mini with 0.12.")
    assert "faster_rcnn_mini(AP 0.31)고, 다음은 fast_rcnn_mini(0.12)다." in said.ko
    alike = small_objects([FASTER, result("ssd", small=0.30, noise=0.01)])
    assert "faster_rcnn_mini (AP 0.31) and ssd (AP 0.30) find small objects" in alike.en
    assert small_objects([YOLO, FASTER]).en.endswith("AP 0.31, against at most 0.03.")
    assert small_objects([YOLO, result("ssd", small=0.0)]).en.startswith("None finds small objects")
    assert "AP 0.31" in small_objects([FASTER]).en
    assert small_objects([result("ssd")]).en.startswith("No test picture has a small object")


def test_outlines_are_told_of_models_with_masks():
    plain = result("ssd_mini")
    masks = {"mask_AP50": 0.55, "mask_AP": 0.31}
    with_masks = result("mask_rcnn_mini", figures={**plain.figures, **masks})
    assert outlines([plain]) == []
    (said,) = outlines([plain, with_masks])
    assert said.en == "mask_rcnn_mini (AP50 0.55, AP 0.31) outlines the objects too: the figures of the masks."
    assert said.ko == "mask_rcnn_mini(AP50 0.55, AP 0.31)는 물체의 윤곽도 그린다. 괄호 안은 마스크의 값이다."


def test_what_to_choose_from():
    assert [r.model for r in best_trades(LINEAGE, "AP50")] == ["yolo", "faster_rcnn_mini"]
    assert choice(LINEAGE, "AP50")[0].ko.startswith("고를 만한 것은 yolo와 faster_rcnn_mini다.")
    assert choice([YOLO, FASTER], "AP50") == []
    best = result("ssd", 0.9, stages={"features": 1.0})
    assert choice([*LINEAGE, best], "AP50")[0].en == "No slower model is clearly more accurate than ssd."


def test_noise_and_models_that_learnt_nothing_are_no_choice():
    slower = result("mask_rcnn", 0.75, stages={"features": 60.0}, noise=0.01)
    blind = result("mlp", 0.01, stages={"features": 1.0})
    assert [r.model for r in best_trades([*LINEAGE, slower, blind], "AP50")] == ["yolo", "faster_rcnn_mini"]
    assert choice([blind, blind], "AP50") == []


@pytest.mark.parametrize(
    "results",
    [(), (YOLO,), (YOLO, FASTER), LINEAGE, (FASTER, result("a", math.nan)), (result("a", math.nan, stages={}),)],
)
def test_every_race_can_be_read(results):
    failed = result("ssd", failure="the loss is nan", stages={}, figures={})
    for sentence in reading(race(*results, failed)):
        assert sentence.en.endswith(".") and sentence.ko.endswith(".")
        assert not re.search(r"\b(nan|inf|None)\b", sentence.en.replace("None has", "").replace("None finds", ""))
        assert re.search("[가-힣]", sentence.ko)
    assert len(reading(race(*results, failed))) >= 3 * bool(results and results[0].stages)


def test_numbers():
    assert [milliseconds(value) for value in (0.314, 6.14, 61.4, 1850.2)] == ["0.31 ms", "6.1 ms", "61 ms", "1,850 ms"]
    assert [quotient(value) for value in (1.44, 9.94, 9.96, 1234)] == ["1.4", "9.9", "10", "1,234"]

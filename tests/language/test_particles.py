import pytest

from siseon.language.particles import ending, with_particle

SAID = [
    # Hangul
    ("얼굴", "ㄹ"), ("사람", "consonant"), ("고양이", "vowel"),
    # digits, as Korean numbers: 십육, 십팔, 오십, 이, 구, 일
    ("vgg16", "consonant"), ("resnet18", "ㄹ"), ("resnet50", "consonant"), ("wrn40_2", "vowel"), ("AP50", "consonant"),
    ("vgg19", "vowel"), ("densenet121", "ㄹ"), ("0.81", "ㄹ"), ("0.30", "consonant"), ("0.74", "vowel"),
    # versions, in English: 브이투, 비제로, 비원
    ("mobilenet_v2", "vowel"), ("efficientnet_b0", "vowel"), ("efficientnet_b1", "consonant"),
    # letters: 엔, 디, 지, 피, 엘
    ("rcnn", "consonant"), ("mask_rcnn", "consonant"), ("ssd", "vowel"), ("vgg", "vowel"), ("mlp", "vowel"),
    ("ssdl", "ㄹ"), ("ms", "vowel"), ("r", "ㄹ"),
    # words: 미니, 욜로, 넷, 패스트, 마스크, 모던, 모바일, 플레인, 디지츠, 모델
    ("faster_rcnn_mini", "vowel"), ("yolo", "vowel"), ("retinanet", "consonant"), ("lenet", "consonant"),
    ("fast", "vowel"), ("mask", "vowel"), ("lenet_modern", "consonant"), ("nasnet_mobile", "ㄹ"),
    ("plain", "consonant"), ("deep_digits", "vowel"),
    ("model", "ㄹ"), ("google", "ㄹ"), ("alexnet_one_tower", "vowel"), ("base", "vowel"),
    ("top", "consonant"), ("block", "consonant"), ("boat", "vowel"), ("time", "consonant"),
    # what stands in parentheses is not said
    ("yolo_mini(9.7 ms)", "vowel"), ("retinanet (AP 0.30)", "consonant"), ("", "vowel"), ("한국어!", "vowel"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "end"), SAID, ids=[word or "nothing" for word, _ in SAID])
def test_how_a_word_ends(word, end):
    assert ending(word) == end


@pytest.mark.parametrize(
    ("word", "pair", "expected"),
    [
        ("yolo", "은/는", "yolo는"),
        ("rcnn", "은/는", "rcnn은"),
        ("resnet18", "이/가", "resnet18이"),
        ("resnet18", "으로/로", "resnet18로"),
        ("resnet50", "으로/로", "resnet50으로"),
        ("ssd_mini", "으로/로", "ssd_mini로"),
        ("얼굴", "으로/로", "얼굴로"),
        ("lenet(0.9)", "과/와", "lenet(0.9)과"),
        ("0.31", "이다/다", "0.31이다"),
        ("0.32", "이다/다", "0.32다"),
    ],
)
def test_particles(word, pair, expected):
    assert with_particle(word, pair) == expected

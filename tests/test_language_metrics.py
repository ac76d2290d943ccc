"""BLEU and CIDEr-D by hand, and against second implementations that share no line with the first.

The ORACLE figures are those of nltk 3.10 (corpus_bleu) and pycocoevalcap 1.2 (Bleu, Cider) for SAID and TRUE. On random
sentences CIDEr agrees with pycocoevalcap to 1e-15; BLEU to 1e-9 where a run of n words is common at all: else
pycocoevalcap adds 1e-15 to the count, where ours is 0. nltk counts a sentence shorter than n as having one run of n.
"""

import math
import random

import numpy as np
import pytest

from siseon.language_metrics import bleu, cider

SAID = [
    "a brown dog runs through the grass",
    "two men are playing football on a field",
    "a child in a red dress",
    "the the the the",
    "원 두 개가 있습니다",
]
TRUE = [
    ["A brown dog is running through the grass .", "A dog runs in the green grass", "The dog runs"],
    ["Two men play football .", "Two men are playing soccer on a grassy field ."],
    ["A girl in a red dress climbs the stairs .", "A child climbing stairs .", "A little child in a red dress"],
    ["The cat is on the mat", "There is a cat on the mat"],
    ["그림에 원 두 개가 있습니다.", "원 두 개와 별 한 개가 있습니다."],
]

ORACLE_BLEU = (0.7835873338557466, 0.6834761493950312, 0.5710652836043899, 0.46002106445529395)
ORACLE_CIDER = 3.0940262378569097


def naive_bleu(said, true, size):
    """Papineni's formula with lists and loops only."""
    logarithms, length, wanted = [], 0, 0
    for n in range(1, size + 1):
        hits = total = 0
        for one, others in zip(said, true, strict=True):
            runs = [tuple(one[i : i + n]) for i in range(len(one) - n + 1)]
            for run in set(runs):
                most = max(sum(tuple(other[i : i + n]) == run for i in range(len(other) - n + 1)) for other in others)
                hits += min(runs.count(run), most)
            total += len(runs)
        logarithms.append(math.log(hits / total) if hits else -math.inf)
    for one, others in zip(said, true, strict=True):
        length += len(one)
        wanted += sorted(others, key=lambda other: (abs(len(other) - len(one)), len(other)))[0].__len__()
    return math.exp(min(0.0, 1 - wanted / length)) * math.exp(sum(logarithms) / size)


def naive_cider(said, true):
    """Vectors over all runs that occur anywhere, dense, in numpy."""
    scores = np.zeros(len(said))
    for n in range(1, 5):

        def runs(words, n=n):
            return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

        everything = sorted({run for one in said for run in runs(one)} | {r for o in true for t in o for r in runs(t)})
        place = {run: index for index, run in enumerate(everything)}
        frequency = np.zeros(len(everything))
        for others in true:
            for run in {run for other in others for run in runs(other)}:
                frequency[place[run]] += 1
        rarity = np.log(len(said)) - np.log(np.maximum(frequency, 1))

        def vector(words, rarity=rarity, place=place, runs=runs):
            counts = np.zeros(len(rarity))
            for run in runs(words):
                counts[place[run]] += 1
            return counts * rarity

        for picture, (one, others) in enumerate(zip(said, true, strict=True)):
            for other in others:
                a, b = vector(one), vector(other)
                norms = np.linalg.norm(a) * np.linalg.norm(b)
                cosine = (np.minimum(a, b) * b).sum() / norms if norms else 0
                gap = (len(one) - len(other)) ** 2  # every sentence here has a word
                scores[picture] += 10 * cosine * np.exp(-gap / 72) / len(others) / 4
    return scores.mean()


def made_up(seed, pictures=30):
    """Random sentences over few words, so that runs of four are shared."""
    draw = random.Random(seed)
    words = ["a", "dog", "cat", "runs", "on", "the", "grass", "red", "two"]

    def sentence():
        return " ".join(draw.choices(words, k=draw.randint(1, 9)))

    return [sentence() for _ in range(pictures)], [
        [sentence() for _ in range(draw.randint(1, 5))] for _ in range(pictures)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_both_agree_with_naive_implementations(seed):
    said, true = made_up(seed)
    one, others = [text.split() for text in said], [[text.split() for text in group] for group in true]
    assert bleu(said, true) == pytest.approx([naive_bleu(one, others, size) for size in (1, 2, 3, 4)], abs=1e-9)
    assert cider(said, true) == pytest.approx(naive_cider(one, others), abs=1e-9)


def test_both_agree_with_the_reference_implementations():
    assert bleu(SAID, TRUE) == pytest.approx(ORACLE_BLEU, abs=1e-6)
    assert cider(SAID, TRUE) == pytest.approx(ORACLE_CIDER, abs=1e-6)


def test_bleu_by_hand():
    # 2 of 4 words count, because "the" stands twice in the true sentence; 4 words against 6: the penalty is e^(1 - 6/4)
    assert bleu(["the the the the"], [["the cat is on the mat"]])[0] == pytest.approx(0.5 * math.exp(-0.5))
    # words 3 of 3, pairs 1 of 2
    assert bleu(["a dog runs"], [["runs a dog"]])[:2] == pytest.approx((1, math.sqrt(0.5)))


def test_of_two_true_sentences_as_near_in_length_the_shorter_counts():
    assert bleu(["a b c"], [["a b", "a b c d"]])[0] == 1
    assert bleu(["a b c"], [["a b c d"]])[0] == pytest.approx(math.exp(-1 / 3))


def test_what_is_true_is_worth_all():
    true = ["a red dog runs on grass", "two cats sit under a tree", "원 두 개가 그림에 있습니다"]
    assert bleu(true, [[text] for text in true]) == (1, 1, 1, 1)
    assert cider(true, [[text] for text in true]) == pytest.approx(10)


def test_case_and_punctuation_do_not_count():
    assert bleu(["A dog runs fast."], [["a dog runs fast"]]) == (1, 1, 1, 1)


def test_a_sentence_for_every_picture_is_worth_nothing_to_cider():
    assert cider(["a dog", "a dog"], [["a dog"], ["a dog"]]) == 0


def test_empty_and_missing():
    assert bleu([""], [["a dog"]]) == (0, 0, 0, 0)
    assert cider(["", "a"], [["a dog"], ["a cat"]]) >= 0
    assert all(map(math.isnan, (*bleu([], []), cider([], []))))
    with pytest.raises(ValueError, match="one candidate"):
        bleu(["a"], [[]])
    with pytest.raises(ValueError, match="one candidate"):
        cider(["a"], [])

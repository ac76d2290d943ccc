import pytest

from siseon.language.vocabulary import Vocabulary, sentence_of, spoken_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A tri-colored dog's ball .", ["a", "tri-colored", "dog's", "ball", "."]),
        (
            "그림에 원 두 개, 별 한 개가 있습니다.",
            ["그림에", "원", "두", "개", ",", "별", "한", "개가", "있습니다", "."],
        ),
        ("", []),
        ("  ...  ", [".", ".", "."]),
    ],
)
def test_a_text_falls_into_words(text, words):
    assert words_of(text) == words


def test_hangul_of_a_mac_is_the_same_word():
    assert words_of("\u1100\u1161") == words_of("가") == ["가"]


def test_punctuation_is_not_judged():
    assert spoken_words("Two dogs, one ball .") == ["two", "dogs", "one", "ball"]


@pytest.mark.parametrize(
    "sentence", ["The picture shows one circle, two stars and one digit.", "그림에 원 한 개와 별 두 개가 있습니다."]
)
def test_words_become_the_sentence_again(sentence):
    assert sentence_of(words_of(sentence)) == sentence
    vocabulary = Vocabulary.of([sentence])
    assert vocabulary.decode(vocabulary.encode(sentence)) == sentence


def test_frequent_words_come_first_and_rare_ones_are_not_known():
    vocabulary = Vocabulary.of(["a dog", "a cat", "a dog runs"], least=2)
    assert vocabulary.words == ("a", "dog")
    assert vocabulary.encode("A dog sleeps") == [0, 1, 2]
    assert vocabulary.decode([0, 2]) == "A …"
    assert len(vocabulary) == 2

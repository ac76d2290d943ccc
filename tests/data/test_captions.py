import json

import numpy as np
import pytest
import torch
from PIL import Image

from siseon import cli
from siseon.data.augment import Crop
from siseon.data.batches import Batches
from siseon.data.captions import padded
from siseon.data.open_data import open_data
from siseon.data.scene_sentences import every_word
from siseon.data.scenes import Scenes
from siseon.interface import DataError
from siseon.language.vocabulary import words_of
from siseon.weights import load

SENTENCES = ("A red picture , quite red .", "It is red !", '"Red, and nothing else"')


def write_set(root, file, line, head="", pictures=20):
    """Red and blue pictures with three sentences each, in a file that is made line by line."""
    (root / "images").mkdir(parents=True)
    lines = [head] if head else []
    for number in range(pictures):
        colour = ("red", "blue")[number % 2]
        pixels = np.full((40, 50, 3), 30, np.uint8)
        pixels[..., number % 2 * 2] = 150 + number
        Image.fromarray(pixels).save(root / "images" / f"그림 {number}.png")
        for place, sentence in enumerate(SENTENCES):
            said = sentence.replace("red", colour).replace("Red", colour.title())
            lines.append(line.format(name=f"그림 {number}.png", number=place, sentence=said))
    (root / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


FORMATS = {
    "a head and commas": ("captions.txt", "{name},{sentence}", "image,caption"),
    "a tab and numbers": ("Flickr8k.token.txt", "{name}#{number}\t{sentence}", ""),
    "bars": ("results.csv", "{name}| {number}| {sentence}", "image_name| comment_number| comment"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_captions_are_recognised(kind, tmp_path):
    file, line, head = FORMATS[kind]
    data = open_data(write_set(tmp_path / "자료", file, line, head))
    assert (data.task, data.problems) == ("captioning", ())
    assert {name: len(split) for name, split in data} == {"train": 16, "val": 2, "test": 2}
    known = data.train.annotation(0)
    assert known.name.startswith("images/그림") and len(known.sentences[""]) == 3
    assert known.sentences[""][2] in ("Red, and nothing else", "Blue, and nothing else")
    assert [data.classes[label] for label in known.tokens[1]] == words_of(known.sentences[""][1])
    assert {"red", "blue", "quite"} <= set(data.classes)


def test_what_is_wrong_is_named_and_passed_over(tmp_path):
    root = write_set(tmp_path / "a", "captions.txt", "{name},{sentence}", "image,caption")
    with (root / "captions.txt").open("a", encoding="utf-8") as file:
        file.write("a line of nothing\nmissing.jpg,A lost dog .\n그림 0.png,\n")
    (root / "images" / "그림 1.png").write_bytes(b"text")
    data = open_data(root)
    told = " | ".join(map(str, data.problems))
    assert "line 62 is no picture and sentence" in told and "line 64" in told
    assert "the picture missing.jpg is not there" in told and "그림 1.png" in told
    assert sum(len(split) for _, split in data) == 19


def test_the_words_of_a_model_can_be_given(tmp_path):
    data = open_data(write_set(tmp_path / "a", "captions.txt", "{name},{sentence}"), classes=["is", "red"])
    assert data.classes == ("is", "red")
    assert set(sum(data.train.annotation(0).tokens, ())) <= {0, 1, 2}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_word_of_scenes_is_in_their_vocabulary(language):
    words = {word for sentence in every_word(language) for word in words_of(sentence)}
    scenes = Scenes("val", 60, size=64)
    said = {w for index in range(60) for s in scenes.annotation(index).sentences[language] for w in words_of(s)}
    assert said <= words
    assert set(open_data("scenes", task="captioning", language=language).classes) == words


def test_scenes_serve_detection_unless_asked_otherwise():
    assert open_data("scenes").task == "detection"
    data = open_data("scenes", task="captioning", language="ko")
    known = data.val.annotation(0)
    assert data.task == data.val.task == "captioning"
    assert list(known.sentences) == ["ko"] and len(known.tokens) == len(known.sentences["ko"])
    with pytest.raises(DataError, match="no sentences in the language 'fr'"):
        open_data("scenes", task="captioning", language="fr")


def test_targets_are_padded():
    target = padded([[(1, 2, 3), (4,)], [(5, 6)]])
    assert target.tolist() == [[[1, 2, 3], [4, -1, -1]], [[5, 6, -1], [-1, -1, -1]]]
    assert padded([]).shape == (0, 0, 0)


def test_a_batch_has_all_sentences_of_its_pictures():
    data = open_data("scenes", task="captioning")
    with Batches(data.val, Crop(32, 32), batch=5, shuffle=False) as batches:
        batch = next(batches.epoch(0))
    assert batch.targets.dtype == torch.int64 and batch.targets.shape[0] == 5
    first = batch.targets[0, 0]
    assert tuple(first[first >= 0].tolist()) == data.val.annotation(0).tokens[0]


def test_a_captioner_is_trained_evaluated_and_used_by_the_same_commands(tmp_path, monkeypatch, capsys):
    data = write_set(tmp_path / "자료", "captions.txt", "{name},{sentence}", "image,caption")
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        assert not end.value.code, capsys.readouterr().err

    size = ("--options", "units=16", "embedding=16", "--imgsz", "32", "--workers", "0")
    run("train", "nic_mini", "--data", data, "epochs=2", "batch=4", "--out", "run", *size)
    model = load("run")
    assert model.task == "captioning" and "blue" in model.classes and model.crop == 32
    run("evaluate", "run", "--out", "judged")
    figures = json.loads((tmp_path / "judged" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert {"CIDEr", "BLEU4", "exact"} <= set(figures) and figures["pictures"] == 2
    assert (tmp_path / "judged" / "examples.png").exists()
    run("predict", "run", data / "images" / "그림 0.png", "--out", "said")
    (row,) = json.loads((tmp_path / "said" / "predictions.json").read_text(encoding="utf-8"))
    assert isinstance(row["caption"], str) and 0 <= row["score"] <= 1
    assert (tmp_path / "said" / "그림 0.png").exists()
    run("check", data)

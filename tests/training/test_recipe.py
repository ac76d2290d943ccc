"""Recipes: every wrong value is refused in one line, and what is written is read again."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.interface import RecipeError
from siseon.training.recipe import Recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, ["epochs", "0", "greater than or equal to 1"]),
        ({"epochs": 2.5}, ["epochs"]),
        ({"epoch": 3}, ["epoch", "Did you mean epochs?"]),
        ({"완전히": 3}, ["완전히"]),
        ({"optimizer": "adam"}, ["optimizer", "adamw"]),
        ({"schedule": "linear"}, ["schedule", "cosine"]),
        ({"lr": -1}, ["lr"]),
        ({"lr": float("nan")}, ["lr"]),
        ({"lr": "big"}, ["lr", "big"]),
        ({"flip": 1.5}, ["flip"]),
        ({"scale": (2, 1)}, ["scale"]),
        ({"scale": (0, 1)}, ["scale"]),
        ({"scale": (1,)}, ["scale"]),
        ({"workers": -1}, ["workers"]),
        ({"batch": None}, ["batch"]),
        ({"workers": 65}, ["workers"]),
        ({"minutes": 0}, ["minutes"]),
        ({"precision": "fp8"}, ["precision", "bf16"]),
        ({"ema": 1}, ["ema"]),
        ({"options": 3}, ["options"]),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_in_one_line(changes, words):
    for make in (lambda: Recipe(**changes), lambda: Recipe().changed(**changes)):
        with pytest.raises(RecipeError) as caught:
            make()
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_it_cannot_be_changed_in_place():
    with pytest.raises(Exception, match="frozen"):
        Recipe().epochs = 3


def test_a_change_leaves_the_rest():
    recipe = Recipe(model="resnet18", lr=0.3)
    assert recipe.changed(epochs=3) == Recipe(model="resnet18", lr=0.3, epochs=3)
    assert recipe.epochs == 20


@pytest.mark.parametrize(
    ("changes", "rate"), [({}, 0.001), ({"weights": "coco"}, 0.0004), ({"optimizer": "sgd"}, 0.02), ({"lr": 0.5}, 0.5)]
)
def test_the_learning_rate(changes, rate):
    assert Recipe(**changes).learning_rate == rate


texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts)
nested = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=5
)


@settings(max_examples=50, deadline=None)
@given(
    data=texts,
    rate=st.none() | st.floats(1e-30, 1e30),
    scale=st.floats(0.01, 1),
    clip=st.floats(0, 1e300),
)
def test_toml_and_back(tmp_path_factory, data, rate, scale, clip):
    recipe = Recipe(data=data, lr=rate, scale=(scale, 1.0), clip=clip, tensorboard=True)
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    path.write_bytes(recipe.to_toml().encode())
    assert Recipe.from_toml(path) == recipe


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, nested, max_size=2))
def test_any_options_to_toml_and_back(options):
    recipe = Recipe(options=options)
    assert tomllib.loads(recipe.to_toml())["options"] == recipe.options


def test_options_without_a_place_in_toml():
    with pytest.raises(RecipeError, match="None"):
        Recipe(options={"a": [None]}).to_toml()


def test_every_field_is_explained():
    text = Recipe().to_toml()
    for name, field in Recipe.model_fields.items():
        assert field.description
        assert name in text


@pytest.mark.parametrize("text", ["epochs = ", "epochs = 0", "lr = 'x'", "nonsense = 1"])
def test_a_wrong_file(tmp_path, text):
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError):
        Recipe.from_toml(tmp_path / "recipe.toml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="not there"):
        Recipe.from_toml(tmp_path / "recipe.toml")


def test_importing_it_does_not_import_torch(fresh_python):
    line = "import siseon.training.recipe, sys; print('torch' in sys.modules)"
    assert fresh_python(line).stdout.strip() == "False"

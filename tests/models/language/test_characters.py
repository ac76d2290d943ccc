import pytest
import torch

from siseon.interface import RecipeError
from siseon.models.language.characters import CharacterModel, alphabet_of


def test_a_hangul_syllable_is_one_character():
    assert alphabet_of("가\u1100\u1161나 ") == (" ", "가", "나")


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_short_text_is_learnt_by_heart_and_written_again(cell):
    text = "동해물과 백두산이 마르고 닳도록\n" * 3
    model = CharacterModel(alphabet_of(text), cell=cell, units=48, dropout=0)
    labels = model.encode(text)[None]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = model.loss(labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.05
    assert model.write("동해물", length=14, temperature=0) == "과 백두산이 마르고 닳도록"[:14]
    assert model.write("", length=4, temperature=0) == "동해물과"


def test_temperature():
    model = CharacterModel("abcd", units=8)
    with torch.no_grad():
        model.out.weight.zero_()
        model.out.bias.copy_(torch.tensor([0.8, 0.1, 0.05, 0.05]).log())
    counts = {heat: model.write("a", length=400, temperature=heat, seed=1).count("a") / 400 for heat in (0, 0.3, 1, 9)}
    assert counts[0] == 1 >= counts[0.3] > 0.97
    assert counts[1] == pytest.approx(0.8, abs=0.06) and counts[9] < 0.45
    assert model.write("a", seed=3) == model.write("a", seed=3) != model.write("a", seed=4)
    with pytest.raises(RecipeError, match="temperature"):
        model.write(temperature=-1)


def test_a_prompt_of_unknown_characters_is_no_prompt():
    model = CharacterModel("ab\n", units=4)
    assert (
        model.write("힣?", length=9, seed=2) == model.write("", length=9, seed=2) == model.write("\n", length=9, seed=2)
    )
    with pytest.raises(RecipeError, match="empty"):
        CharacterModel("")

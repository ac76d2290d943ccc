import math

import pytest
import torch
import torch.nn.functional as F

from siseon import zoo
from siseon.interface import RecipeError
from siseon.models.language.nic import END, beam_search, nic, words_there

WORDS = ("dog", "runs", "개가", "뜁니다", ".")


@pytest.fixture
def model():
    return nic(
        classes=WORDS, backbone="mobilenet_mini", units=12, embedding=10, dropout=0, longest=6, resize=36, crop=32
    ).eval()


@pytest.mark.parametrize(
    ("name", "body"),
    # GoogLeNet with norms 6,624,904 without its classifier; ResNet-50 25,557,032 and MobileNetV2 3,504,872 likewise
    [
        ("nic", 6_624_904 - 1_025_000 + 512 * 1024),
        ("nic_resnet50", 25_557_032 - 2_049_000 + 512 * 2048),
        ("nic_mobilenet_v2", 3_504_872 - 1_281_000 + 512 * 1280),
    ],
)
def test_parameters_are_those_of_the_paper(name, body):
    """The picture's norm has a factor and a shift; 1,000 words, the word that is not known, and the mark; 512 units."""
    with torch.device("meta"):
        model = zoo.create(name)
    words, lstm, out = 1002 * 512, 4 * 512 * (512 + 512 + 1), 512 * 1002 + 1002
    assert sum(p.numel() for p in model.parameters()) == body + 2 * 512 + words + lstm + out


def probability(model, features, labels):
    """log p of a whole sentence, word by word with the equations."""
    state = model.seen(features)
    total, before = 0.0, model.mark
    for label in (*labels, model.mark):
        logits, state = model.following(torch.tensor([before]), state)
        total += float(logits.log_softmax(1)[0, label])
        before = label
    return total


@torch.no_grad()
def test_the_loss_is_minus_log_p_of_each_next_word(model):
    features = model.features(torch.rand(2, 3, 32, 32))
    targets = torch.tensor([[[0, 1, 4]], [[2, END, END]]])
    loss = model.loss_of_features(features, targets)["word"]
    total = probability(model, features[:1], [0, 1, 4]) + probability(model, features[1:], [2])
    assert float(loss) == pytest.approx(-total / (4 + 2), abs=1e-5)


@torch.no_grad()
def test_sentences_of_one_picture_count_alike_and_empty_rows_do_not(model):
    features = model.features(torch.rand(2, 3, 32, 32))
    both = model.loss_of_features(features, torch.tensor([[[0, 1], [3, END]], [[2, END], [END, END]]]))["word"]
    single = [
        model.loss_of_features(features[row : row + 1], torch.tensor([[sentence]]))["word"] * (len(sentence) + 1)
        for row, sentence in ((0, [0, 1]), (0, [3]), (1, [2]))
    ]
    assert float(both) == pytest.approx(float(sum(single)) / 7, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_of_all_sentences(model, seed):
    """All 5 + 25 + 125 sentences of up to three words, one by one."""
    torch.manual_seed(seed)
    model.longest = 3
    torch.nn.init.normal_(model.out.weight, std=1.5)
    features = torch.randn(1, model.backbone.channels)
    sentences = [[]]
    everything = []
    for _ in range(3):
        sentences = [[*sentence, label] for sentence in sentences for label in range(5)]
        everything += sentences
    best = max(everything, key=lambda labels: probability(model, features, labels))
    found, score = beam_search(model, features, beam=1000)
    assert found == best
    assert score == pytest.approx(math.exp(probability(model, features, best) / (len(best) + 1)), rel=1e-4)


@torch.no_grad()
def test_a_beam_of_one_is_greedy(model):
    features = torch.randn(1, model.backbone.channels)
    state, label, said = model.seen(features), model.mark, []
    for _ in range(model.longest):
        logits, state = model.following(torch.tensor([label]), state)
        logits[:, len(WORDS)] = -math.inf
        label = int(logits.argmax()) if said else int(logits[:, : len(WORDS)].argmax())
        if label == model.mark:
            break
        said.append(label)
    assert beam_search(model, features, beam=1)[0] == said


def test_a_word_that_is_not_known_is_learnt_but_never_said(model):
    with torch.no_grad():
        model.out.bias[len(WORDS)] = 50.0
    assert all("…" not in caption.text for caption in model.predict(torch.rand(4, 3, 40, 50)))
    loss = model.loss_of_features(torch.zeros(1, model.backbone.channels), torch.tensor([[[len(WORDS)]]]))["word"]
    assert torch.isfinite(loss)


def test_one_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    model = nic(classes=WORDS, backbone="mobilenet_mini", units=24, embedding=24, dropout=0, resize=32, crop=32)
    images = F.interpolate(torch.rand(3, 3, 2, 2), size=32)
    targets = torch.tensor([[[0, 1, 4]], [[2, 3, 4]], [[3, END, END]]])
    features = model.features(images).detach() * 5
    optimizer = torch.optim.Adam(
        [p for name, p in model.named_parameters() if not name.startswith("backbone")], lr=0.02
    )
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss_of_features(features, targets)["word"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert [caption.text for caption in model.said(features)] == ["Dog runs.", "개가 뜁니다.", "뜁니다"]
    assert all(caption.score > 0.9 for caption in model.said(features))


def test_the_words_of_a_picture_are_those_of_all_its_sentences():
    unknown = len(WORDS)
    targets = torch.tensor([[[0, 1, 4], [0, unknown, END]], [[2, END, END], [END, END, END]]])
    assert words_there(targets, len(WORDS)).tolist() == [[1, 1, 0, 0, 1], [0, 0, 1, 0, 0]]


def test_attributes_add_a_loss_that_teaches_the_network_for_pictures():
    """Pictures whose sentences differ in a word: the second loss alone tells them apart, through the body."""
    model = nic(classes=WORDS, backbone="resnet_mini", units=8, embedding=8, resize=64, crop=64, attributes=2.0)
    images = F.interpolate(torch.rand(2, 3, 4, 4), size=64)
    targets = torch.tensor([[[0, 4]], [[1, 4]]])
    optimizer = torch.optim.Adam([*model.backbone.parameters(), *model.tell.parameters()], lr=0.003)
    for _ in range(20):
        optimizer.zero_grad()
        told = model.train().loss(images, targets)["attributes"]
        told.backward()
        optimizer.step()
    assert told.item() < 0.1
    assert next(model.backbone.parameters()).grad.abs().sum().item() > 0


@torch.no_grad()
def test_a_word_is_in_a_picture_if_it_is_at_any_place():
    """Two by two places, at each of which each of the five words is with probability 0.2."""
    model = nic(classes=WORDS, backbone="resnet_mini", units=8, embedding=8, resize=64, crop=64, attributes=2.0).eval()
    model.tell.weight.zero_()
    model.tell.bias.fill_(math.log(0.2 / 0.8))
    told = model.loss(torch.rand(1, 3, 64, 64), torch.tensor([[[0, 3]]]))["attributes"]
    nowhere = 0.8**4
    expected = -(2 * math.log(1 - nowhere) + 3 * math.log(nowhere)) / 5
    assert float(told) == pytest.approx(2.0 * expected, rel=1e-4)


def test_the_paper_has_no_second_loss(model):
    assert model.tell is None
    assert set(model.loss(torch.rand(1, 3, 32, 32), torch.tensor([[[0]]]))) == {"word"}


def test_a_picture_alone_can_be_learnt_from(model):
    """Its norm has no variance to divide by."""
    losses = model.train().loss(torch.rand(1, 3, 64, 64), torch.tensor([[[0, 4]]]))
    assert torch.isfinite(losses["word"])


def test_fewer_stages_leave_a_finer_map():
    model = nic(classes=WORDS, backbone="resnet_mini", stages=3, units=8, embedding=8, resize=64, crop=64)
    assert model.backbone.maps(torch.rand(1, 3, 64, 64)).shape == (1, 64, 4, 4)
    assert model.backbone.channels == 64


def test_settings_that_do_not_fit():
    with pytest.raises(RecipeError, match="count from 1"):
        nic(beam=0)
    with pytest.raises(RecipeError, match="no backbone"):
        nic(backbone="resnet51")

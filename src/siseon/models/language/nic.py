"""NIC, "Show and Tell" (Vinyals, Toshev, Bengio, Erhan 2015, arXiv:1411.4555).

Idea    Translate a picture into a sentence: a network for pictures takes the place of the encoder of a translator, and
        its features are the first word that an LSTM reads; from then on it reads what it said itself.
Flow    x_{-1} = project(CNN(I));  x_t = words[S_t];  p_{t+1} = softmax(out(LSTM(x_t)))         equations 10 to 12
        learning: S is the true sentence (teacher forcing), the loss -log p of each of its words and of the stop word
        predicting: the most probable sentence that a beam search finds (section 3.1.2); a beam of 1 is greedy
Here    Section 4.3: 512 units and words of 512 numbers. The paper's network for pictures (one with batch normalisation,
        trained on ImageNet) is googlenet_bn here; nic_resnet50 and nic_mobilenet_v2 put later ones in its place.
        `classes` are the words, as language.vocabulary has them; the stop word, and the start word that is never said,
        are private to the head, as the background is to a detector's, and so is "any other word", which is learnt but
        never said. The loss is the mean over words, not their sum; a beam of 3 instead of 20, as the authors' later
        report (arXiv:1609.06647, section 5.4.4) found better. The picture is read once and must be known until the last
        word: it is batch-normalised, so that it weighs as much as a word (numbers of variance 1), and the bias of the
        forget gate begins at log(longest), so that the memory lasts as long as a sentence (Tallec, Ollivier 2018,
        arXiv:1804.11188); with the usual 1 it leaks by a quarter with each word.
        nic_mini keeps the grid of the features instead of their mean (grids=...): sentences about scenes say where
        things are.
        attributes=w (0 in the paper's form) adds a second loss: w times that of telling, from each place of the last
        map of features, which words stand in the sentences of the picture. The paper's network for pictures has learnt
        from ImageNet to see; one that begins with nothing would learn it through the LSTM only, which first says what
        is true of most pictures. It needs captions and no boxes: a word is there if it is at any place (noisy-or, Fang
        et al. 2015, arXiv:1411.4952), as Wu et al. (2016, arXiv:1506.01144) teach attributes from captions first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import Caption, Images, Picture, RecipeError, class_names
from siseon.language.vocabulary import Vocabulary
from siseon.layers import Body, conv_norm_relu, inference, to_grid
from siseon.models.classification.classifier import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    central_crop,
    one_or_more,
)
from siseon.models.classification.googlenet import GoogLeNetBody
from siseon.models.detection.bodies import body_of
from siseon.models.language.lstm import LSTM, State
from siseon.pictures import to_tensor
from siseon.stages import stage

END = -1
"""What stands in a target behind the end of a sentence."""


class PictureFeatures(nn.Module):
    """The last map of a body, averaged to n x n cells for each n of `grids`, as one row of numbers: [batch, channels].

    last: channels of a 1x1 convolution on that map, as MobileNetV2 has one before its classifier; 0 for none.
    """

    def __init__(self, body: Body, *, last: int, grids: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self.grids = tuple(grids)
        width = last or body.channels[-1]
        self.last = conv_norm_relu(body.channels[-1], last, kernel=1, relu=nn.ReLU6) if last else nn.Identity()
        self.width = width
        self.channels = width * sum(side**2 for side in self.grids)

    def maps(self, normalised: Tensor) -> Tensor:
        """The map that is averaged, [batch, width, height, width]."""
        return self.last(self.body.features(normalised)[-1])

    def averaged(self, maps: Tensor) -> Tensor:
        """The row of numbers of such a map."""
        return torch.cat([to_grid(maps, side).flatten(1) for side in self.grids], 1)

    def forward(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.averaged(self.maps(normalised))


class PictureNorm(nn.BatchNorm1d):
    """Batch normalisation that takes its running statistics for a batch of one, of which there is no variance."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if len(x) > 1 or not self.training:
            return super().forward(x)
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=False, eps=self.eps)


class NIC(nn.Module):
    """A network that says a sentence about a picture. Built by `nic`; arguments are explained there."""

    task: Literal["captioning"] = "captioning"
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: PictureFeatures,
        *,
        classes: int | Sequence[str],
        units: int,
        embedding: int,
        dropout: float,
        beam: int,
        longest: int,
        resize: int,
        crop: int,
        attributes: float,
    ) -> None:
        super().__init__()
        self.classes = class_names(classes)
        self.beam, self.longest = beam, longest
        self.resize, self.crop = resize, crop
        self.backbone = backbone
        self.project = nn.Linear(backbone.channels, embedding, bias=False)
        self.norm = PictureNorm(embedding)
        # One row more for any other word; the last is the start word where words go in, the stop word where they come.
        self.words = nn.Embedding(len(self.classes) + 2, embedding)
        self.lstm = LSTM(embedding, units, forget_bias=math.log(longest))
        self.out = nn.Linear(units, len(self.classes) + 2)
        self.attributes = attributes
        self.tell = nn.Conv2d(backbone.width, len(self.classes), 1) if attributes else None
        if self.tell is not None:
            nn.init.constant_(self.tell.bias, -4.0)  # type: ignore[arg-type]  # few words are at a place
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION))

    @property
    def mark(self) -> int:
        """The label of the start word and of the stop word."""
        return len(self.classes) + 1

    def forward(self, images: Images | Tensor) -> Tensor:
        """Logits [batch, words + 2] of the first word about RGB images 0..1, [batch, 3, height, width]."""
        state = self.seen(self.features(images))
        return self.following(torch.full((len(state.shown),), self.mark, device=state.shown.device), state)[0]

    def features(self, images: Images | Tensor) -> Tensor:
        """What the network for pictures says of images: [batch, backbone.channels]. It may be kept and used again."""
        return self.backbone(Images.of(images).normalised(self.mean, self.deviation))

    def seen(self, features: Tensor) -> State:
        """The LSTM's state after the picture, the first thing that it reads."""
        x = self.dropout(self.norm(self.project(features)))
        return self.lstm.step(x, self.lstm.start(len(x)))

    def following(self, labels: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [batch, words + 2] of the word after the words `labels` [batch], and the state after them."""
        state = self.lstm.step(self.words(labels), state)
        return self.out(state.shown), state

    def loss(self, images: Images | Tensor, targets: Tensor) -> dict[str, Tensor]:
        """{"word": mean cross-entropy of each next word}; targets: int64 [batch, sentences, words].

        Each picture has one or more sentences, each a row of labels with END behind it; a row of END is no sentence.
        Where the model has `attributes`, beside it {"attributes": their weight times the mean cross-entropy of whether
        each word of the vocabulary stands in a sentence of the picture}.
        """
        maps = self.backbone.maps(Images.of(images).normalised(self.mean, self.deviation))
        losses = self.loss_of_features(self.backbone.averaged(maps), targets)
        if self.tell is not None:
            # At no place is a word with probability prod(1 - p) = exp(-there).
            there = F.softplus(self.tell(maps).float()).sum((2, 3)).clamp(min=1e-6)
            none = there.where(words_there(targets, len(self.classes)) == 0, -torch.log(-torch.expm1(-there)))
            losses["attributes"] = self.attributes * none.mean()
        return losses

    def loss_of_features(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """`loss` for pictures whose `features` are known."""
        pictures, rows = torch.nonzero((targets != END).any(2), as_tuple=True)
        sentences = targets[pictures, rows]
        before = F.pad(sentences, (1, 0), value=self.mark)
        next_words = F.pad(sentences, (0, 1), value=END)
        next_words[torch.arange(len(sentences)), (sentences != END).sum(1)] = self.mark
        read = self.dropout(self.words(before.clamp(min=0)))
        with torch.autocast(features.device.type, enabled=False):  # the compiled loop wants one type of numbers
            seen = self.seen(features.float())
            state = State(seen.shown[pictures], seen.memory[pictures])
            shown, _ = self.lstm(read.float(), state)
        logits = self.out(self.dropout(shown))
        return {"word": F.cross_entropy(logits.flatten(0, 1).float(), next_words.flatten(), ignore_index=END)}

    def predict(
        self, pictures: Picture | Sequence[Picture], *, beam: int | None = None, batch: int = 16
    ) -> list[Caption]:
        """A sentence about each picture, or about one: files, PIL images, arrays or tensors of any size.

        beam: sentences that are followed at once, 1 is greedy; the model's own if left out. The score of a sentence is
        the geometric mean of the probabilities of its words. Raises PictureError naming a file.
        """
        several = one_or_more(pictures)
        found: list[Caption] = []
        with inference(self):
            for start in range(0, len(several), batch):
                with stage("preparation"):
                    images = torch.stack([self._prepared(picture) for picture in several[start : start + batch]])
                with stage("features"):
                    features = self.features(images)
                with stage("head"):
                    found += self.said(features, beam=beam)
        return found

    def said(self, features: Tensor, *, beam: int | None = None) -> list[Caption]:
        """The sentences about pictures with these `features`, [batch, backbone.channels]."""
        vocabulary = Vocabulary(self.classes)
        with inference(self):
            best = [beam_search(self, row[None], beam=beam or self.beam) for row in features]
        return [Caption(vocabulary.decode(labels), score) for labels, score in best]

    def _prepared(self, picture: Picture) -> Tensor:
        """The central crop [3, crop, crop] of the picture at its network size."""
        image = to_tensor(picture).to(self.mean.device)
        return central_crop(image, resize=self.resize, crop=self.crop)


def words_there(targets: Tensor, words: int) -> Tensor:
    """1 where a word stands in a sentence of the picture, else 0, [batch, words], of targets as in `NIC.loss`."""
    there = torch.zeros(len(targets), words + 2, device=targets.device)
    # END, the last place from the right, and the word that is not known fall into the two that are cut off
    return there.scatter_(1, targets.flatten(1) % (words + 2), 1.0)[:, :words]


def beam_search(model: NIC, features: Tensor, *, beam: int) -> tuple[list[int], float]:
    """The labels of the best sentence about one picture, [1, channels], and the mean probability of its words.

    At each step the `beam` most probable sentences one word longer are kept. Those among them that stop are whole; the
    search ends when no other can become more probable than the best of these. After `longest` words all must stop.
    """
    mark, unknown = model.mark, len(model.classes)
    state = model.seen(features)
    beginnings = torch.full((1, 1), mark, dtype=torch.int64, device=features.device)
    scores = features.new_zeros(1)
    best, best_score = beginnings[0], -torch.inf
    for length in range(model.longest + 1):
        logits, state = model.following(beginnings[:, -1], state)
        totals = scores[:, None] + logits.log_softmax(1)
        totals[:, unknown] = -torch.inf  # "any other word" cannot be said
        if length == 0:
            totals[:, mark] = -torch.inf  # nor can nothing
        if length == model.longest:
            totals[:, :mark] = -torch.inf
        scores, places = totals.flatten().topk(min(beam, int(totals.isfinite().sum())))
        rows, labels = places // totals.shape[1], places % totals.shape[1]
        stops = labels == mark
        if stops.any() and float(scores[stops][0]) > best_score:
            best, best_score = beginnings[rows[stops][0]], float(scores[stops][0])
        rows, labels, scores = rows[~stops], labels[~stops], scores[~stops]
        if not len(scores) or float(scores[0]) <= best_score:
            break
        beginnings = torch.cat([beginnings[rows], labels[:, None]], 1)
        state = State(state.shown[rows], state.memory[rows])
    return best[1:].tolist(), math.exp(best_score / len(best))


def nic(
    *,
    classes: int | Sequence[str] = 1000,
    backbone: str = "googlenet_bn",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    stages: int | None = None,
    last: int = 0,
    grids: Sequence[int] = (1,),
    units: int = 512,
    embedding: int = 512,
    dropout: float = 0.5,
    beam: int = 3,
    longest: int = 30,
    resize: int = 256,
    crop: int = 224,
    attributes: float = 0.0,
) -> NIC:
    """NIC on googlenet_bn or one of bodies.BODIES. Raises RecipeError for a backbone or a size that does not fit.

    classes: the words that it can say; backbone_options: more arguments of the body, such as padding="tensorflow";
    stages: of the body that are kept, all if left out; frozen: how many of them, with the stem, are not trained; last,
    grids: see PictureFeatures; units: of the LSTM; embedding: numbers of a word; dropout: of what the LSTM reads and
    shows; beam, longest: of the search; resize, crop: as a classifier's; attributes: the weight of the second loss.
    """
    if min(units, embedding, beam, longest, *grids) < 1:
        raise RecipeError("units, embedding, beam, longest and grids count from 1", "Leave out what is not")
    if backbone == "googlenet_bn":
        body: Body = GoogLeNetBody(norm=True, published=True, **(backbone_options or {}))
    else:
        body = body_of(backbone, backbone_options)
    if stages is not None:
        body.end_at(stages)
    body.freeze(frozen)
    return NIC(
        PictureFeatures(body, last=last, grids=grids),
        classes=classes,
        units=units,
        embedding=embedding,
        dropout=dropout,
        beam=beam,
        longest=longest,
        resize=resize,
        crop=crop,
        attributes=attributes,
    )


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "nic": {},
    "nic_resnet50": {"backbone": "resnet50"},
    "nic_mobilenet_v2": {"backbone": "mobilenet_v2", "last": 1280},
    "nic_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (24, 48, 128, 128)},
        "stages": 3,
        "grids": (8,),
        "units": 256,
        "embedding": 256,
        "dropout": 0.1,
        "resize": 128,
        "crop": 128,
        "attributes": 4.0,
    },
}
"""Name -> arguments of nic."""

"""YOLO, version 1 (Redmon, Divvala, Girshick, Farhadi 2016, "You Only Look Once", arXiv:1506.02640).

Idea    Detection as one regression: look at the picture once, and let each cell of a coarse grid say what object has
        its centre there, and with which boxes.
Flow    images -> 20 convolutions -> 4 more and 2 fully connected layers -> 7 x 7 cells, each with 2 boxes (x, y, roots
        of width and height, confidence) and a probability for each class -> class probability x confidence -> NMS
Here    yolo is figure 3 for Pascal VOC: 24 convolutions, 271,703,550 parameters. The loss is equation 3, its mean over
        the pictures; the outputs are linear, and the network gives the roots of the sides, as section 2.2 says.
        What the paper leaves open: of objects centred in one cell the largest is learnt (the authors' code takes any
        one); where no box of the cell overlaps the object, the nearest by squared error answers for it; the last layer
        starts with boxes of a quarter of the picture's side in the middle of their cells; NMS above an overlap of 0.5.
        Cells that a crowd region touches do not learn that nothing is there.
        Not the paper's: a named backbone takes the place of the 20 convolutions, with batch normalisation (version 2's)
        and a convolutional head, so that the grid follows the picture: yolo_mobilenet_v2 has 14 x 14 cells of 32
        pixels, yolo_mini, for pictures of 160 pixels from nothing, 10 x 10 cells of 16.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from siseon import layers
from siseon.boxes.geometry import area, clip, from_center, large_enough, overlap, to_center
from siseon.boxes.nms import nms_by_group
from siseon.interface import Detections, Images, SiseonError, Size, Sizing, Stretch, Target
from siseon.layers import Body
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector
from siseon.models.detection.fpn import SingleLevel
from siseon.stages import stage

COORDINATES, NO_OBJECT = 5.0, 0.5
"""Lambda coord and lambda noobj of equation 3."""


class Outputs(NamedTuple):
    """What YOLO.forward gives, in float32; all values are linear, nothing holds them in 0..1."""

    boxes: Tensor
    """[batch, rows, columns, boxes, 4]: x and y in cells, from the cell's left top corner; roots of width and height as
    parts of the longer side of the network's input."""
    confidence: Tensor
    """[batch, rows, columns, boxes]: that there is an object, times its overlap with the box."""
    class_scores: Tensor
    """[batch, rows, columns, classes]: of the object, if there is one."""


class Truth(NamedTuple):
    """What a batch is to learn."""

    cells: Tensor
    """int64 [objects, 3]: picture, row and column of each object; no two are the same."""
    boxes: Tensor
    """[objects, 4] in pixels."""
    labels: Tensor
    """int64 [objects]."""
    ignored: Tensor
    """bool [batch, rows, columns]: cells that a crowd region touches."""


class YOLO(Detector[Outputs]):
    """A backbone of one map, and a head that gives `boxes` boxes and the class scores of each cell.

    threshold: the overlap above which the lesser of two detections of a class goes; limit: detections per picture.
    """

    def __init__(
        self,
        backbone: SingleLevel,
        head: nn.Module,
        *,
        classes: int | Sequence[str],
        boxes: int = 2,
        threshold: float = 0.5,
        limit: int = 100,
        sizing: Sizing,
    ) -> None:
        super().__init__(classes=classes, sizing=sizing)
        self.backbone = backbone
        self.head = head
        self.boxes = boxes
        self.threshold = threshold
        self.limit = limit

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size. Raises SiseonError where a fixed grid does not fit."""
        images = Images.of(images, self.sizing.multiple)
        with stage("features"):
            (features,) = self.backbone.features(images.normalised(self.mean, self.deviation))
        with stage("head"):
            cells = self.head(features).float()
            boxes, class_scores = cells.tensor_split((5 * self.boxes,), 3)
            boxes = boxes.unflatten(3, (self.boxes, 5))
            return Outputs(boxes[..., :4], boxes[..., 4], class_scores)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"box", "object", "background", "class"}: equation 3 for images at network size and their true objects.

        "box" is its first two lines, "object" and "background" are the confidence with and without an object; each is
        the sum over cells and boxes, with its lambda, and the mean over the pictures.
        """
        images = Images.of(images, self.sizing.multiple)
        raw = self(images)
        strides = strides_of(raw, images)
        truth = truth_of(targets, (raw.boxes.shape[1], raw.boxes.shape[2]), strides)
        picture, row, column = truth.cells.unbind(1)
        boxes = raw.boxes[picture, row, column]  # [objects, boxes, 4]
        wanted = self._wanted(truth, strides)
        pixels = self.pixels(raw.boxes.detach(), strides)[picture, row, column]
        answers, overlaps = responsible(boxes.detach(), wanted, pixels, truth.boxes)
        each = torch.arange(len(answers), device=answers.device)
        empty = (~truth.ignored)[..., None].repeat(1, 1, 1, self.boxes)
        empty[picture, row, column, answers] = False
        known = torch.zeros_like(raw.class_scores[picture, row, column])
        known[each, truth.labels] = 1
        terms = {
            "box": COORDINATES * (boxes[each, answers] - wanted).square().sum(),
            "object": (raw.confidence[picture, row, column, answers] - overlaps).square().sum(),
            "background": NO_OBJECT * (raw.confidence.square() * empty).sum(),
            "class": (raw.class_scores[picture, row, column] - known).square().sum(),
        }
        return {name: term / len(images) for name, term in terms.items()}

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `limit` objects above `score` in each picture, best first, in pixels of the network's input."""
        boxes = self.pixels(raw.boxes, strides_of(raw, images)).flatten(1, 3)
        scores = raw.confidence.clamp(0, 1)[..., None] * raw.class_scores.clamp(0, 1)[..., None, :]
        pictures = zip(boxes, scores.flatten(1, 3), images.sizes, strict=True)
        return [self._objects(*picture, score) for picture in pictures]

    def _objects(self, boxes: Tensor, scores: Tensor, size: Size, score: float) -> Detections:
        """The objects of one picture: boxes [boxes, 4], scores [boxes, classes]."""
        which, labels = torch.nonzero(scores > score, as_tuple=True)
        boxes, scores = clip(boxes[which], size), scores[which, labels]
        some = large_enough(boxes, 1e-2)
        boxes, scores, labels = boxes[some], scores[some], labels[some]
        best = nms_by_group(boxes, scores, labels, self.threshold, limit=self.limit)
        return Detections(boxes[best], labels[best], scores[best], self.classes)

    def pixels(self, boxes: Tensor, strides: tuple[float, float]) -> Tensor:
        """Raw boxes [batch, rows, columns, boxes, 4] as corners in pixels."""
        rows, columns = (torch.arange(cells, device=boxes.device) for cells in boxes.shape[1:3])
        x = (boxes[..., 0] + columns[:, None]) * strides[1]
        y = (boxes[..., 1] + rows[:, None, None]) * strides[0]
        sides = boxes[..., 2:].square() * self.sizing.longer
        return from_center(torch.cat((torch.stack((x, y), -1), sides), -1).flatten(0, 3)).view_as(boxes)

    def _wanted(self, truth: Truth, strides: tuple[float, float]) -> Tensor:
        """What the boxes of an object's cell should be, [objects, 4], as in `Outputs.boxes`."""
        middle = to_center(truth.boxes)
        cells = middle[:, :2] / middle.new_tensor(strides[::-1]) - truth.cells[:, [2, 1]]
        return torch.cat((cells, (middle[:, 2:] / self.sizing.longer).sqrt()), 1)


def strides_of(raw: Outputs, images: Images) -> tuple[float, float]:
    """The (vertical, horizontal) pixels of a cell."""
    (height, width), (rows, columns) = images.tensor.shape[-2:], raw.boxes.shape[1:3]
    return height / rows, width / columns


def truth_of(targets: Sequence[Target], grid: Size, strides: tuple[float, float]) -> Truth:
    """Which cells, of a `grid` of (rows, columns) with `strides` (vertical, horizontal) in pixels, learn which objects.

    An object belongs to the cell of its centre; of several in one cell the largest does. Boxes without area and crowd
    regions belong to none.
    """
    last = targets[0].boxes.new_tensor(grid) - 1
    places, kept, labels, ignored = [], [], [], []
    for number, target in enumerate(targets):
        objects = torch.nonzero(~target.crowd & large_enough(target.boxes, 1e-6))[:, 0]
        objects = objects[area(target.boxes[objects]).argsort(descending=True, stable=True)]
        middle = to_center(target.boxes[objects])[:, [1, 0]] / last.new_tensor(strides)
        cells = torch.minimum(middle.clamp(min=0), last).long()
        taken = (cells[:, None] == cells).all(2).tril(-1).any(1)
        cells, objects = cells[~taken], objects[~taken]
        places.append(torch.cat((torch.full_like(cells[:, :1], number), cells), 1))
        kept.append(target.boxes[objects])
        labels.append(target.labels[objects])
        ignored.append(touched(target.boxes[target.crowd], grid, strides))
    return Truth(torch.cat(places), torch.cat(kept), torch.cat(labels), torch.stack(ignored))


def touched(regions: Tensor, grid: Size, strides: tuple[float, float]) -> Tensor:
    """The cells, bool [rows, columns], that any of the regions [regions, 4] has a part of."""
    across = []
    for axis in (0, 1):
        start = torch.arange(grid[axis], device=regions.device) * strides[axis]
        low, high = regions[:, 1 - axis, None], regions[:, 3 - axis, None]
        across.append((low < start + strides[axis]) & (high > start))
    return (across[0][:, :, None] & across[1][:, None]).any(0)


def responsible(boxes: Tensor, wanted: Tensor, pixels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Which box of its cell answers for each object, int64 [objects], and the overlap of the two, [objects].

    boxes [objects, boxes, 4] and wanted [objects, 4] as in `Outputs.boxes`; pixels [objects, boxes, 4] and truth
    [objects, 4] the same in pixels. The box of the highest overlap; where none overlaps, the nearest.
    """
    objects, each = boxes.shape[:2]
    # every object with the boxes of every other's cell too: a few hundred numbers, and no loop
    overlaps = overlap(truth, pixels.flatten(0, 1)).view(objects, objects, each)
    overlaps = overlaps.diagonal(dim1=0, dim2=1).T
    nearness = -(boxes - wanted[:, None]).square().sum(2)
    answers = torch.where(overlaps.amax(1, keepdim=True) > 0, overlaps, nearness).argmax(1)
    return answers, overlaps.gather(1, answers[:, None])[:, 0]


def convolution(channels: int, width: int, *, kernel: int = 3, stride: int = 1, norm: bool = False) -> nn.Sequential:
    """A convolution, batch normalisation if `norm`, and the leaky rectifier of equation 2."""
    parts = OrderedDict[str, nn.Module](conv=nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=not norm))
    if norm:
        parts["norm"] = nn.BatchNorm2d(width)
    parts["relu"] = nn.LeakyReLU(0.1, inplace=True)
    return nn.Sequential(parts)


class YOLOBody(Body):
    """The first 20 convolutions of figure 3; `features` gives the last map of stride 4, 8, 16 and 32.

    width: a multiplier of all channels; norm: with batch normalisation.
    """

    def __init__(self, *, width: float = 1.0, norm: bool = False) -> None:
        blocks: tuple[tuple[tuple[int, int], ...], ...] = (
            ((192, 3),),
            ((128, 1), (256, 3), (256, 1), (512, 3)),
            (*((256, 1), (512, 3)) * 4, (512, 1), (1024, 3)),
            ((512, 1), (1024, 3)) * 2,
        )
        channels = int(64 * width)
        stem = convolution(3, channels, kernel=7, stride=2, norm=norm)
        chain: list[nn.Module] = []
        ends, widths = [], []
        for block in blocks:
            chain.append(nn.MaxPool2d(2))
            for base, kernel in block:
                chain.append(convolution(channels, int(base * width), kernel=kernel, norm=norm))
                channels = int(base * width)
            ends.append(len(chain))
            widths.append(channels)
        super().__init__(stem, chain, ends=tuple(ends), channels=tuple(widths), strides=(4, 8, 16, 32))
        initialise(self)


class ConnectedHead(nn.Module):
    """Figure 3 from the pretrained part on: four convolutions, the second with stride 2, and two connected layers.

    channels: of the map and the convolutions; grid: rows and columns of cells, half those of the map; outputs: values
    of a cell; boxes: of a cell; hidden: units of the first connected layer.
    """

    def __init__(
        self, channels: int, *, grid: int, outputs: int, boxes: int, hidden: int, dropout: float, norm: bool
    ) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(convolution(channels, channels, stride=stride, norm=norm) for stride in (1, 2, 1, 1))
        )
        self.hidden = nn.Sequential(
            nn.Linear(channels * grid**2, hidden), nn.LeakyReLU(0.1, inplace=True), nn.Dropout(dropout)
        )
        self.cells = nn.Linear(hidden, outputs * grid**2)
        self.grid = grid
        initialise(self)
        start(self.cells, boxes, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, grid, grid, outputs] of one map [batch, channels, 2 grid, 2 grid]."""
        features = self.convolutions(features)
        if features.shape[-2:] != (self.grid, self.grid):
            raise SiseonError(
                f"this picture gives {features.shape[-2]} x {features.shape[-1]} cells, "
                f"where the connected layers know {self.grid} x {self.grid}",
                "Take the picture size that the model was built for, or a YOLO with a named backbone",
            )
        return self.cells(self.hidden(features.flatten(1))).unflatten(1, (self.grid, self.grid, -1))


class ConvolutionalHead(nn.Module):
    """Convolutions of `widths` channels, then 1x1 to the values of a cell: a grid as large as the map."""

    def __init__(self, channels: int, *, outputs: int, boxes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(convolution(inputs, width, norm=True) for inputs, width in pairwise((channels, *widths)))
        )
        self.cells = nn.Conv2d((channels, *widths)[-1], outputs, 1)
        initialise(self)
        start(self.cells, boxes, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, rows, columns, outputs] of one map [batch, channels, rows, columns]."""
        return self.cells(self.convolutions(features)).permute(0, 2, 3, 1)


def initialise(network: nn.Module) -> None:
    """Draw the weights by the fan in, for the leaky rectifier (He et al. 2015, arXiv:1502.01852); biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start(last: nn.Conv2d | nn.Linear, boxes: int, outputs: int) -> None:
    """Let the last layer begin with boxes in the middle of their cells and with no confidence."""
    nn.init.normal_(last.weight, std=0.01)
    bias = torch.zeros(outputs)
    bias[: 5 * boxes].view(boxes, 5)[:, :4] = 0.5
    with torch.no_grad():
        assert last.bias is not None
        last.bias.copy_(bias.repeat(len(last.bias) // outputs))


def yolo(
    *,
    classes: int | Sequence[str] = 20,
    backbone: str | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    stages: int = 4,
    boxes: int = 2,
    head_widths: Sequence[int] = (512, 512),
    hidden: int = 4096,
    grid: int = 7,
    width: float = 1.0,
    norm: bool = False,
    dropout: float = 0.5,
    threshold: float = 0.5,
    limit: int = 100,
    size: int = 448,
) -> YOLO:
    """YOLO with the network of its paper, or on one of bodies.BODIES. Raises RecipeError for another backbone.

    classes: a count or the names; boxes: of each cell; frozen: how many stages, with the stem, are not trained;
    freeze_norm: keep the batch norm of the backbone as loaded; threshold: the overlap above which the lesser of two
    detections of a class goes; limit: detections per picture; size: the side in pixels of the squares to which pictures
    are stretched.
    A named backbone: backbone_options: more arguments of it; stages: how many of it there are (4 is stride 32);
    head_widths: of the convolutions after it.
    The paper's network, which has none: hidden: units of the first connected layer; grid: rows and columns, for
    pictures of 64 times as many pixels; width: a multiplier of all channels; norm: with batch normalisation; dropout:
    after the hidden layer.
    """
    body = YOLOBody(width=width, norm=norm) if backbone is None else body_of(backbone, backbone_options)
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    single = SingleLevel(body, stages=stages)
    (channels,) = single.channels
    outputs = 5 * boxes + (len(classes) if isinstance(classes, Sequence) else classes)
    head: nn.Module
    if backbone is None:
        head = ConnectedHead(
            channels, grid=grid, outputs=outputs, boxes=boxes, hidden=hidden, dropout=dropout, norm=norm
        )
    else:
        head = ConvolutionalHead(channels, outputs=outputs, boxes=boxes, widths=head_widths)
    # the connected layers need their whole grid, be it padding
    sizing = Stretch(size, size, 64 * grid if backbone is None else 32)
    return YOLO(single, head, classes=classes, boxes=boxes, threshold=threshold, limit=limit, sizing=sizing)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "yolo": {},
    "yolo_mobilenet_v2": {"backbone": "mobilenet_v2"},
    "yolo_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 128, 128), "depths": (1, 1, 3, 1)},
        "stages": 3,
        "head_widths": (128, 128),
        "size": 160,
    },
}
"""Name -> arguments of `yolo`."""

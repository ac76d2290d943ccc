"""RoIAlign, RoIPool and pyramid levels: numbers of torchvision, plain loops, and the two ways that must agree."""

import math

import pytest
import torch

from siseon.boxes import roi
from siseon.boxes.roi import pooled_from_pyramid, pyramid_level, roi_align, roi_pool

# 6 x 7 whole numbers without order
PATTERN = torch.tensor(
    [
        [0, 2, 8, 7, 10, 6, 6],
        [3, 6, 2, 2, 6, 3, 4],
        [6, 10, 7, 8, 2, 0, 2],
        [9, 3, 1, 3, 9, 8, 0],
        [1, 7, 6, 9, 5, 5, 9],
        [4, 0, 0, 4, 1, 2, 7],
    ]
)[None, None].float()
BOXES = torch.tensor([[1, 2, 9.5, 7.25], [-3, -2, 4, 5], [10, 9, 13, 30]])
WAYS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["compiled", "plain"])


def bilinear(cells, y, x):
    height, width = cells.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * cells[top, left].item() + dx * cells[top, right].item()
    lower = (1 - dx) * cells[bottom, left].item() + dx * cells[bottom, right].item()
    return (1 - dy) * upper + dy * lower


def loop_align(cells, box, output, scale, samples, aligned):
    left, top, right, bottom = (edge * scale - (0.5 if aligned else 0) for edge in box.tolist())
    least = -math.inf if aligned else 1
    height, width = max(bottom - top, least) / output[0], max(right - left, least) / output[1]
    rows, columns = samples or math.ceil(height), samples or math.ceil(width)
    pooled = torch.zeros(output)
    for i in range(output[0]):
        for j in range(output[1]):
            readings = [
                bilinear(cells, top + (i + (a + 0.5) / rows) * height, left + (j + (b + 0.5) / columns) * width)
                for a in range(rows)
                for b in range(columns)
            ]
            pooled[i, j] = sum(readings) / max(len(readings), 1)
    return pooled


def loop_pool(cells, box, output, scale):
    left, top, right, bottom = (math.floor(abs(edge * scale) + 0.5) * (-1 if edge < 0 else 1) for edge in box.tolist())
    height, width = max(bottom - top + 1, 1) / output[0], max(right - left + 1, 1) / output[1]
    pooled = torch.zeros(output)
    for i in range(output[0]):
        for j in range(output[1]):
            first, last = (
                min(max(top + e, 0), cells.shape[0]) for e in (math.floor(i * height), math.ceil((i + 1) * height))
            )
            start, stop = (
                min(max(left + e, 0), cells.shape[1]) for e in (math.floor(j * width), math.ceil((j + 1) * width))
            )
            window = cells[first:last, start:stop]
            pooled[i, j] = window.max() if window.numel() else 0
    return pooled


def random_boxes(count, size, scale, seed=0):
    """Most inside the picture, some beyond its edges, some smaller than a cell."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.tensor([size[1], size[0]]) / scale
    corners = torch.rand(count, 2, generator=generator) * whole * 1.4 - 0.3 * whole
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) ** 2 * whole], dim=1)


@WAYS
@pytest.mark.parametrize(  # torchvision 0.28, ops.roi_align(PATTERN, [BOXES], 2, 0.5, samples, aligned)
    ("samples", "aligned", "first", "second", "third"),
    [
        (
            2,
            False,
            [6.9316406, 4.199707, 3.8964844, 6.0402832],
            [0.234375, 3.5361328, 2.4375, 6.6943359],
            [1.9375, 3.421875],
        ),
        (
            0,
            False,
            [6.7649741, 4.1822915, 4.0890841, 5.9664712],
            [0.234375, 3.5361328, 2.4375, 6.6943359],
            [1.3190104, 2.3541667],
        ),
        (2, True, [5.0247803, 4.3922119, 6.128418, 5.269043], [0, 0.6875, 1.6875, 5.1630859], [1, 2.5625]),
        (0, True, [5.140408, 4.3945312, 6.1636291, 5.265842], [0, 0.6875, 1.6875, 5.1630859], [0.9179688, 1.9309896]),
    ],
)
def test_align_as_torchvision(dtype, samples, aligned, first, second, third):
    pooled = roi_align(PATTERN.to(dtype), [BOXES], output=2, scale=0.5, samples=samples, aligned=aligned)
    torch.testing.assert_close(pooled.flatten(1), torch.tensor([first, second, [*third, 0, 0]], dtype=dtype))


@WAYS
def test_pool_as_torchvision(dtype):
    pooled = roi_pool(PATTERN.to(dtype), [BOXES], output=2, scale=0.5)
    assert pooled.flatten(1).tolist() == [[10, 8, 9, 9], [3, 8, 9, 10], [7, 7, 0, 0]]


@WAYS
@pytest.mark.parametrize(("x", "y", "expected"), [(0.5, 0.5, 2.5), (0.25, 0.75, 2.75), (0, 0, 1), (1, 1, 4)])
def test_align_reads_between_cells(dtype, x, y, expected):
    features = torch.tensor([[1.0, 2], [3, 4]], dtype=dtype)[None, None]
    box = torch.tensor([[x - 0.5, y - 0.5, x + 0.5, y + 0.5]])
    assert roi_align(features, [box], output=1, scale=1.0, samples=1).item() == expected


@WAYS
def test_align_keeps_the_fraction_that_pool_rounds_away(dtype):
    """A box of 665 pixels on a map of stride 32 is 20.78 cells wide: seven bins of 2.97 each, not of whole cells."""
    ramp = torch.arange(30.0, dtype=dtype).expand(1, 1, 30, 30)
    box = torch.tensor([[0.0, 0, 665, 665]])
    aligned = roi_align(ramp, [box], output=7, scale=1 / 32)[0, 0, 0]
    torch.testing.assert_close(aligned, (torch.arange(7, dtype=dtype) + 0.5) * 665 / 32 / 7)
    assert roi_pool(ramp, [box], output=7, scale=1 / 32)[0, 0, 0].tolist() == [3, 6, 9, 12, 15, 18, 21]


@WAYS
@pytest.mark.parametrize("samples", [0, 1, 2, 5])
def test_align_is_exact_on_a_linear_map(dtype, samples):
    y, x = torch.meshgrid(torch.arange(20, dtype=dtype), torch.arange(24, dtype=dtype), indexing="ij")
    features = (3 * x - 2 * y + 1)[None, None]
    box = torch.tensor([[10.0, 6, 41, 35]])
    pooled = roi_align(features, [box], output=(3, 4), scale=0.5, samples=samples)[0, 0]
    centers_y = 3 + (torch.arange(3, dtype=dtype) + 0.5) * 14.5 / 3
    centers_x = 5 + (torch.arange(4, dtype=dtype) + 0.5) * 15.5 / 4
    torch.testing.assert_close(pooled, 3 * centers_x - 2 * centers_y[:, None] + 1)


@WAYS
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("output", "samples"), [((3, 3), 2), ((2, 5), 0), ((1, 1), 3)])
def test_align_agrees_with_loops(dtype, output, samples, aligned):
    features = torch.randn(2, 3, 9, 12, dtype=dtype)
    boxes = random_boxes(9, (9, 12), 0.25)
    pooled = roi_align(features, [boxes[:4], boxes[4:]], output=output, scale=0.25, samples=samples, aligned=aligned)
    for index, box in enumerate(boxes):
        expected = [loop_align(cells, box, output, 0.25, samples, aligned) for cells in features[int(index >= 4)]]
        torch.testing.assert_close(pooled[index], torch.stack(expected).to(dtype), rtol=1e-4, atol=1e-5)


@WAYS
@pytest.mark.parametrize("output", [(3, 3), (2, 5), (1, 1)])
def test_pool_agrees_with_loops(dtype, output):
    features = torch.randn(2, 3, 9, 12, dtype=dtype)
    boxes = random_boxes(9, (9, 12), 0.25)
    pooled = roi_pool(features, [boxes[:4], boxes[4:]], output=output, scale=0.25)
    for index, box in enumerate(boxes):
        expected = [loop_pool(cells, box, output, 0.25) for cells in features[int(index >= 4)]]
        torch.testing.assert_close(pooled[index], torch.stack(expected).to(dtype))


POOLINGS = {
    "align": lambda features, boxes: roi_align(features, boxes, output=(4, 3), scale=0.25),
    "align by cells": lambda features, boxes: roi_align(features, boxes, output=2, scale=0.25, samples=0, aligned=True),
    "pool": lambda features, boxes: roi_pool(features, boxes, output=(4, 3), scale=0.25),
}
EACH = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)


@EACH
@pytest.mark.parametrize("channels", [1, 16, 37])
def test_both_ways_agree_forward_and_backward(pooling, channels):
    boxes = random_boxes(30, (15, 20), 0.25).split([20, 0, 10])
    compiled = torch.randn(3, channels, 15, 20, requires_grad=True)
    plain = compiled.detach().double().requires_grad_()
    ours, expected = pooling(compiled, boxes), pooling(plain, boxes)
    gradient = torch.randn_like(ours)
    ours.backward(gradient)
    expected.backward(gradient.double())
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(compiled.grad.double(), plain.grad, rtol=1e-5, atol=1e-5)


@EACH
def test_the_plain_way_has_the_gradient_of_its_value(pooling):
    features = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: pooling(maps, [BOXES]), features)


@EACH
def test_the_layout_of_the_memory_does_not_matter(pooling):
    features, boxes = torch.randn(1, 20, 9, 12), [random_boxes(8, (9, 12), 0.25)]
    last = features.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pooling(features, boxes), pooling(last, boxes))


@EACH
def test_the_gradient_is_the_same_with_any_number_of_threads(pooling):
    boxes = [random_boxes(40, (9, 12), 0.25)]
    features = torch.randn(1, 50, 9, 12, requires_grad=True)
    gradients = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            gradients.append(torch.autograd.grad(pooling(features, boxes).square().sum(), features)[0])
    finally:
        torch.set_num_threads(1)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


@EACH
def test_bfloat16_is_computed_in_float32(pooling):
    features = torch.randn(1, 8, 9, 12).bfloat16().requires_grad_()
    boxes = [random_boxes(8, (9, 12), 0.25)]
    pooled = pooling(features, boxes)
    assert torch.equal(pooled, pooling(features.detach().float(), boxes).bfloat16())
    pooled.sum().backward()
    assert features.grad.dtype == torch.bfloat16


@EACH
@WAYS
def test_no_boxes_give_no_regions_and_no_gradient(pooling, dtype):
    features = torch.ones(2, 3, 5, 5, dtype=dtype, requires_grad=True)
    pooled = pooling(features, [torch.zeros(0, 4), torch.zeros(0, 4)])
    assert pooled.shape[:2] == (0, 3)
    pooled.sum().backward()
    assert features.grad.abs().sum() == 0


@EACH
@WAYS
@pytest.mark.parametrize("edge", [math.nan, math.inf, -math.inf, 300.0])
def test_impossible_boxes_read_no_foreign_memory(pooling, dtype, edge):
    boxes = torch.tensor([[edge] * 4, [0, 0, edge, edge], [edge, edge, 5, 5], [1, 1, 9, 9]])
    pooled = pooling(torch.ones(1, 2, 5, 5, dtype=dtype), [boxes])
    assert ((pooled >= 0) & (pooled <= 1 + 1e-6)).all()


@EACH
def test_each_picture_has_its_own_boxes(pooling):
    features = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6)])
    inside = torch.tensor([[4.0, 4, 16, 16]])
    assert pooling(features, [inside, inside]).flatten(1).mean(1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="1 pictures for features of 2"):
        pooling(features, [inside])


@pytest.mark.parametrize(
    ("side", "level"), [(224, 4), (112, 3), (448, 5), (223, 3), (56, 2), (10, 2), (0, 2), (5000, 5), (math.nan, 2)]
)
def test_pyramid_level(side, level):
    boxes = torch.tensor([[7, 9, 7 + side, 9 + side]], dtype=torch.float32)
    assert pyramid_level(boxes, lowest=2, highest=5).tolist() == [level]


def test_pyramid_level_goes_by_area():
    boxes = torch.tensor([[0.0, 0, 448, 112], [0, 0, 896, 224], [5, 5, 0, 0]])
    assert pyramid_level(boxes, lowest=2, highest=5).tolist() == [4, 5, 2]


def test_pyramid_level_without_boxes():
    assert pyramid_level(torch.zeros(0, 4), lowest=2, highest=5).shape == (0,)


STRIDES = (4, 8, 16)


def levels(channels=5, dtype=torch.float32):
    return [torch.randn(2, channels, 480 // stride, 640 // stride, dtype=dtype).requires_grad_() for stride in STRIDES]


def sized_boxes():
    """Of all three levels, mixed, in two pictures."""
    sides = torch.tensor([300, 30, 120, 400, 60, 200, 150.0])[:, None]
    corners = torch.tensor([[50, 40], [300, 200], [100, 90], [5, 6], [500, 400], [120, 60], [30, 300.0]])
    return torch.cat([corners, corners + sides], dim=1).split([3, 4])


@WAYS
def test_every_box_is_pooled_from_its_own_level_in_the_order_of_the_boxes(dtype):
    features, boxes = levels(dtype=dtype), sized_boxes()
    pooled = pooled_from_pyramid(features, boxes, STRIDES, output=(3, 2))
    index = 0
    for image, picture_boxes in enumerate(boxes):
        for box in picture_boxes[:, None]:
            level = int(pyramid_level(box, lowest=2, highest=4)) - 2
            alone = roi_align(features[level][image : image + 1], [box], output=(3, 2), scale=1 / STRIDES[level])
            torch.testing.assert_close(pooled[index], alone[0])
            index += 1
    assert index == len(pooled)


@WAYS
def test_the_gradient_reaches_every_level(dtype):
    features = levels(dtype=dtype)
    pooled_from_pyramid(features, sized_boxes(), STRIDES, output=3).sum().backward()
    torch.testing.assert_close(sum(each.grad.sum() for each in features), torch.tensor(7 * 5 * 9.0, dtype=dtype))
    assert all(each.grad.abs().sum() > 0 for each in features)


def test_another_pooling_can_be_used():
    features, boxes = levels(), sized_boxes()
    pooled = pooled_from_pyramid(features, boxes, STRIDES, output=2, pool=roi_pool)
    expected = roi_pool(features[2][1:], [boxes[1][:1]], output=2, scale=1 / 16)
    assert torch.equal(pooled[3], expected[0])


@pytest.mark.parametrize("pool", [roi_align, roi_pool])
def test_a_pyramid_without_boxes(pool):
    pooled = pooled_from_pyramid(levels(), [torch.zeros(0, 4)] * 2, STRIDES, output=2, pool=pool)
    assert pooled.shape == (0, 5, 2, 2)


def test_the_way_is_chosen_by_device_and_type():
    assert roi._compiled(torch.zeros(1))
    assert not roi._compiled(torch.zeros(1, dtype=torch.float64))
    assert not roi._compiled(torch.zeros(1, device="meta"))

import numpy as np
import pytest
import torch

from siseon.interface import PictureError
from siseon.models.detection import _segmentation
from siseon.models.detection import selective_search as search
from siseon.models.detection.selective_search import propose, segments, to_colours

EVERYTHING = (True, True, True, True)


def noise(height, width, *, blocks=3, seed=0):
    """Blocks of colours under a little noise, so that segments have all kinds of shapes."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (-(-height // blocks), -(-width // blocks), 3))
    fine = coarse.repeat(blocks, 0).repeat(blocks, 1)[:height, :width] + random.integers(-20, 21, (height, width, 3))
    return fine.clip(0, 255).astype(np.uint8)


# The naive second implementations: sets, lists and loops.


def naive_smooth(plane, rows, columns):
    """Both convolutions with a repeated border, each sum in float32 from the first tap to the last."""
    for taps, axis in ((rows, 0), (columns, 1)):
        reach = len(taps) // 2
        padded = np.pad(plane, [(reach, reach) if own == axis else (0, 0) for own in (0, 1)], mode="edge")
        total = np.zeros_like(plane)
        for tap, weight in enumerate(taps):
            total += weight * padded.take(range(tap, tap + plane.shape[axis]), axis)
        plane = total
    return plane


def naive_edges(planes, sigma):
    """(weight, pixel, direction, other pixel) of all neighbours, sorted."""
    taps = _segmentation.gaussian(sigma)[0]
    smooth = np.stack([naive_smooth(plane.astype(np.float32), taps, taps) for plane in planes])
    _, height, width = smooth.shape
    found = []
    for direction, (down, across) in enumerate([(0, 1), (1, 0), (1, 1), (1, -1)]):
        for y in range(height - down):
            for x in range(max(-across, 0), width - max(across, 0)):
                squares = np.float32(0)
                for plane in smooth:
                    step = plane[y, x] - plane[y + down, x + across]
                    squares += step * step
                weight = int(np.sqrt(squares) * np.float32(64) + np.float32(0.5))
                found.append((weight, y * width + x, direction, (y + down) * width + x + across))
    return sorted(found)


def naive_segments(planes, k, sigma, least):
    """Sets of pixels, each with the heaviest edge within; afterwards the small ones join."""
    pixels = planes[0].size
    own = {pixel: frozenset([pixel]) for pixel in range(pixels)}
    inner = {own[pixel]: 0 for pixel in range(pixels)}

    def join(a, b, weight):
        both = a | b
        inner[both] = weight
        own.update(dict.fromkeys(both, both))

    edges = naive_edges(planes, sigma)
    for weight, one, _, other in edges:
        a, b = own[one], own[other]
        if a != b and weight <= min(
            np.float32(inner[each]) + np.float32(64 * k) / np.float32(len(each)) for each in (a, b)
        ):
            join(a, b, weight)
    for weight, one, _, other in edges:
        a, b = own[one], own[other]
        if a != b and min(len(a), len(b)) < least:
            join(a, b, weight)
    numbers = {}
    labels = np.array([numbers.setdefault(own[pixel], len(numbers)) for pixel in range(pixels)])
    return labels.reshape(planes.shape[1:])


class Region:
    """What similarity needs of a set of pixels."""

    def __init__(self, mask, planes, codes):
        self.mask = mask
        y, x = np.nonzero(mask)
        self.box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        self.size = int(mask.sum())
        inside = codes.reshape(*mask.shape, len(planes), 5)[mask].astype(int).transpose(1, 0, 2)
        colours, textures = [], []
        for channel in inside:
            colours += np.bincount(channel[:, 0], minlength=25).tolist()
            for axis in range(4):
                signed = channel[:, 1 + axis] - 9
                for side in (signed, -signed):
                    textures += np.bincount(side.clip(0), minlength=10).tolist()
        self.colours, self.textures = self.shares(colours), self.shares(textures)

    def shares(self, counts):
        scale = np.float32(65535) / np.float32(self.size)
        return [int(np.float32(count) * scale) for count in counts]


def naive_likeness(a, b, area, channels, by):
    total = 0.0
    if by[0]:
        total += sum(map(min, a.colours, b.colours)) / (channels * 65535)
    if by[1]:
        total += sum(map(min, a.textures, b.textures)) / (channels * 8 * 65535)
    pixels = a.size + b.size
    if by[2]:
        total += 1 - pixels / area
    if by[3]:
        width = max(a.box[2], b.box[2]) - min(a.box[0], b.box[0])
        height = max(a.box[3], b.box[3]) - min(a.box[1], b.box[1])
        total += 1 - (width * height - pixels) / area
    return int(total * 2**28)


def touching(labels):
    """Pairs of the numbers of neighbours, sorted."""
    found = set()
    height, width = labels.shape
    for y, x in np.ndindex(height, width):
        for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
            if y + down < height and 0 <= x + across < width:
                pair = labels[y, x], labels[y + down, x + across]
                found.add((int(min(pair)), int(max(pair))))
    return sorted(pair for pair in found if pair[0] != pair[1])


def naive_grouping(labels, planes, codes, by):
    """Algorithm 1 word by word: the list of all similarities, its first largest, its removal, new ones at the end."""
    regions = {label: Region(labels == label, planes, codes) for label in range(labels.max() + 1)}
    lists = {label: [] for label in regions}
    similarities = []

    def add(one, other):
        likeness = naive_likeness(regions[one], regions[other], labels.size, len(planes), by)
        similarities.append((likeness, one, other))
        lists[one].append(other)
        lists[other].append(one)

    for pair in touching(labels):
        add(*pair)
    merges, alive = [], set(regions)
    while similarities:
        _, one, other = max(similarities, key=lambda each: each[0])  # the first of several
        similarities = [each for each in similarities if not {one, other} & set(each[1:])]
        alive -= {one, other}
        group = len(regions)
        regions[group] = Region(regions[one].mask | regions[other].mask, planes, codes)
        lists[group] = []
        merges.append([one, other])
        for near in dict.fromkeys(lists[one] + lists[other]):
            if near in alive:
                add(near, group)
        alive.add(group)
    return merges, [region.box for region in regions.values()]


def tree_of(picture, colours, k, by):
    """The labels, colour planes, codes and the hierarchy of one strategy."""
    planes = to_colours(picture, colours)
    space = search.Space(planes, search._edges(planes), search._codes(planes))
    tree = search._grouped(search._first_regions(space, k), planes.shape, by)
    return segments(picture, k=k, colours=colours), planes, space.codes, tree


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 23)])
@pytest.mark.parametrize(("k", "sigma", "least"), [(100, 0.8, 4), (20, 0.8, 1), (20, 0.0, 20), (2000, 0.5, 50)])
def test_segments_agree_with_sets_of_pixels(size, k, sigma, least):
    picture = noise(*size)
    expected = naive_segments(picture.transpose(2, 0, 1), k, sigma, least)
    found = segments(picture, k=k, sigma=sigma, least=least)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("colours", ["hsv", "hue", "intensity"])
@pytest.mark.parametrize(
    "by", [EVERYTHING, (False, True, True, True), (False, False, False, True), (True, *[False] * 3)]
)
def test_grouping_agrees_with_the_list_of_all_similarities(colours, by):
    labels, planes, codes, tree = tree_of(noise(24, 31), colours, 12, by)
    assert labels.max() > 12
    merges, boxes = naive_grouping(labels, planes, codes, by)
    assert tree.merges.tolist() == merges
    assert tree.boxes.tolist() == boxes


def test_a_region_with_hundreds_of_neighbours():
    """A background with many islands: its lists outgrow what was set aside."""
    picture = np.zeros((60, 60, 3), np.uint8)
    random = np.random.default_rng(1)
    picture[1::3, 1::3] = random.integers(60, 256, (20, 20, 3))
    planes = to_colours(picture, "rgb")
    space = search.Space(planes, _segmentation.edges_of(planes.astype(np.float32)), search._codes(planes))
    labels = _segmentation.segmented(*space.edges, (60, 60), 1, 1)[0].reshape(60, 60)
    assert labels.max() == 400
    tree = search._grouped(search._first_regions(space, 1), planes.shape, EVERYTHING)
    assert tree.merges.tolist() == naive_grouping(labels, planes, space.codes, EVERYTHING)[0]


def test_a_wide_gaussian_is_several_narrow_ones():
    dot = np.zeros((1, 31, 31), np.uint8)
    dot[0, 15, 15] = 255
    smooth = _segmentation.smoothed(dot, 2.0)[0]
    y, x = np.mgrid[-15:16, -15:16]
    assert np.abs(smooth - 255 / (8 * np.pi) * np.exp(-(x**2 + y**2) / 8)).max() < 0.05


def test_textures_are_gaussian_derivatives_in_eight_directions():
    picture = noise(20, 30)
    plane = np.ascontiguousarray(picture[..., 0])
    codes = search._codes(plane[None]).reshape(20, 30, 5)
    places = np.arange(-4, 5)
    bell = np.exp(-(places**2) / 2) / np.exp(-(places**2) / 2).sum()
    for angle in range(8):
        # the derivative of a Gaussian along the direction, as one 9x9 filter
        direction = np.cos(np.pi / 4 * angle), np.sin(np.pi / 4 * angle)
        kernel = bell[:, None] * bell * (direction[0] * places[None, :] + direction[1] * places[:, None])
        padded = np.pad(plane.astype(float), 4, mode="edge")
        response = [[(padded[y : y + 9, x : x + 9] * kernel).sum() for x in range(30)] for y in range(20)]
        exact = np.clip(np.array(response) * 10 / 102, 0, 9)
        signed = codes[..., 1 + angle % 4].astype(int) - 9
        found = (signed if angle < 4 else -signed).clip(0)
        assert np.abs(found - np.floor(exact))[np.abs(exact - exact.round()) > 1e-3].max() == 0
    assert np.array_equal(codes[..., 0], plane.astype(int) * 25 // 256)


def test_the_steepest_step_fills_the_last_bin_and_no_more():
    plane = np.zeros((9, 12), np.uint8)
    plane[:, 6:] = 255
    codes = search._codes(plane[None]).reshape(9, 12, 5)
    assert codes[4, 5].tolist() == [0, 18, 15, 9, 3]
    assert codes[4, 0].tolist() == [0, 9, 9, 9, 9]


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        ("rgb", [[255, 0, 0], [0, 255, 0], [100, 100, 100], [0, 0, 0], [60, 120, 240]]),
        ("hsv", [[0, 255, 255], [60, 255, 255], [0, 0, 100], [0, 0, 0], [110, 191, 240]]),
        ("hue", [[0], [60], [0], [0], [110]]),
        ("rgi", [[255, 0, 85], [0, 255, 85], [85, 85, 100], [0, 0, 0], [36, 72, 140]]),
        ("intensity", [[85], [85], [100], [0], [140]]),
    ],
)
def test_colour_spaces(colours, expected):
    picture = np.array([[[255, 0, 0], [0, 255, 0], [100, 100, 100], [0, 0, 0], [60, 120, 240]]], np.uint8)
    assert to_colours(picture, colours)[:, 0].T.tolist() == expected


def test_lab_has_lightness_and_opponents():
    picture = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    light, red_green, yellow_blue = to_colours(picture, "lab")[:, 0].astype(int)
    assert light[0] == 0 and light[1] == 255
    assert red_green[2] > 128 > red_green[3]
    assert yellow_blue[3] > 128 > yellow_blue[4]


def two_objects():
    """A red and a blue rectangle on a green ground, and their boxes."""
    picture = np.full((80, 120, 3), (40, 160, 60), np.uint8)
    picture[10:40, 15:55] = (220, 30, 30)
    picture[30:70, 70:110] = (30, 40, 230)
    return picture, [[15, 10, 55, 40], [70, 30, 110, 70]]


@pytest.mark.parametrize("mode", ["single", "fast", "quality"])
def test_objects_and_the_whole_picture_are_proposed(mode):
    picture, objects = two_objects()
    boxes = propose(picture, mode=mode)
    assert boxes.dtype == torch.float32
    for box in [*objects, [0, 0, 120, 80]]:
        assert box in boxes.tolist()


def test_boxes_lie_inside_and_none_comes_twice():
    boxes = propose(noise(50, 70), mode="fast")
    assert len(boxes) > 30
    assert len(boxes.unique(dim=0)) == len(boxes)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes[:, 2] <= 70).all() and (boxes[:, 3] <= 50).all()


def test_the_seed_orders_the_same_boxes():
    picture = noise(50, 70)
    boxes = propose(picture)
    assert torch.equal(propose(picture, seed=0), boxes)
    others = propose(picture, seed=1)
    assert not torch.equal(others, boxes)
    assert torch.equal(others.unique(dim=0), boxes.unique(dim=0))


def test_a_limit_cuts_the_order():
    picture = noise(50, 70)
    boxes = propose(picture)
    assert torch.equal(propose(picture, limit=7), boxes[:7])
    assert propose(picture, limit=0).shape == (0, 4)
    assert torch.equal(propose(picture, limit=10**6), boxes)


def test_threads_do_not_change_the_result():
    picture = noise(50, 70)
    boxes = propose(picture)
    torch.set_num_threads(3)
    try:
        assert torch.equal(propose(picture), boxes)
    finally:
        torch.set_num_threads(1)


def test_modes_are_those_of_the_paper():
    counts = {
        name: len(each.colours) * len(each.scales) * len(each.similarities) for name, each in search.MODES.items()
    }
    assert counts == {"single": 1, "fast": 8, "quality": 80}


def test_the_order_is_the_root_of_a_place_in_the_hierarchy_times_a_random_number():
    hierarchies = [np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 0, 4, 2]]), np.array([[0, 0, 4, 2]])]
    random = np.random.default_rng(5).random(4)
    ranks = np.array([3, 2, 1, 1]) ** 0.5 * random
    expected = []
    for index in sorted(range(4), key=lambda each: ranks[each]):
        box = np.concatenate(hierarchies)[index].tolist()
        expected += [] if box in expected else [box]
    assert search._ranked(hierarchies, np.random.default_rng(5)).tolist() == expected


def test_boxes_that_are_nearly_a_better_one_come_last():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 10, 7], [20, 1, 30, 10], [0, 0, 5, 10]])
    assert search._near_ones_last(boxes).tolist() == boxes[[0, 2, 3, 5, 1, 4]].tolist()
    assert search._near_ones_last(boxes[:0]).shape == (0, 4)


def test_no_box_is_lost_by_the_order():
    picture = noise(50, 70)
    ranked = search._ranked(search._hierarchies(picture, search.MODES["fast"]), np.random.default_rng(0))
    assert sorted(ranked.tolist()) == sorted(propose(picture).int().tolist())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (30, 40)])
def test_one_colour_is_one_box(size):
    picture = np.full((*size, 3), 77, np.uint8)
    assert propose(picture, mode="quality").tolist() == [[0, 0, size[1], size[0]]]
    assert segments(picture).max() == 0


def test_a_grey_picture_and_a_line_of_pixels():
    grey = noise(40, 50)[..., :1].repeat(3, axis=2)
    assert len(propose(grey)) > 5
    line = noise(1, 400, blocks=60)
    boxes = propose(line)
    assert len(boxes) > 2
    assert (boxes[:, 1] == 0).all() and (boxes[:, 3] == 1).all()


def test_a_large_picture_is_scaled_and_its_boxes_back():
    picture = two_objects()[0].repeat(20, axis=0).repeat(20, axis=1)
    boxes = propose(picture, mode="single")
    assert (boxes.amax(dim=0) == torch.tensor([boxes[:, 0].max(), boxes[:, 1].max(), 2400, 1600])).all()
    for box in ([300, 200, 1100, 800], [1400, 600, 2200, 1400]):
        assert (boxes - torch.tensor(box)).abs().amax(dim=1).min() <= 4.8  # two pixels of the small one
    assert propose(picture[:1], mode="single").shape[1] == 4


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=["grey", "float", "transparent", "empty"],
)
def test_what_is_no_picture_is_refused(array):
    for ask in (propose, segments):
        with pytest.raises(PictureError, match="Give RGB uint8"):
            ask(array)


def test_the_picture_is_left_alone_and_may_be_a_view():
    picture, _ = two_objects()
    mirrored = picture[:, ::-1]
    before = mirrored.copy()
    boxes = propose(mirrored)
    assert np.array_equal(mirrored, before)
    assert torch.equal(boxes, propose(before))


def test_numba_is_imported_on_first_use_only(fresh_python):
    code = "import sys, siseon.models.detection.selective_search; print('numba' in sys.modules)"
    assert fresh_python(code).stdout.strip() == "False"

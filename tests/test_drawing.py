import unicodedata
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from siseon import drawing
from siseon.interface import Detections

GREY = 120


def plain(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def detections(boxes=(), labels=(), scores=None, classes=("고양이", "dog", "crème"), masks=None):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores or [0.9] * len(labels)),
        classes,
        masks,
    )


class TestDraw:
    @pytest.mark.parametrize(
        "size, drawn",
        [
            ((480, 640), (480, 640)),
            ((400, 10), (400, 10)),
            ((399, 300), (798, 600)),
            ((160, 160), (480, 480)),
            ((100, 90), (400, 360)),
            ((32, 32), (128, 128)),
            ((1, 1), (4, 4)),
        ],
    )
    def test_small_pictures_are_enlarged(self, size, drawn):
        found = detections([(0, 0, size[1], size[0])], [0])
        assert drawing.draw(plain(*size), found).shape == (*drawn, 3)
        assert drawing.draw_truth(plain(*size), found).shape == (*drawn, 3)

    def test_nothing_found_changes_nothing(self):
        np.testing.assert_array_equal(drawing.draw(plain(400, 500), detections()), plain(400, 500))

    def test_what_is_given_stays_as_it_is(self):
        picture = plain(420, 420)
        drawing.draw(picture, detections([(50, 50, 200, 200)], [0]))
        np.testing.assert_array_equal(picture, plain(420, 420))

    def test_lines_lie_on_the_edges_in_the_colour_of_the_class(self):
        drawn = drawing.draw(plain(480, 640), detections([(100, 200, 301, 400)], [1]))
        for row, column in [(300, 100), (300, 300), (399, 200), (200, 280)]:
            assert tuple(drawn[row, column]) == drawing.colour(1)
        assert (drawn[300, 200] == GREY).all()
        assert (drawn[300, 400] == GREY).all()

    def test_lines_grow_with_the_picture(self):
        box = (0.1, 0.2, 0.9, 0.9)
        shares = []
        for size in (500, 1000, 2000):
            drawn = drawing.draw_truth(
                plain(size, size), detections([[edge * size for edge in box]], [0], classes=("",))
            )
            shares.append((drawn[size // 2] == drawing.colour(0)).all(axis=-1).mean())
        assert max(shares) / min(shares) < 1.2

    def test_the_best_lies_on_top(self):
        drawn = drawing.draw(plain(400, 400), detections([(50, 50, 300, 300)] * 2, [1, 0]))
        assert tuple(drawn[200, 50]) == drawing.colour(1)

    def test_truth_has_no_scores(self):
        objects = detections([(100, 100, 300, 300)], [0])
        without = drawing.draw_truth(plain(400, 400), objects)
        assert (without != drawing.draw(plain(400, 400), objects)).any()

    @pytest.mark.parametrize(
        "box",
        [
            (-50, -50, 1000, 1000),
            (10, 10, 10, 10),
            (399, 399, 400, 400),
            (-9, -9, -5, -5),
            (500, 500, 600, 600),
            (30, 5, 8, 2),
        ],
    )
    def test_odd_boxes_do_no_harm(self, box):
        drawing.draw(plain(400, 400), detections([box], [2]))

    @pytest.mark.parametrize("name", ["", "두\n줄", "긴 " * 200, "🐈", "日本語", "\t"])
    def test_odd_names_do_no_harm(self, name):
        drawing.draw(plain(40, 30), detections([(0, 0, 10, 10)], [0], classes=(name,)))

    def test_masks_are_blended(self):
        mask = torch.zeros(1, 400, 400, dtype=torch.bool)
        mask[:, 100:300, 100:300] = True
        drawn = drawing.draw(plain(400, 400), detections([(100, 100, 300, 300)], [1], masks=mask))
        blended = [GREY // 2 + part // 2 for part in drawing.colour(1)]
        assert drawn[200, 200].tolist() == blended
        assert (drawn[350, 350] == GREY).all()

    def test_masks_of_enlarged_pictures_fit(self):
        mask = torch.zeros(1, 100, 100, dtype=torch.bool)
        mask[:, 50:, 50:] = True
        drawn = drawing.draw(plain(100, 100), detections([(50, 50, 100, 100)], [1], masks=mask))
        assert (drawn[300, 190] == GREY).all()
        assert (drawn[300, 300] != GREY).any()


class TestLabels:
    @pytest.mark.parametrize("width", [20, 60, 200])
    def test_long_names_are_cut_to_fit(self, width):
        text = drawing._shortened("아주 긴 이름의 고양이", 16, width)
        assert drawing._length(text, 16) <= width
        assert text.endswith("…") or width == 200


def rows_below(picture, drawn):
    """The height of what stands below the picture."""
    return drawn.shape[0] - picture.shape[0]


class TestCrowds:
    BOXES = tuple(
        (20 + 40 * column, 60 + 40 * row, 40 + 40 * column, 80 + 40 * row) for row in range(6) for column in range(9)
    )

    def test_one_class_again_and_again_is_named_once(self):
        picture = plain(400, 400)
        few, many = (detections([(90 * i, 50, 90 * i + 60, 300) for i in range(n)], [0] * n) for n in (2, 4))
        assert rows_below(picture, drawing.draw(picture, few)) == 0
        assert rows_below(picture, drawing.draw(picture, many)) == 0
        five = detections([(70 * i, 50, 70 * i + 60, 300) for i in range(5)], [0] * 5)
        assert 15 < rows_below(picture, drawing.draw(picture, five)) < 40

    def test_of_true_objects_in_a_crowd_nothing_but_the_boxes_is_drawn(self):
        picture = plain(400, 400)
        drawn = drawing.draw_truth(picture, detections(self.BOXES, [1, 2] * 27))
        kinds = {tuple(colour) for colour in np.unique(drawn[:400].reshape(-1, 3), axis=0).tolist()}
        assert {drawing.colour(1), drawing.colour(2)} <= kinds and (0, 0, 0) not in kinds
        for left, top, right, bottom in self.BOXES:
            assert (drawn[top + 4 : bottom - 4, left + 4 : right - 4] == GREY).all()
        assert (drawn[400:] == drawing.colour(1)).all(axis=-1).sum() > 50

    def test_scores_do_not_hide_the_objects(self):
        drawn = drawing.draw(plain(400, 400), detections(self.BOXES, [1, 2] * 27))
        covered = [
            (drawn[top + 4 : bottom - 4, left + 4 : right - 4] != GREY).any(axis=-1).mean()
            for left, top, right, bottom in self.BOXES
        ]
        assert max(covered) <= 0.5 and np.mean(covered) < 0.1

    def test_labels_that_hide_small_objects_give_way(self):
        picture = plain(400, 400)
        boxes = [(100 + 12 * i, 100, 110 + 12 * i, 110) for i in range(4)]
        assert rows_below(picture, drawing.draw(picture, detections(boxes, [0, 0, 1, 1]))) > 15

    def test_different_things_are_all_named(self):
        picture = plain(400, 400)
        boxes = [(100 + 12 * i, 100, 110 + 12 * i, 110) for i in range(3)]
        assert rows_below(picture, drawing.draw(picture, detections(boxes, [0, 1, 2]))) == 0


class TestColours:
    def test_neighbours_differ(self):
        colours = [np.array(drawing.colour(label)) for label in range(24)]
        distances = [np.abs(one - other).sum() for i, one in enumerate(colours) for other in colours[:i]]
        assert min(distances) > 25
        assert min(np.abs(one - other).sum() for one, other in pairwise(colours)) > 150

    def test_stay_as_they_are(self):
        assert [drawing.colour(label) for label in (0, 1, 80)] == [(242, 53, 53), (53, 108, 242), (18, 184, 127)]

    @pytest.mark.parametrize(
        "paper, expected",
        [
            ((255, 255, 255), (0, 0, 0)),
            ((0, 0, 0), (255, 255, 255)),
            ((255, 255, 0), (0, 0, 0)),
            ((0, 0, 255), (255, 255, 255)),
            ((117, 117, 117), (255, 255, 255)),
            ((120, 120, 120), (0, 0, 0)),
        ],
    )
    def test_ink_has_the_better_contrast(self, paper, expected):
        assert drawing.ink(paper) == expected


class TestFont:
    def test_has_all_of_modern_hangul(self):
        assert {chr(code) for code in range(ord("가"), ord("힣") + 1)} <= {chr(code) for code in drawing._drawable()}

    @pytest.mark.parametrize(
        "text, families",
        [
            ("고양이 99%", ["NanumSquare"]),
            ("crème", ["DejaVu Sans"]),
            ("crème 고양이", ["DejaVu Sans", "NanumSquare"]),
            ("고양이é", ["NanumSquare", "DejaVu Sans"]),
            ("-1 → −1", ["NanumSquare", "DejaVu Sans"]),
            ("하늘 12.3%", ["NanumSquare", "DejaVu Sans"]),
            ("tabby. 1,000", ["NanumSquare"]),
            ("", []),
        ],
    )
    def test_what_it_lacks_comes_from_dejavu(self, text, families):
        parts = drawing._parts(text, 16)
        assert [face.getname()[0] for face, _ in parts] == families
        assert "".join(part for _, part in parts) == text

    def test_hangul_in_parts_is_composed(self):
        assert drawing._clean(unicodedata.normalize("NFD", "고양이")) == "고양이"


class TestContactSheet:
    def test_one_picture_keeps_its_size(self):
        sheet = drawing.contact_sheet([plain(300, 500)], ["tabby 0.91, 고양이 0.03"], columns=1)
        assert 500 < sheet.shape[1] < 560
        assert 300 < sheet.shape[0] < 400
        assert (sheet[100, 250] == GREY).all()

    def test_rows_and_columns(self):
        sheet = drawing.contact_sheet([plain(100, 200), plain(300, 100), plain(50, 50)], ["하나"], columns=2)
        assert sheet.shape[1] == 2 * 240 + 3 * 8
        assert sheet.dtype == np.uint8

    def test_is_never_wider_than_a_screen_allows(self):
        assert drawing.contact_sheet([plain(500, 3000)] * 4, columns=4).shape[1] < 1.1 * drawing.SHEET

    def test_captions_are_broken_between_words(self):
        lines = drawing._lines("하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열 열하나 열둘 열셋 열넷", 16, 100)
        assert len(lines) == 3
        assert all(drawing._length(line, 16) <= 100 for line in lines)
        assert lines[0].startswith("하나 둘") and lines[-1].endswith("…")

    def test_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="needs a picture"):
            drawing.contact_sheet([])


def test_plots_write_hangul_without_a_warning(tmp_path):
    with matplotlib.rc_context():
        drawing.use_hangul_in_plots()
        drawing.use_hangul_in_plots()
        figure = Figure((2, 2))
        axes = figure.add_subplot()
        axes.plot([-1, 1], [-1e-3, 1])
        axes.set_title("정밀도 café −1")
        for suffix in ("png", "svg"):
            figure.savefig(tmp_path / f"plot.{suffix}")
        entries = [entry for entry in matplotlib.font_manager.fontManager.ttflist if entry.name == "NanumSquare"]
        assert sum(entry.fname == str(drawing.FONT) for entry in entries) == 1

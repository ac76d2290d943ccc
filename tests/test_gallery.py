import numpy as np
import pytest
import torch
from PIL import Image

from siseon import gallery, pictures


def test_each_picture_has_its_place_in_the_grid():
    made = torch.arange(5).view(5, 1, 1, 1).expand(5, 3, 30, 40) * 0.2
    sheet = gallery.grid(made, columns=3)
    times = 4  # 480 / 128, rounded
    assert sheet.shape == ((2 * 32 + 2) * times, (3 * 42 + 2) * times, 3)
    for number in range(5):
        row, column = divmod(number, 3)
        down, right = 2 + row * 32, 2 + column * 42
        inside = sheet[down * times : (down + 30) * times, right * times : (right + 40) * times]
        assert (inside == round(number * 0.2 * 255)).all()
    assert (sheet[34 * times :, 86 * times :] == 255).all()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (64, 8), (65, 9)])
def test_a_grid_is_square_where_nothing_is_said(count, columns):
    sheet = gallery.grid(torch.zeros(count, 3, 100, 100))
    assert sheet.shape[1] % (columns * 102 + 2) == 0


def test_values_beyond_0_1_are_cut():
    sheet = gallery.grid(torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 500, 500))
    assert sheet[100, 100].tolist() == [0, 0, 0] and sheet[100, 700].tolist() == [255, 255, 255]


@pytest.mark.parametrize("count", [1, 3, 200])
def test_a_film_begins_with_the_first_and_ends_with_the_last(count, tmp_path):
    files = []
    for number in range(count):
        files.append(tmp_path / f"{number:03}.png")
        pictures.write(np.full((8, 9, 3), number, np.uint8), files[-1])
    gallery.animate(files, tmp_path / "영화.gif")
    with Image.open(tmp_path / "영화.gif") as film:
        assert film.n_frames == min(count, gallery.FRAMES)
        shown = []
        for frame in range(film.n_frames):
            film.seek(frame)
            shown.append(film.convert("RGB").getpixel((4, 4))[0])
    assert shown[0] == 0 and shown[-1] == count - 1 and shown == sorted(set(shown))

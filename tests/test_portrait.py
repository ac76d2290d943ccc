import numpy as np
import pytest
import torch
from PIL import Image

from siseon import pictures
from siseon.interface import Classification, Detections, RecipeError, Segmentation, SiseonError
from siseon.portrait import background, blurred_behind, portraits, shape_of, soft_edge, write_like

CLASSES = ("background", "person", "개")


class Circle:
    """Finds a person in the bright circle of a picture, and a dog where there is none."""

    task = "segmentation"
    classes = CLASSES

    def predict(self, picture):
        bright = torch.from_numpy((picture.mean(2) > 150).astype(np.int64))
        return [Segmentation(bright, torch.ones(bright.shape), CLASSES)]


def photo(height=120, width=160):
    """A bright disc on dark noise."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2
    noise = np.random.default_rng(0).integers(0, 90, (height, width, 3)).astype(np.uint8)
    pixels = np.where(disc[..., None], np.uint8([230, 200, 180]), noise)
    return pixels, disc


def test_the_shape_stays_and_what_is_behind_it_is_blurred():
    pixels, disc = photo()
    result = blurred_behind(pixels, disc, blur=5)
    assert result.shape == pixels.shape and result.dtype == np.uint8
    assert np.abs(result[55:65, 75:85].astype(int) - pixels[55:65, 75:85]).max() <= 2
    corner = np.s_[:20, :20]
    assert result[corner].std() < pixels[corner].std() / 4


def test_the_edge_is_soft_and_follows_the_photo():
    pixels, disc = photo(240, 320)
    blocks = disc[::8, ::8].repeat(8, 0).repeat(8, 1)  # as coarse as a network's map
    matte = soft_edge(pixels, blocks)
    assert matte.dtype == np.float32 and matte.min() >= 0 and matte.max() <= 1
    assert ((matte > 0.05) & (matte < 0.95)).any()
    wrong = (blocks != disc).mean()
    assert ((matte > 0.5) != disc).mean() < 0.7 * wrong


def test_the_people_do_not_shine_into_the_background():
    pixels, disc = photo()
    behind = background(pixels, soft_edge(pixels, disc), 8.0)
    ring = np.zeros_like(disc)
    ring[60, 10:28] = True  # left of the disc, which begins at 40
    assert behind[ring].mean() < 80
    assert pixels[disc].mean() > 190


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_exif_and_turn_are_kept(tmp_path, orientation):
    pixels, _ = photo()
    exif = Image.Exif()
    exif[pictures.ORIENTATION], exif[0x010F] = orientation, "카메라"
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert portraits(Circle(), [tmp_path / "a.jpg"], tmp_path / "out", say=lambda line: None) == []
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "out" / "a.jpg") as after:
        assert before.size == after.size == (160, 120)
        assert before.info["exif"] == after.info["exif"]
    upright, blurred = pictures.read(tmp_path / "a.jpg"), pictures.read(tmp_path / "out" / "a.jpg")
    middle = np.s_[upright.shape[0] // 2 - 5 : upright.shape[0] // 2 + 5, upright.shape[1] // 2 - 5 :][:2]
    assert upright.shape == blurred.shape
    assert np.abs(upright[middle].astype(int) - blurred[middle]).mean() < 12


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "RGB"])
def test_grey_stays_grey_and_transparency_stays(tmp_path, mode):
    pixels, _ = photo()
    image = Image.fromarray(pixels)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        alpha = Image.new("L", image.size, 255)
        alpha.paste(0, (0, 0, 20, 20))
        image.putalpha(alpha)
    image = image.convert(mode)
    image.save(tmp_path / "a.png")
    assert portraits(Circle(), [tmp_path / "a.png"], tmp_path / "out", say=lambda line: None) == []
    with Image.open(tmp_path / "out" / "a.png") as after:
        assert after.size == (160, 120)
        assert after.mode == {"P": "RGB"}.get(mode, mode)
        if "A" in mode:
            assert after.getchannel("A").getextrema() == (0, 255)


def test_a_photo_without_the_class_is_passed_over_with_what_was_found(tmp_path):
    pixels, _ = photo()
    Image.fromarray(pixels // 4).save(tmp_path / "어두운.png")
    Image.fromarray(pixels).save(tmp_path / "b.png")
    said = []
    faults = portraits(
        Circle(),
        [tmp_path / "어두운.png", tmp_path / "none.png", tmp_path / "b.png"],
        tmp_path / "out",
        say=said.append,
    )
    assert type(faults[0]) is SiseonError
    assert "어두운.png: no person was found, but background 100.0%" in str(faults[0])
    assert "no such file" in str(faults[1])
    assert len(said) == 1 and "b.png: person on" in said[0]


@pytest.mark.parametrize(
    ("label", "blur", "message"),
    [
        ("persn", None, 'Did you mean "person"'),
        ("car", None, "It knows background, person"),
        ("개", -1, "makes no sense"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path, label, blur, message):
    with pytest.raises(RecipeError, match=message):
        portraits(Circle(), [], tmp_path, label=label, blur=blur)


def test_the_masks_of_all_objects_of_the_class_are_one_shape():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, 0], masks[1, 1], masks[2, 2] = True, True, True
    found = Detections(torch.zeros(3, 4), torch.tensor([1, 2, 1]), torch.ones(3), CLASSES, masks)
    assert shape_of(found, "person").sum(1).tolist() == [4, 0, 4, 0]
    with pytest.raises(RecipeError, match="no shapes"):
        shape_of(Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), CLASSES), "person")
    with pytest.raises(RecipeError, match="no shapes"):
        shape_of(Classification(torch.tensor([0.5, 0.5, 0]), CLASSES), "person")


def test_a_large_photo_keeps_its_size(tmp_path):
    pixels, disc = photo(1500, 2200)
    Image.fromarray(pixels).save(tmp_path / "large.jpg")
    result = blurred_behind(pixels, disc)
    write_like(tmp_path / "large.jpg", result, tmp_path / "out.jpg")
    assert pictures.read(tmp_path / "out.jpg").shape == (1500, 2200, 3)

"""Photos, animations, folders and videos with their faces hidden, by a finder that is told where they are."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from siseon import cleaning, pictures
from siseon.blurring import Finder, blur_files, blur_photo, blur_video
from siseon.interface import Detections, PictureError, RecipeError

BOX = np.array([[16.0, 8, 40, 32]])
INSIDE = np.s_[8:32, 16:40]


def at(box):
    return lambda images: [np.asarray(box, float).reshape(-1, 4) for _ in images]


def nothing(images):
    return [np.zeros((0, 4)) for _ in images]


def photo(height=48, width=64, channels=3):
    """Smooth, so that JPEG has little to lose, with something to see in it."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = [127 + 60 * np.sin(x / 9 + k) + 50 * np.cos(y / 7 - k) for k in range(channels)]
    return np.stack(waves, 2).clip(0, 255).astype(np.uint8)


def outside(array):
    kept = np.ones(array.shape[:2], bool)
    kept[INSIDE] = False
    return array[kept]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_everything_else_stays_to_the_pixel(tmp_path, suffix):
    source, out = tmp_path / f"사진{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(photo()).save(source, **({"lossless": True} if suffix == ".webp" else {}))
    assert blur_photo(at(BOX), source, out, margin=0) == "1 hidden"
    after = pictures.read(out)
    assert np.array_equal(outside(after), outside(photo()))
    assert (after[INSIDE] == 0).all()


MODES = {
    "L": photo()[..., 0],
    "LA": photo(channels=2),
    "RGBA": photo(channels=4),
    "I;16": photo()[..., 0].astype(np.uint16) * 257,
}


@pytest.mark.parametrize("mode", MODES)
def test_grey_alpha_and_depth_are_kept(tmp_path, mode):
    Image.fromarray(MODES[mode]).save(tmp_path / "a.png")
    blur_photo(at(BOX), tmp_path / "a.png", tmp_path / "b.png", margin=0)
    with Image.open(tmp_path / "b.png") as image:
        after = np.asarray(image)
        assert image.mode == mode
    assert np.array_equal(outside(after), outside(MODES[mode]))
    colours = after[INSIDE][..., :-1] if mode.endswith("A") else after[INSIDE]
    assert (colours == 0).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_of_colour_are_kept_with_the_profile(tmp_path, suffix):
    deep = photo().astype(np.uint16) * 257 + 3
    encoded = bytes(cv2.imencode(suffix, deep)[1])
    if suffix == ".png":
        content = b"x\0\0" + zlib.compress(b"a colour profile")
        checked = struct.pack(">I", zlib.crc32(b"iCCP" + content))
        encoded = encoded[:33] + struct.pack(">I", len(content)) + b"iCCP" + content + checked + encoded[33:]
    (tmp_path / f"a{suffix}").write_bytes(encoded)
    blur_photo(at(BOX), tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", margin=0)
    after = cv2.imdecode(np.frombuffer((tmp_path / f"b{suffix}").read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert after.dtype == np.uint16 and np.array_equal(outside(after), outside(deep)) and (after[INSIDE] == 0).all()
    if suffix == ".png":
        with Image.open(tmp_path / "b.png") as image:
            assert image.info["icc_profile"] == b"a colour profile"


def test_a_palette_with_transparency_keeps_its_colours(tmp_path):
    image = Image.fromarray(photo()).quantize(16)
    image.save(tmp_path / "a.png", transparency=3)
    before = np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))
    blur_photo(at(BOX), tmp_path / "a.png", tmp_path / "b.png", margin=0)
    assert np.array_equal(outside(np.asarray(Image.open(tmp_path / "b.png").convert("RGBA"))), outside(before))


# --- JPEG and metadata -----


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "Geheime Kamera"
    data.get_ifd(0x8825)[2] = (37.0, 33.0, 0.0)  # GPS latitude
    return data


def save_jpeg(path, orientation=1, **options):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = {"quality": 90, "subsampling": 0, "exif": exif(orientation), "icc_profile": profile, **options}
    Image.fromarray(photo()).save(path, comment=b"Geheimnis", **given)
    return profile


@pytest.mark.parametrize(("subsampling", "progressive"), [(0, False), (2, False), (2, True)])
def test_a_jpeg_keeps_its_tables_and_nearly_all_pixels(tmp_path, subsampling, progressive):
    save_jpeg(tmp_path / "a.jpg", subsampling=subsampling, progressive=progressive)
    before = pictures.read(tmp_path / "a.jpg").astype(int)
    blur_photo(at(BOX), tmp_path / "a.jpg", tmp_path / "b.jpg", margin=0)
    after = pictures.read(tmp_path / "b.jpg").astype(int)
    far = np.ones(after.shape[:2], bool)
    far[:48, :56] = False  # blocks of 16 pixels that the region touches, and a block beside
    difference = np.abs(after - before)
    assert difference[far].max() <= 3 and (difference[far] == 0).mean() > 0.75
    assert after[12:28, 20:36].max() < 12
    with Image.open(tmp_path / "a.jpg") as one, Image.open(tmp_path / "b.jpg") as other:
        assert one.quantization == other.quantization
        assert ("progressive" in other.info) == progressive


@pytest.mark.parametrize("find", [at(BOX), nothing])
@pytest.mark.parametrize("orientation", [1, 6])
def test_metadata_goes_the_turn_is_made_and_the_profile_stays(tmp_path, find, orientation):
    profile = save_jpeg(tmp_path / "a.jpg", orientation)
    upright = pictures.read(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"ftypmp42 a film behind the photo, Geheimfilm")
    blur_photo(find, tmp_path / "a.jpg", tmp_path / "b.jpg")
    content = (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "b.jpg") as image:
        assert not image.getexif() and "comment" not in image.info
        assert image.info["icc_profile"] == profile
        assert image.size == upright.shape[1::-1]
    assert b"Geheim" not in content and b"Exif" not in content and content.endswith(b"\xff\xd9")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_a_face_keeps_every_pixel(tmp_path, progressive):
    save_jpeg(tmp_path / "a.jpg", progressive=progressive, subsampling=2)
    said = blur_photo(nothing, tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert said == "nothing found; copied without metadata"
    assert np.array_equal(pictures.read(tmp_path / "a.jpg"), pictures.read(tmp_path / "b.jpg"))


def test_the_thumbnail_of_jfif_goes():
    whole = (
        b"\xff\xd8\xff\xe0" + struct.pack(">H", 16 + 12) + b"JFIF\0\1\1\0\0\1\0\1\2\2" + bytes(range(12)) + b"\xff\xd9"
    )
    assert cleaning.stripped(whole) == b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9"
    for broken in (whole[:10], b"\xff\xd8abc", b"\xff\xd8\xff\xda\0\2abc"):
        with pytest.raises((ValueError, IndexError)):
            cleaning.stripped(broken)


def test_cmyk_is_filled_with_black(tmp_path):
    Image.fromarray(photo()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    blur_photo(at(BOX), tmp_path / "a.jpg", tmp_path / "b.jpg", margin=0)
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "CMYK"
    assert pictures.read(tmp_path / "b.jpg")[12:28, 20:36].max() < 20


# --- animations and videos -----


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_stays_one_and_never_opens(tmp_path, suffix):
    frames = [Image.fromarray(np.full((48, 64, 3), 60 * number + 20, np.uint8)) for number in range(4)]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=70, loop=0, **lossless)
    found = iter([BOX, BOX[:0], BOX[:0], BOX])
    blur_photo(lambda images: [next(found) for _ in images], tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", margin=0)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.n_frames == 4
        for number in range(4):
            image.seek(number)
            after = np.asarray(image.convert("RGB"))
            assert (after[INSIDE] == 0).all() and (after[40:, 45:] == 60 * number + 20).all()
            assert image.info["duration"] == 70


def test_the_pages_of_a_tiff_are_not_frames_of_a_film(tmp_path):
    pages = [Image.fromarray(np.full((48, 64, 3), 100 + number, np.uint8)) for number in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = iter([BOX, BOX[:0]])
    blur_photo(lambda images: [next(found) for _ in images], tmp_path / "a.tif", tmp_path / "b.tif", margin=0)
    with Image.open(tmp_path / "b.tif") as image:
        first = np.asarray(image.copy())
        image.seek(1)
        assert (first[INSIDE] == 0).all() and (np.asarray(image) == 101).all()


def film(path, count=30):
    """A white square walks over grey; where it is in each frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (96, 64))
    boxes = []
    for number in range(count):
        frame = np.full((64, 96, 3), 90, np.uint8)
        left = 4 + 2 * number
        frame[20:36, left : left + 16] = 255
        boxes.append([left, 20, left + 16, 36])
        writer.write(frame)
    writer.release()
    return boxes


def frames_of(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    capture.release()
    return np.stack(frames)


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_a_video_never_opens_though_detections_are_lost(tmp_path, ending):
    boxes = film(tmp_path / "a.mkv")
    counter = iter(range(100))

    def forgetful(images):
        numbers = [next(counter) for _ in images]
        return [np.array([boxes[n]] if n % 7 in (0, 1) else [], float).reshape(-1, 4) for n in numbers]

    shown = []
    said = blur_video(
        forgetful, tmp_path / "a.mkv", tmp_path / f"b{ending}", margin=0, progress=lambda *each: shown.append(each)
    )
    after = frames_of(tmp_path / f"b{ending}")
    assert len(after) == 30 and after.max() < 130  # nowhere is the white square seen
    assert "10 of 30 frames, 20 more filled" in said and "without sound" in said
    assert shown[-1] == (60, 60)
    if ending == ".mkv":
        assert (after[:, :10] == 90).all()  # without loss


# --- files, folders, faults -----


def test_a_folder_with_a_broken_file(tmp_path):
    source = tmp_path / "원본"
    (source / "여름").mkdir(parents=True)
    Image.fromarray(photo()).save(source / "여름" / "바다.png")
    film(source / "산.mkv", 3)
    (source / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    lines = []
    faults = blur_files(at(BOX), source, tmp_path / "가림", say=lines.append)
    assert [str(source / "broken.jpg") in fault.problem for fault in faults] == [True]
    made = {path.relative_to(tmp_path / "가림").as_posix() for path in (tmp_path / "가림").rglob("*") if path.is_file()}
    assert made == {"여름/바다.png", "산.mkv"} and len(lines) == 2


def test_originals_are_never_written_over(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for source, out in (("a.png", "a.png"), ("a.png", "."), (".", "."), (".", "inside")):
        with pytest.raises(RecipeError, match="never written over"):
            blur_files(at(BOX), tmp_path / source, tmp_path / out)
    assert (tmp_path / "a.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("name", "said"), [("nowhere.jpg", "no such file"), ("leer", "no photo and no video")])
def test_nothing_to_do_is_said(tmp_path, name, said):
    (tmp_path / "leer").mkdir()
    with pytest.raises(PictureError, match=said):
        blur_files(nothing, tmp_path / name, tmp_path / "out")


def test_a_video_that_is_none_is_passed_over(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film")
    (fault,) = blur_files(nothing, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "a.mp4" in fault.problem and not (tmp_path / "b.mp4").exists()
    assert [path.name for path in Path(tmp_path).iterdir()] == ["a.mp4"]


class Known:
    """A detector that finds one object of each class."""

    task = "detection"

    def __init__(self, *classes):
        self.classes = classes

    def predict(self, images, *, score, batch):
        count = len(self.classes)
        boxes = torch.arange(4.0 * count).reshape(count, 4)
        return [Detections(boxes, torch.arange(count), torch.ones(count), self.classes) for _ in images]


@pytest.mark.parametrize(
    ("given", "expected", "rows"),
    [((), ("face", "licence"), 2), (("person",), ("person",), 1), (("licence", "person"), ("licence", "person"), 2)],
)
def test_classes_of_several_detectors(given, expected, rows):
    find = Finder.of([Known("person", "face"), Known("licence")], given)
    assert find.classes == expected
    assert [len(each) for each in find([photo(), photo()])] == [rows, rows]


@pytest.mark.parametrize(("classes", "given", "said"), [(("dog",), (), "neither"), (("dog",), ("cat",), '"cat"')])
def test_classes_that_no_detector_knows(classes, given, said):
    with pytest.raises(RecipeError, match=rf"{said}.*It knows dog"):
        Finder.of([Known(*classes)], given)

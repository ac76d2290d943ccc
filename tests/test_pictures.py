import errno
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from siseon import pictures
from siseon.interface import PictureError, SiseonError


def photo(height=40, width=56):
    """Smooth colours with an edge, so that JPEG keeps them and a turn shows."""
    row, column = np.mgrid[:height, :width]
    pixels = np.stack([row * 255 // height, column * 255 // width, (row + column) % 64 * 2], axis=2)
    pixels[: height // 4, : width // 4] = (250, 10, 10)
    return pixels.astype(np.uint8)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def turned_exif(orientation):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    return exif


def png_chunk(kind, body):
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def png_header(width, height):
    body = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", body) + png_chunk(b"IDAT", zlib.compress(bytes(99)))


class TestRead:
    @pytest.mark.parametrize(
        "file_format, options",
        [
            ("JPEG", {}),
            ("JPEG", {"subsampling": 0, "quality": 98}),
            ("JPEG", {"subsampling": 1}),
            ("JPEG", {"progressive": True}),
            ("JPEG", {"optimize": True}),
            ("JPEG", {"restart_marker_blocks": 2}),
            ("PNG", {}),
            ("WEBP", {}),
            ("BMP", {}),
            ("GIF", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("PPM", {}),
        ],
    )
    def test_gives_the_pixels_that_pillow_gives(self, tmp_path, file_format, options):
        path = tmp_path / "사진.bin"
        path.write_bytes(encoded(Image.fromarray(photo()), file_format, **options))
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(pictures.read(path), expected)

    def test_plain_jpeg_takes_the_fast_path(self):
        file = io.BytesIO(encoded(Image.fromarray(photo()), "JPEG"))
        with Image.open(file) as image:
            expected = np.asarray(image.convert("RGB"))
        with Image.open(file) as image:
            np.testing.assert_array_equal(pictures._plain_jpeg(image, file), expected)

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_other_jpeg_modes_equal_pillow(self, tmp_path, mode):
        path = tmp_path / "photo.jpg"
        path.write_bytes(encoded(Image.fromarray(photo()).convert(mode), "JPEG"))
        with Image.open(path) as image:
            np.testing.assert_array_equal(pictures.read(path), np.asarray(image.convert("RGB")))

    def test_result_is_writeable_and_contiguous(self, tmp_path):
        for name in ("a.jpg", "a.png"):
            pictures.write(photo(), tmp_path / name)
            flags = pictures.read(tmp_path / name).flags
            assert flags.writeable and flags.c_contiguous


class TestModes:
    @pytest.mark.parametrize(
        "mode, stored, expected",
        [
            ("1", 255, (255, 255, 255)),
            ("L", 7, (7, 7, 7)),
            ("LA", (100, 0), (255, 255, 255)),
            ("LA", (100, 255), (100, 100, 100)),
            ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
            ("RGBA", (10, 20, 30, 128), (132, 137, 142)),
            ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
            ("I;16", 65535, (255, 255, 255)),
            ("I;16", 257 * 9, (9, 9, 9)),
            ("I;16", 257 * 9 + 128, (9, 9, 9)),
            ("I;16", 257 * 9 + 129, (10, 10, 10)),
        ],
    )
    def test_png_and_pillow_images(self, tmp_path, mode, stored, expected):
        image = Image.new(mode, (3, 2), stored)
        path = tmp_path / "grey.png"
        image.save(path)
        assert (pictures.read(path) == expected).all()
        assert (pictures.to_array(image) == expected).all()

    @pytest.mark.parametrize(
        "mode, values, expected",
        [
            ("F", [0.0, 0.5, 1.0], [0, 128, 255]),
            ("F", [-3.0, 100.4, 255.0], [0, 100, 255]),
            ("F", [0.0, 257.0, 65535.0], [0, 1, 255]),
            ("F", [0.0, 50000.0, 100000.0], [0, 128, 255]),
            ("F", [float("nan"), float("inf"), 1.0], [0, 0, 255]),
            ("I", [-5, 257, 65535], [0, 1, 255]),
            ("I", [0, 2**30, 2**31 - 1], [0, 128, 255]),
        ],
    )
    def test_deep_grey_is_scaled_not_cut(self, tmp_path, mode, values, expected):
        kind = np.float32 if mode == "F" else np.int32
        image = Image.fromarray(np.array([values], kind))
        assert image.mode == mode
        path = tmp_path / "deep.tif"
        image.save(path)
        assert pictures.read(path)[0, :, 0].tolist() == expected
        assert pictures.to_array(image)[0, :, 2].tolist() == expected

    def test_palette_with_a_transparent_colour_lies_on_white(self, tmp_path):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putpixel((1, 0), 1)
        path = tmp_path / "palette.png"
        image.save(path, transparency=0)
        assert pictures.read(path).tolist() == [[[255, 255, 255], [200, 100, 50]]]

    def test_rgb_png_with_a_transparent_colour_lies_on_white(self, tmp_path):
        path = tmp_path / "key.png"
        Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).save(path, transparency=(1, 2, 3))
        assert pictures.read(path).tolist() == [[[255, 255, 255], [4, 5, 6]]]


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_is_applied_once(self, tmp_path, file_format, orientation):
        path = tmp_path / "turned"
        lossless = {"lossless": True} if file_format == "WEBP" else {}
        Image.fromarray(photo(24, 40)).save(path, file_format, exif=turned_exif(orientation), **lossless)
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(pictures.read(path), expected)
        with Image.open(path) as image:
            np.testing.assert_array_equal(pictures.to_array(image), expected)
        assert pictures.size_and_turn(path) == (expected.shape[:2], orientation != 1)

    @pytest.mark.parametrize("orientation", [0, 9, 77])
    def test_nonsense_is_upright(self, tmp_path, orientation):
        path = tmp_path / "odd.jpg"
        Image.fromarray(photo(8, 16)).save(path, exif=turned_exif(orientation))
        assert pictures.read(path).shape == (8, 16, 3)
        assert pictures.size_and_turn(path) == ((8, 16), False)

    def test_damaged_metadata_does_not_lose_the_picture(self, tmp_path):
        path = tmp_path / "odd.jpg"
        Image.fromarray(photo(8, 16)).save(path, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
        assert pictures.read(path).shape == (8, 16, 3)
        assert pictures.size_and_turn(path) == ((8, 16), False)

    def test_behind_the_pixels_of_a_png_is_seen(self, tmp_path):
        path = tmp_path / "late.png"
        whole = encoded(Image.fromarray(photo(8, 16)), "PNG")
        late = png_chunk(b"eXIf", turned_exif(6).tobytes().removeprefix(b"Exif\x00\x00"))
        path.write_bytes(whole[:-12] + late + whole[-12:])
        assert pictures.read(path).shape == (16, 8, 3)
        assert pictures.size_and_turn(path) == ((16, 8), True)

    def test_size_needs_no_pixels(self, tmp_path):
        path = tmp_path / "half.jpg"
        path.write_bytes(encoded(Image.fromarray(photo()), "JPEG")[:700])
        assert pictures.size_and_turn(path) == ((40, 56), False)


class TestErrors:
    @pytest.mark.parametrize(
        "name, content, problem",
        [
            ("empty.jpg", b"", "the file is empty"),
            ("text.jpg", "고양이 사진이 아닙니다".encode(), "holds text, not a picture"),
            ("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 9, "holds text"),
            ("phone.jpg", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "is HEIC"),
            ("paper.jpg", b"%PDF-1.7\n\x00", "is PDF"),
            ("noise.jpg", bytes(range(64)), "is not a picture of a known format"),
            ("start.jpg", b"\xff\xd8\xff", "damaged or cut off"),
            ("bomb.png", png_header(20000, 20000), "more than 178 megapixels"),
            ("bomb.ppm", b"P6 30000 30000 255\n", "more than 178 megapixels"),
        ],
    )
    def test_one_line_names_the_file_and_a_remedy(self, tmp_path, name, content, problem):
        path = tmp_path / name
        path.write_bytes(content)
        for function in (pictures.read, pictures.size_and_turn):
            with pytest.raises(PictureError) as caught:
                function(path)
            assert str(path) in caught.value.problem
            assert problem in caught.value.problem
            assert caught.value.remedy
            assert "\n" not in str(caught.value)

    def test_missing_file(self, tmp_path):
        with pytest.raises(PictureError, match=r"없다\.jpg: there is no such file"):
            pictures.read(tmp_path / "없다.jpg")

    def test_folder(self, tmp_path):
        with pytest.raises(PictureError, match="is a folder"):
            pictures.read(tmp_path)

    def test_impossible_name(self):
        with pytest.raises(PictureError, match="cannot be opened"):
            pictures.read("a\0b.jpg")

    def test_unreadable_file(self, tmp_path, monkeypatch):
        path = tmp_path / "secret.jpg"
        path.write_bytes(b"x")

        def refuse(*_):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(PictureError, match=r"secret\.jpg: you may not read this file"):
            pictures.read(path)

    @pytest.mark.parametrize(
        "file_format, options",
        [
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("PNG", {}),
            ("WEBP", {}),
            ("GIF", {}),
            ("TIFF", {}),
            ("BMP", {}),
        ],
    )
    def test_a_cut_is_reported_or_loses_nothing(self, tmp_path, file_format, options):
        path = tmp_path / "cut"
        whole = encoded(Image.fromarray(photo(32, 32)), file_format, **options)
        path.write_bytes(whole)
        complete = pictures.read(path)
        for length in {*range(12, len(whole), max(len(whole) // 40, 1)), len(whole) - 1}:
            path.write_bytes(whole[:length])
            try:
                np.testing.assert_array_equal(pictures.read(path), complete)
            except PictureError as error:
                assert "damaged or cut off" in error.problem

    @settings(deadline=None)
    @given(st.data())
    def test_damaged_jpegs_fare_as_with_pillow(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.jpg"
        content = bytearray(encoded(Image.fromarray(photo()), "JPEG"))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(160, len(content) - 3))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            with Image.open(path) as image:
                expected = np.asarray(image.convert("RGB"))
        except Exception:
            with pytest.raises(PictureError):
                pictures.read(path)
        else:
            np.testing.assert_array_equal(pictures.read(path), expected)


class TestToTensor:
    PIXELS = photo(4, 6)

    @pytest.mark.parametrize(
        "picture, expected",
        [
            (PIXELS, PIXELS / 255),
            (PIXELS[::-1, ::-1], PIXELS[::-1, ::-1] / 255),
            (PIXELS[..., 0], PIXELS[..., [0, 0, 0]] / 255),
            (PIXELS[..., :1], PIXELS[..., [0, 0, 0]] / 255),
            (PIXELS.astype(np.uint16) * 257, PIXELS / 255),
            (PIXELS / 255, PIXELS / 255),
            ((PIXELS / 255).astype(np.float16), PIXELS / 255),
            (np.dstack([PIXELS, np.full((4, 6), 255, np.uint8)]), PIXELS / 255),
            (np.dstack([PIXELS, np.zeros((4, 6), np.uint8)]), np.ones((4, 6, 3))),
            (np.dstack([PIXELS / 255, np.full((4, 6), 0.37)]), 1 - 0.37 * (1 - PIXELS / 255)),
            (Image.fromarray(PIXELS), PIXELS / 255),
            (torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS / 255),
            (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, PIXELS / 255),
            ((torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).half(), PIXELS / 255),
            (torch.from_numpy(PIXELS)[..., 0][None], PIXELS[..., [0, 0, 0]] / 255),
        ],
    )
    def test_accepts(self, picture, expected):
        tensor = pictures.to_tensor(picture)
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), expected, atol=5e-4)
        np.testing.assert_array_equal(pictures.to_array(picture), np.round(expected * 255))

    @pytest.mark.parametrize(
        "picture",
        [
            None,
            3,
            [[1, 2], [3, 4]],
            b"bytes",
            np.zeros((3, 4, 6), np.uint8),
            np.zeros((0, 4, 3), np.uint8),
            np.zeros((2, 4, 4, 3), np.uint8),
            np.zeros((4, 4, 3), np.int64),
            np.zeros((4, 4), bool),
            np.full((4, 4, 3), 255.0),
            np.full((4, 4, 3), -0.5),
            np.full((4, 4, 3), np.nan),
            torch.zeros(4, 4, 3),
            torch.zeros(3, 0, 4),
            torch.zeros(1, 3, 4, 4),
            torch.zeros(3, 4, 4, dtype=torch.int64),
            torch.full((3, 4, 4), 2.0),
            torch.full((3, 4, 4), float("nan")),
            Image.new("RGB", (0, 4)),
        ],
        ids=lambda picture: f"{type(picture).__name__}{list(getattr(picture, 'shape', []))}",
    )
    def test_refuses_with_a_remedy(self, picture):
        for function in (pictures.to_tensor, pictures.to_array):
            with pytest.raises(PictureError) as caught:
                function(picture)
            assert caught.value.remedy

    def test_a_file_equals_its_array(self, tmp_path):
        path = tmp_path / "photo.jpg"
        pictures.write(photo(), path)
        expected = torch.from_numpy(pictures.read(path)).permute(2, 0, 1) / 255
        assert torch.equal(pictures.to_tensor(str(path)), expected)

    def test_does_not_alias_or_change_what_is_given(self):
        array = photo(4, 4)
        array.flags.writeable = False
        pictures.to_tensor(array).zero_()
        pictures.to_array(array)[:] = 0
        np.testing.assert_array_equal(array, photo(4, 4))

    def test_a_cut_pillow_image_names_its_file(self, tmp_path):
        path = tmp_path / "cut.png"
        path.write_bytes(encoded(Image.fromarray(photo()), "PNG")[:-200])
        with Image.open(path) as image, pytest.raises(PictureError, match=r"cut\.png.*damaged"):
            pictures.to_tensor(image)

    @settings(deadline=None)
    @given(arrays(np.uint16, (3, 5)))
    def test_sixteen_bits_round_to_the_nearest(self, array):
        np.testing.assert_array_equal(pictures.to_array(array)[..., 0], (array.astype(int) + 128) // 257)


class TestFind:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.JPG", "a.png", "하위/고양이.webp", "하위/notes.txt", ".hidden.jpg", ".cache/c.jpg", "x[1].jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    @pytest.mark.parametrize(
        "given, expected",
        [
            (["."], ["a.png", "b.JPG", "x[1].jpg", "하위/고양이.webp"]),
            (["b.JPG", "a.png", "b.JPG"], ["b.JPG", "a.png"]),
            (["하위/notes.txt"], ["하위/notes.txt"]),
            (["*.png"], ["a.png"]),
            (["**/*"], ["a.png", "b.JPG", "x[1].jpg", "하위/고양이.webp"]),
            (["하*"], ["하위/고양이.webp"]),
            (["x[1].jpg"], ["x[1].jpg"]),
        ],
    )
    def test_files_folders_and_patterns(self, folder, given, expected):
        assert pictures.find([folder / path for path in given]) == [folder / path for path in expected]

    @pytest.mark.parametrize(
        "given, problem",
        [
            (["missing.jpg"], "no such file"),
            (["*.bmp"], "no such file"),
            (["하위/*.txt"], "no picture found"),
            ([], "no picture found"),
        ],
    )
    def test_nothing_is_an_error(self, folder, given, problem):
        with pytest.raises(PictureError, match=problem):
            pictures.find([folder / path for path in given])

    def test_links_are_followed_once(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real/a.png").touch()
        (tmp_path / "data").mkdir()
        (tmp_path / "data/linked").symlink_to(tmp_path / "real")
        (tmp_path / "real/round").symlink_to(tmp_path / "data")
        assert pictures.find([tmp_path / "data"]) == [tmp_path / "data/linked/a.png"]


class TestWrite:
    @pytest.mark.parametrize(
        "name, error", [("새 폴더/그림.png", 0), ("photo.jpg", 12), ("photo.JPEG", 12), ("a.webp", 40)]
    )
    def test_reads_back(self, tmp_path, name, error):
        pictures.write(photo(), tmp_path / name)
        difference = np.abs(pictures.read(tmp_path / name).astype(int) - photo())
        assert difference.mean() <= error / 4
        assert [path.name for path in (tmp_path / name).parent.iterdir()] == [Path(name).name]

    def test_replaces(self, tmp_path):
        path = tmp_path / "a.png"
        pictures.write(photo(), path)
        pictures.write(photo(5, 5), path)
        assert pictures.read(path).shape == (5, 5, 3)

    @pytest.mark.parametrize("name", ["a.gif", "a", "a.txt"])
    def test_unknown_ending(self, tmp_path, name):
        with pytest.raises(PictureError, match="ending"):
            pictures.write(photo(), tmp_path / name)

    @pytest.mark.parametrize("array", [photo()[..., 0], photo() / 255, np.zeros((0, 3, 3), np.uint8)])
    def test_odd_arrays(self, tmp_path, array):
        with pytest.raises(PictureError, match="cannot be written"):
            pictures.write(array, tmp_path / "a.png")

    def test_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        pictures.write(photo(), path)

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(SiseonError, match=r"a\.png: cannot be written \(No space left"):
            pictures.write(photo(5, 5), path)
        assert pictures.read(path).shape == (40, 56, 3)
        assert list(tmp_path.iterdir()) == [path]

    def test_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(SiseonError, match="cannot be written"):
            pictures.write(photo(), tmp_path / "file/a.png")

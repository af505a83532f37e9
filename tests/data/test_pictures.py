"""Every mode a picture can have is converted aloud or refused."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nascommon.data.batches import evaluation_batches
from nascommon.data.pictures import decode_picture, open_picture, read_header
from nascommon.data.prepared import Prepared
from nascommon.settings import UserError

Make = Callable[..., Prepared]
Draw = Callable[..., None]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 2), (200, 0, 0, 0))
    picture.putpixel((1, 1), (0, 0, 0, 1))
    picture.save(tmp_path / "clear.png")
    Image.new("LA", (2, 2), (0, 128)).save(tmp_path / "half.png")
    assert open_picture(tmp_path / "clear.png", 3).getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(tmp_path / "half.png", 1).getpixel((0, 0)) == 127


def bmp(path: Path, alpha: int) -> None:
    """Write two pixels, 32 bits each, with a version 4 header that says where the four channels lie."""
    masks = [0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000]
    header = struct.pack("<IiiHHIIiiII4I", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0, *masks) + b"\0" * 52
    pixels = bytes([30, 20, 10, alpha, 60, 50, 40, alpha])
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + 108 + 8, 0, 0, 14 + 108) + header + pixels)


def test_an_alpha_channel_that_is_0_everywhere_carries_no_picture(tmp_path: Path) -> None:
    bmp(tmp_path / "a.bmp", alpha=0)
    bmp(tmp_path / "b.bmp", alpha=128)
    Image.new("RGBA", (2, 1), (10, 20, 30, 0)).save(tmp_path / "c.png")
    Image.new("LA", (2, 1), (70, 0)).save(tmp_path / "d.png")
    shown = [open_picture(tmp_path / name, 3).getpixel((0, 0)) for name in ("a.bmp", "b.bmp", "c.png", "d.png")]
    assert shown == [(10, 20, 30), (132, 137, 142), (10, 20, 30), (70, 70, 70)]


@pytest.mark.parametrize("storage", [{}, {"storage": "files"}], ids=["memory", "files"])
def test_ignored_alpha_channels_are_told_once_with_their_count(
    tmp_path: Path, make: Make, storage: dict[str, str]
) -> None:
    for number in range(8):
        path = tmp_path / "icons" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (4, 4), (9 * number, 20 + number, 30 + number, 255 if number < 2 else 0)).save(path)
    lines: list[str] = []
    make(source="image_folder", path=str(tmp_path / "icons"), size=4, report=lines.append, **storage)
    (told,) = [line for line in lines if "alpha" in line]
    assert "6 x RGBA with alpha 0 everywhere, which is ignored, 2 x RGBA with transparency, laid over white" in told


FORMATS = ("jpg", "png", "late.png", "webp", "tif")
STORED = {
    # EXIF 2.32, tag Orientation: which side of the visible picture the first row and the first column are.
    1: lambda shown: shown,  # top, left
    2: lambda shown: shown[:, ::-1],  # top, right
    3: lambda shown: shown[::-1, ::-1],  # bottom, right
    4: lambda shown: shown[::-1],  # bottom, left
    5: lambda shown: shown.swapaxes(0, 1),  # left, top
    6: lambda shown: shown[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda shown: shown[::-1].swapaxes(0, 1),  # left, bottom
}


def photo() -> np.ndarray:
    """16 x 24 pixels: six fields of a colour each, so large that JPEG keeps them."""
    fields = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [240, 240, 20], [20, 240, 240], [120, 120, 120]])
    return np.kron(fields.reshape(2, 3, 3), np.ones((8, 8, 1))).astype(np.uint8)


def taken(path: Path, orientation: int) -> Path:
    """Write ``photo`` as a camera held so writes it; ``late.png`` has its EXIF data behind the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](photo())))
    image.save(path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {"quality": 95, "subsampling": 0}))
    if path.name.endswith("late.png"):
        content = path.read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4])
        path.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", STORED)
def test_a_photo_stands_as_the_camera_was_held(tmp_path: Path, kind: str, orientation: int) -> None:
    decoded = np.array(open_picture(taken(tmp_path / f"a.{kind}", orientation), 3)).astype(int)
    assert decoded.shape == (16, 24, 3)
    assert np.abs(decoded - photo())[2:6, 2:6].max() < 10
    assert np.abs(decoded - photo()).mean() < 3


@pytest.mark.parametrize("storage", [{}, {"storage": "files", "size": 16}], ids=["memory", "files"])
def test_orientation_changes_neither_size_nor_pixels_of_a_set(
    tmp_path: Path, make: Make, storage: dict[str, object]
) -> None:
    for orientation in STORED:
        for kind in ("png", "late.png", "webp", "tif"):  # without loss
            taken(tmp_path / "photos" / "ab"[orientation % 2] / f"{orientation}.{kind}", orientation)
    prepared = make(source="image_folder", path=str(tmp_path / "photos"), **storage)
    batches = evaluation_batches(prepared.part("train"), 100, device=torch.device("cpu"), workers=0)
    images, _ = next(batches.epoch(0))
    assert images.shape[1:] == (3, 16, 16 if storage else 24)
    assert torch.equal(images, images[:1].expand_as(images))
    assert len({tuple(row) for row in images[0].flatten(1).T.tolist()}) >= 6


def test_exif_data_that_cannot_be_read_leave_the_photo_as_it_is_and_are_told(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF header")
    assert open_picture(tmp_path / "a.png", 3).size == (24, 16)
    assert decode_picture(tmp_path / "a.png").oddity == "unreadable EXIF data, taken as upright"


def test_exif_data_that_break_off_say_what_they_can_and_nobody_complains(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 5 * "a maker of cameras"
    Image.fromarray(photo()).save(tmp_path / "a.jpg", exif=exif.tobytes()[:-40])
    code = "import sys, pathlib, nascommon.data.pictures as p; print(p.open_picture(pathlib.Path(sys.argv[1]), 3).size)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jpg")], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("(16, 24)\n", "")


def test_a_phones_photo_with_a_second_picture_behind_it_is_its_first_picture(
    tmp_path: Path, folder: Path, make: Make
) -> None:
    first, second = Image.new("RGB", (8, 8), (200, 30, 30)), Image.new("RGB", (4, 4), (0, 0, 0))
    first.save(folder / "cat" / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(folder / "cat" / "phone.jpg") as opened:
        assert (opened.format, opened.is_animated) == ("MPO", True)  # type: ignore[attr-defined]  # MPO has it
    red, green, blue = np.array(open_picture(folder / "cat" / "phone.jpg", 3))[4, 4].tolist()
    assert (red > 180, green < 50, blue < 50) == (True, True, True)
    lines: list[str] = []
    Image.new("RGB", (8, 8), (0, 90, 0)).save(folder / "cat" / "web.jfif", format="JPEG")
    counts = make(source="image_folder", path=str(folder), report=lines.append).manifest.counts
    assert sum(part["cat"] for part in counts.values()) == 8
    assert not any("no pictures" in line for line in lines)


def test_a_palette_and_cmyk_become_their_colours(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (10, 200, 30)).quantize(4).save(tmp_path / "palette.png")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    assert open_picture(tmp_path / "palette.png", 3).getpixel((0, 0)) == (10, 200, 30)
    red, green, blue = np.array(open_picture(tmp_path / "cmyk.jpg", 3))[0, 0].tolist()
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


@pytest.mark.parametrize(("mode", "name"), [("I;16", "a.png"), ("I;16", "a.tif"), ("F", "a.tif"), ("I", "b.tif")])
def test_more_than_8_bits_are_refused(tmp_path: Path, mode: str, name: str) -> None:
    Image.new(mode, (2, 2)).save(tmp_path / name)
    with pytest.raises(UserError, match="more than 8 bits"):
        read_header(tmp_path / name)


def test_16_bit_colour_which_pillow_would_shorten_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\1\2" * 3)
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"deep\.png: has more than 8 bits"):
        read_header(tmp_path / "deep.png")


@pytest.mark.parametrize(
    ("mode", "channels", "expected", "told"),
    [
        ("L", None, 3, "1 gray pictures are converted to 3 channels"),
        ("L", 1, 1, "12 colour pictures are converted to gray"),
        ("RGBA", None, 3, "1 x RGBA with transparency, laid over white"),
        ("P", None, 3, "1 x P, converted"),
        ("RGB", None, 3, None),
    ],
)
def test_a_mixed_folder_gets_one_channel_count_and_says_so(
    folder: Path, draw: Draw, make: Make, mode: str, channels: int | None, expected: int, told: str | None
) -> None:
    draw(folder / "cat/odd.png", mode=mode, number=99)
    lines: list[str] = []
    prepared = make(source="image_folder", path=str(folder), channels=channels, report=lines.append)
    assert prepared.manifest.channels == expected
    assert prepared.part("train").samples.images.shape[1] == expected  # type: ignore[attr-defined]  # in memory
    assert told is None or any(told in line for line in lines)
    assert told is not None or len(lines) == 1


def test_a_folder_of_gray_pictures_has_one_channel(tmp_path: Path, draw: Draw, make: Make) -> None:
    for number in range(8):
        draw(tmp_path / "gray" / "ab"[number % 2] / f"{number}.png", mode="L", number=number)
    assert make(source="image_folder", path=str(tmp_path / "gray")).manifest.channels == 1


def test_pictures_of_any_shape_are_resized_to_a_square_of_their_centre(folder: Path, draw: Draw, make: Make) -> None:
    draw(folder / "cat/wide.png", height=10, width=30)
    images = make(source="image_folder", path=str(folder), size=5).part("train").samples.images  # type: ignore[attr-defined]  # in memory
    assert images.shape[1:] == (3, 5, 5)

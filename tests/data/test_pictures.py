"""Every mode a picture can have is converted aloud or refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nascommon.data.pictures import open_picture, read_header
from nascommon.data.prepared import Prepared
from nascommon.settings import UserError

Make = Callable[..., Prepared]
Draw = Callable[..., None]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (2, 2), (0, 128)).save(tmp_path / "half.png")
    assert open_picture(tmp_path / "clear.png", 3).getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(tmp_path / "half.png", 1).getpixel((0, 0)) == 127


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
        read_header(tmp_path, name)


def test_16_bit_colour_which_pillow_would_shorten_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\1\2" * 3)
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"deep\.png: has more than 8 bits"):
        read_header(tmp_path, "deep.png")


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
    draw(folder / "cat/odd.png", mode=mode)
    lines: list[str] = []
    prepared = make(source="image_folder", path=str(folder), channels=channels, report=lines.append)
    assert prepared.manifest.channels == expected
    assert prepared.part("train").samples.images.shape[1] == expected  # type: ignore[union-attr]  # in memory
    assert told is None or any(told in line for line in lines)
    assert told is not None or len(lines) == 1


def test_a_folder_of_gray_pictures_has_one_channel(tmp_path: Path, draw: Draw, make: Make) -> None:
    for number in range(8):
        draw(tmp_path / "gray" / "ab"[number % 2] / f"{number}.png", mode="L", number=number)
    assert make(source="image_folder", path=str(tmp_path / "gray")).manifest.channels == 1


def test_pictures_of_any_shape_are_resized_to_a_square_of_their_centre(folder: Path, draw: Draw, make: Make) -> None:
    draw(folder / "cat/wide.png", height=10, width=30)
    images = make(source="image_folder", path=str(folder), size=5).part("train").samples.images  # type: ignore[union-attr]  # in memory
    assert images.shape[1:] == (3, 5, 5)

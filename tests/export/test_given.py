"""What is taken home reads arrays, files and folders as this package does, or refuses them in the same words."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nascommon.data import pictures, walk
from nascommon.data.pictures import PICTURE_ADVICE
from nascommon.data.samples import pixels_of
from nascommon.export.given import SUFFIXES, as_batch, fault_of, pictures_in, read_picture


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


GRAY, COLOUR = torch.arange(30, dtype=torch.uint8).reshape(5, 6), torch.arange(90, dtype=torch.uint8).reshape(3, 5, 6)


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (COLOUR, COLOUR[None]),
        (COLOUR[None], COLOUR[None]),
        (COLOUR.permute(1, 2, 0), COLOUR[None]),
        (COLOUR.permute(1, 2, 0)[None].numpy(), COLOUR[None]),
        (COLOUR.permute(1, 2, 0).tolist(), COLOUR[None]),
        (COLOUR.float() / 255, COLOUR[None]),
        (GRAY, GRAY.expand(1, 3, 5, 6)),
        (GRAY[..., None], GRAY.expand(1, 3, 5, 6)),
        (GRAY[None], GRAY.expand(1, 3, 5, 6)),
        (GRAY.numpy()[::-1, ::-1], GRAY.flip(0, 1).expand(1, 3, 5, 6)),
        (COLOUR.permute(1, 2, 0).numpy()[..., ::-1], COLOUR.flip(0)[None]),
        (COLOUR.numpy().astype(np.uint16), COLOUR[None]),
        (COLOUR.numpy().astype(np.uint64), COLOUR[None]),
        (GRAY > 12, 255 * (GRAY > 12).expand(1, 3, 5, 6)),
        (np.broadcast_to(GRAY.numpy(), (3, 5, 6)), GRAY.expand(1, 3, 5, 6)),
    ],
)
def test_the_layout_and_the_range_of_pictures_are_known_by_their_shape_and_type(
    pictures: object, expected: Tensor
) -> None:
    torch.testing.assert_close(as_batch(pictures, 3), expected.float())


def test_colour_becomes_gray_as_in_pillow() -> None:
    picture = noise(9, 7)
    gray = as_batch(np.array(picture), 1)
    assert (gray[0] - pixels_of(picture.convert("L"))).abs().max() < 0.51


@pytest.mark.parametrize(
    ("pictures", "complaint"),
    [
        (torch.zeros(2, 3, 8, 3), "either before or behind the pixels"),
        (torch.zeros(2, 4, 8, 8), "either before or behind the pixels"),
        (torch.zeros(8), "either before or behind the pixels"),
        (torch.zeros(0, 3, 8, 8), "hold integers from 0 to 255"),
        (torch.full((3, 8, 8), 255.0), "floats from 0 to 1 .*255"),
        (torch.full((3, 8, 8), -1), "hold integers from 0 to 255"),
        (torch.full((3, 8, 8), 256), "hold integers from 0 to 255"),
        (torch.full((3, 8, 8), 256).to(torch.uint16), r"hold integers from 0 to 255 .*uint16 \[3, 8, 8\], 256 to 256"),
        (torch.full((3, 8, 8), torch.nan), "floats from 0 to 1 .*nan"),
        (torch.tensor([[0.5, torch.nan]]), "floats from 0 to 1 .*nan"),
        (torch.full((8, 8), torch.inf), "floats from 0 to 1 .*inf"),
        (torch.full((8, 8), 1j), "floats from 0 to 1 .*complex"),
        ([["a", "b"]], "are arrays of numbers"),
        (None, "are arrays of numbers"),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(pictures: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        as_batch(pictures, 3)


def exif(value: int) -> Image.Exif:
    told = Image.Exif()
    told[0x0112] = value
    return told


BROKEN_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x05no directory"


def zoo(folder: Path) -> None:
    """Write pictures of every kind, and what only looks like one."""
    for name, size in {
        "1x1": (1, 1),
        "1x3": (1, 3),
        "3x1": (3, 1),
        "3x3": (3, 3),
        "1x9": (1, 9),
        "9x3": (9, 3),
    }.items():
        noise(*size).save(folder / f"{name}.png")
        noise(*size).convert("L").save(folder / f"gray {name}.png")
    transparent = noise(6, 4).convert("RGBA")
    transparent.putalpha(noise(6, 4, 1).convert("L"))
    for mode in ("L", "RGB", "RGBA", "LA", "P", "1"):
        transparent.convert(mode).save(folder / f"{mode}.png", exif=exif(6))
    for mode, name in {"CMYK": "cmyk.jpg", "YCbCr": "ycc.jpg", "LAB": "lab.tif", "RGB": "photo.webp"}.items():
        noise(6, 4).convert(mode).save(folder / name)
    Image.new("RGBA", (4, 5), (9, 99, 200, 0)).save(folder / "alpha 0.png")
    noise(5, 4).quantize(8).save(folder / "a colour is transparent.png", transparency=0)
    for turn in range(10):
        for suffix in ("png", "jpg", "tif"):
            noise(5, 4).save(folder / f"turned {turn}.{suffix}", exif=exif(turn))
    noise(5, 4).save(folder / "bad exif.jpg", exif=BROKEN_EXIF)
    deep = np.arange(20, dtype=np.uint16).reshape(4, 5) * 257
    for name, picture in {
        "16.png": Image.fromarray(deep),
        "16.tif": Image.fromarray(deep),
        "32.tif": Image.fromarray(deep.astype(np.int32)),
        "float.tif": Image.fromarray((deep / 65535).astype(np.float32)),
    }.items():
        picture.save(folder / name)
    (folder / "16 rgb.ppm").write_bytes(b"P6 2 1 65535\n" + bytes(range(12)))  # Pillow makes 8 bits of it
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(bytes(13)), b"IEND": b""}
    packed = [
        struct.pack(">I", len(one)) + k + one + struct.pack(">I", zlib.crc32(k + one)) for k, one in chunks.items()
    ]
    (folder / "16 rgb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    for suffix in ("gif", "webp", "png", "tif"):
        noise(5, 4).save(folder / f"moves.{suffix}", save_all=True, append_images=[noise(5, 4, 1)])
    noise(40, 40).save(folder / "whole.jpg")
    (folder / "torn.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    (folder / "torn.png").write_bytes((folder / "RGB.png").read_bytes()[:60])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_file_is_read_or_refused_as_prepare_does(tmp_path: Path) -> None:
    zoo(tmp_path)
    refused = set()
    for path in tmp_path.iterdir():
        for channels in (1, 3):
            found, expected = (answer(reader, path, channels) for reader in (taken_home, prepared))
            assert found == (expected.removesuffix(PICTURE_ADVICE) if isinstance(expected, str) else expected), path
            refused |= {path.name} if isinstance(found, str) else set()
    assert refused == {
        "16.png", "16.tif", "32.tif", "float.tif", "16 rgb.png", "moves.gif", "moves.webp", "moves.png", "moves.tif",
        "torn.jpg", "torn.png", "empty.png", "text.png",
    }  # fmt: skip


def taken_home(path: Path, channels: int) -> Tensor:
    return read_picture(path, channels)


def prepared(path: Path, channels: int) -> Tensor:
    return pixels_of(pictures.open_picture(path, channels))[None]


def answer(reader: Callable[[Path, int], Tensor], path: Path, channels: int) -> str | tuple[torch.Size, list[float]]:
    """Return the size and the levels of a picture, or the words in which it is refused."""
    try:
        levels = reader(path, channels)
    except ValueError as error:
        return str(error)
    return levels.shape, levels.flatten().tolist()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("absent.png", "no such file"),
        ("https://example.org/a.png", "no such file; only files are read, so download it first"),
        (300 * "a" + ".png", "cannot be read (File name too long); check its name and permissions"),
        ("loop.png", "cannot be read (Too many levels of symbolic links); check its name and permissions"),
        ("a.png/b.png", "cannot be read (Not a directory); check its name and permissions"),
        ("a\0.png", "cannot be read (embedded null byte)"),
        (".", "is not a file"),
        ("pipe.png", "is not a file"),
        ("empty.png", "is empty (0 bytes)"),
        ("a.png", ""),
    ],
)
def test_a_file_that_is_none_is_named(name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noise(2, 2).save("a.png")
    Path("empty.png").touch()
    Path("loop.png").symlink_to("loop.png")
    os.mkfifo("pipe.png")
    assert fault_of(name) == fault
    assert pictures_in([name, "a.png"])[1:] == [("a.png", "")] or name == "."
    if fault:
        with pytest.raises(ValueError, match=r".") as found:
            read_picture(name, 3)
        assert str(found.value) == f"{name}: {fault}"


def test_a_folder_is_walked_as_prepare_walks_it(tmp_path: Path) -> None:
    names = (
        "a.png", "B.JPG", "._a.jpg", "doc.pdf", "movie.mpg", "notes.txt", "no suffix", "dot.", ".hidden/c.png",
        "below/z.jpeg", "below/.c.png", "below/deeper/c.tif", "a folder.png/x.png", "c\nd.png",
    )  # fmt: skip
    for name in names:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "other/below").mkdir(parents=True)
    (tmp_path / "other/below/o.png").touch()
    links = {
        "back.png": ".",
        "up": "..",
        "over": "../other",
        "to a.png": "a.png",
        "self.png": "self.png",
        "lost.png": "x",
    }
    for name, target in links.items():
        (tmp_path / "root" / name).symlink_to(target)
    (tmp_path / "other/back").symlink_to("../root")
    expected = [name for name in walk.files_below(tmp_path / "root") if walk.is_picture(name)]
    found = pictures_in([tmp_path / "root"])
    assert found == [(str(tmp_path / "root" / name), "") for name in expected]
    assert len(found) == 11
    assert set(SUFFIXES) == pictures.SUFFIXES


def test_a_folder_that_cannot_be_read_or_holds_nothing_is_named_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("shut/a.png", "photos/a.png", "photos/shut/a.png", "photos/z/b.png"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).touch()
    Path("empty").mkdir()
    listed = Path.iterdir

    def shut(folder: Path) -> object:
        if folder.name == "shut":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", shut)  # root may read all
    fault = "cannot be read (Permission denied); check the folder and its permissions"
    nothing = f"holds no pictures; they end in {', '.join(sorted(SUFFIXES))}"
    assert pictures_in(["shut", "photos", "empty"]) == [
        ("shut", fault), ("photos/a.png", ""), ("photos/shut", fault), ("photos/z/b.png", ""), ("empty", nothing),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="shut") as found:
        pictures_in(["shut", "empty"])
    assert found.value.args == (f"shut: {fault}", f"empty: {nothing}")

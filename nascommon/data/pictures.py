"""A picture file becomes 8-bit gray or RGB, or a message that names it.

The EXIF rotation is not applied, as in torchvision.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from nascommon.settings import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff"})
SHOWN = 5
CHUNK = 1024
RESIZE_OVER_CROP = 256 / 224
"""ImageNet's evaluation: the short side to 256, then the central 224."""

# What Pillow raises on a broken file, by decoder.
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
    OverflowError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
GRAY_MODES = frozenset({"1", "L", "LA", "La"})
DEEP_MODES = frozenset({"I", "F"})
MAY_MOVE = frozenset({"GIF", "TIFF", "WEBP", "PNG", "MPO"})

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Header:
    """What is known of a picture without decoding it; ``oddity`` is why its mode must be converted, or empty."""

    name: str
    height: int
    width: int
    gray: bool
    oddity: str


def read_header(root: Path, name: str) -> Header:
    """Read the header of one picture.

    Raises:
        UserError: the file is empty, no picture, 16-bit or animated.
    """
    with _opened(root / name) as image:
        return Header(name, image.height, image.width, image.mode in GRAY_MODES, _oddity(image))


def open_picture(path: Path, channels: int) -> Image.Image:
    """Decode a picture as 8-bit gray (``channels`` 1) or RGB (3); transparency is laid over white.

    Raises:
        UserError: the file is missing, torn, 16-bit or animated.
    """
    mode = "L" if channels == 1 else "RGB"
    with _opened(path) as image:
        try:
            image.load()
            return _over_white(image).convert(mode) if image.has_transparency_data else image.convert(mode)
        except BROKEN as error:
            raise UserError(f"{path}: cannot be decoded ({_said(error)}); replace or remove the file") from error


def central(image: Image.Image, size: int, short_side: int) -> Image.Image:
    """Resize the short side to ``short_side`` pixels (bilinear), then cut out the central ``size`` x ``size``."""
    from torchvision.transforms.v2 import functional as vision

    resized = vision.resize(image, [short_side], antialias=True)
    cropped: Image.Image = vision.center_crop(resized, [size, size])
    return cropped


def evaluation_view(image: Image.Image, size: int) -> Image.Image:
    """ImageNet's evaluation view at any ``size``: ``size * 256 / 224`` and the central ``size``."""
    return central(image, size, round(size * RESIZE_OVER_CROP))


def read_headers(root: Path, names: Sequence[str]) -> list[Header]:
    """Check the header of every picture, in threads.

    Raises:
        UserError: some cannot be used; up to five are named with the reason.
    """
    return list(in_threads(lambda name: read_header(root, name), names))


def conversions(headers: Sequence[Header]) -> str:
    """One line that counts the pictures whose mode will be converted; empty when there is none."""
    counts = Counter(header.oddity for header in headers if header.oddity)
    return ", ".join(f"{count} x {oddity}" for oddity, count in sorted(counts.items()))


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed in threads; at the end raise what went wrong, all at once.

    Raises:
        UserError: at least one call raised one; up to five messages, and how many there were.
    """

    def guarded(item: Item) -> Result | UserError:
        try:
            return function(item)
        except UserError as error:
            return error

    errors: list[str] = []
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        for start in range(0, len(items), CHUNK):
            for result in pool.map(guarded, items[start : start + CHUNK]):
                if isinstance(result, UserError):
                    errors.append(str(result))
                else:
                    yield result
    if errors:
        raise UserError(f"{len(errors)} of {len(items)} pictures cannot be used: {some(errors)}")


def some(words: Sequence[str]) -> str:
    """At most five of ``words`` in a row, and how many more there are."""
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more


def _opened(path: Path) -> Image.Image:
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: is empty (0 bytes); replace or remove the file")
        image = Image.open(path)
    except UserError:
        raise
    except BROKEN as error:
        raise UserError(f"{path}: is not a readable picture ({_said(error)}); replace or remove the file") from error
    try:
        _refuse(path, image)
    except BaseException:
        image.close()
        raise
    return image


def _refuse(path: Path, image: Image.Image) -> None:
    # Pillow silently keeps the high byte of 16-bit RGB; only the raw mode of the decoder still tells.
    if image.mode[0] in DEEP_MODES or any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        raise UserError(f"{path}: has more than 8 bits per channel (mode {image.mode}); save it with 8 bits")
    if image.format in MAY_MOVE and getattr(image, "is_animated", False):
        raise UserError(f"{path}: holds several frames; save the one that is meant as a file of its own")


def _oddity(image: Image.Image) -> str:
    if image.has_transparency_data:
        return f"{image.mode} with transparency, laid over white"
    return "" if image.mode in ("L", "RGB") else f"{image.mode}, converted"


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

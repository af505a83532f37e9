"""A picture file becomes 8-bit gray or RGB, upright as a viewer shows it, or a message that names it.

Deviation: torchvision's folders, with which the papers read ImageNet, ignore EXIF orientation and leave out ``.jfif``.
"""

from __future__ import annotations

import hashlib
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image

from nascommon.data.members import member_of
from nascommon.settings import UserError

SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff",
})  # fmt: skip
SHOWN = 5
PICTURE_ADVICE = "; replace or remove the file"
"""What to do about a broken picture of a data set; a picture that somebody asks about is told without it."""
DIGEST_BYTES = 16
"""Bytes of a hash that tells pictures apart; two of 10**7 different ones agree by chance in one of 10**24 cases."""
GRAY, COLOUR = 1, 3
MODES = {GRAY: "L", COLOUR: "RGB"}
"""Pillow's name for pictures of so many channels."""

# Half-broken EXIF data are common. What can be read of them is, and no viewer complains; Pillow would, in every process
# that decodes such a picture.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

# What Pillow raises on a broken file, by decoder.
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
    OverflowError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
GRAY_MODES = frozenset({"1", "L", "LA", "La"})
DEEP_MODES = frozenset({"I", "F"})
# An MPO is a phone's photo with a preview or a second lens behind it: its first picture is the one that viewers show.
MAY_MOVE = frozenset({"GIF", "TIFF", "WEBP", "PNG"})
# EXIF 2.3, tag 0x0112. Not ImageOps.exif_transpose: it also writes the EXIF data anew, which many a file's refuse.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Seen:
    """Facts about a picture, from its header alone or from all of it."""

    sides: tuple[int, int]
    """The shorter and the longer in pixels: which of them is the height, a header need not know (EXIF)."""
    gray: bool
    oddity: str
    """Complaint about what had to be done beyond decoding, or empty."""
    digest: bytes = b""
    """Hash of the upright pixels as RGB; empty where only the header was read."""


@dataclass(frozen=True)
class Decoded:
    """A picture in gray (mode L) or colour (mode RGB), whichever it is, upright and opaque."""

    image: Image.Image
    oddity: str

    def seen(self) -> Seen:
        """Return what is to be remembered of it."""
        digest = hashlib.blake2b(repr(self.image.size).encode(), digest_size=DIGEST_BYTES)
        digest.update(in_mode(self.image, "RGB").tobytes())
        return Seen(_sides(self.image), self.image.mode == "L", self.oddity, digest.digest())


def read_header(path: Path) -> Seen:
    """Read the header of one picture.

    Raises:
        UserError: the file is empty, no picture, 16-bit or animated.
    """
    with _opened(path) as image:
        return Seen(_sides(image), image.mode in GRAY_MODES, _oddity(image))


def decode_picture(path: Path) -> Decoded:
    """Decode a picture and turn it upright as its EXIF orientation asks; transparency is laid over white.

    An alpha channel that is 0 everywhere carries no picture: it is ignored.

    Raises:
        UserError: the file is missing, torn, 16-bit or animated.
    """
    with _opened(path) as image:
        try:
            image.load()
            upright, oddity = _opaque(image)
            turn, complaint = _orientation(image)
            picture = in_mode(upright, "L" if image.mode in GRAY_MODES else "RGB")
            oddity = "; ".join(word for word in (oddity, complaint) if word)
            return Decoded(picture if turn is None else picture.transpose(turn), oddity)
        except BROKEN as error:
            raise UserError(f"{path}: cannot be decoded ({_said(error)}){PICTURE_ADVICE}") from error


def open_picture(path: Path, channels: int) -> Image.Image:
    """Decode a picture as 8-bit gray (``channels`` 1) or RGB (3), see ``decode_picture``.

    Raises:
        UserError: the file is missing, torn, 16-bit or animated.
    """
    return in_mode(decode_picture(path).image, MODES[channels])


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture in another mode of Pillow's; not a copy where it has that mode."""
    return image if image.mode == mode else image.convert(mode)


def some(words: Sequence[str]) -> str:
    """At most five of ``words`` in a row, and how many more there are."""
    more = f"; and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        member = member_of(str(path))
        if (path.stat().st_size if member is None else member.size) == 0:
            raise UserError(f"{path}: is empty (0 bytes){PICTURE_ADVICE}")
        image = Image.open(path if member is None else BytesIO(member.read()))
    except UserError:
        raise
    except BROKEN as error:
        raise UserError(f"{path}: is not a readable picture ({_said(error)}){PICTURE_ADVICE}") from error
    with image:
        _refuse(path, image)
        yield image


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


def _opaque(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture without transparency, and what that took."""
    if not image.has_transparency_data:
        return image, _oddity(image)
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (0, 0):
        return layer.convert("RGB"), f"{image.mode} with alpha 0 everywhere, which is ignored"
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer), _oddity(image)


def _orientation(image: Image.Image) -> tuple[Image.Transpose | None, str]:
    """Return how a decoded picture is turned upright, and a complaint where its EXIF data cannot be read.

    Only after decoding: in PNG files it may come behind the pixels. TIFF files are upright once Pillow has loaded them.
    """
    if image.format == "TIFF":
        return None, ""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1)), ""
    except BROKEN:
        return None, "unreadable EXIF data, taken as upright"


def _sides(image: Image.Image) -> tuple[int, int]:
    return min(image.size), max(image.size)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

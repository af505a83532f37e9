"""Pictures as they are given, arrays and files, become levels; in PyTorch alone, and for files Pillow and NumPy.

Nothing here imports this package, and nothing may: it is copied into what is taken home. A file is read, or refused in
the same words, as ``nascommon.data.pictures`` does it, and a folder is walked as ``nascommon.data.walk`` does it; the
tests hold the twins against each other.

Suffixes: ``B`` batch, ``C`` channels, ``h``, ``w`` of a picture as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# -- arrays ---------------------------------------------------------------------------------------------------------


def as_batch(pictures: Any, channels: int) -> Tensor:
    """Return pictures as a batch of levels from 0 to 255, float32 [B, C, h, w].

    Args:
        pictures: a tensor, or what NumPy takes for an array: gray or RGB, one picture ([h, w], [h, w, C] or [C, h, w])
            or a batch of one size ([B, h, w, C] or [B, C, h, w]). Integers are levels from 0 to 255, floats are shares
            from 0 to 1, as are masks.
        channels: 1 for gray, 3 for RGB; the others are converted.

    Raises:
        ValueError: the shape can be read in two ways or in none, or a value lies outside of its range or is none.
    """
    given = pictures if isinstance(pictures, Tensor) else _tensor_of(pictures)
    shares = given.is_floating_point() or given.dtype == torch.bool
    # PyTorch finds no extremes of unsigned numbers but bytes.
    batch = _channels_first(given if shares or given.dtype == torch.uint8 or given.is_complex() else given.long())
    top = 1 if shares else 255
    if batch.numel() == 0 or batch.is_complex() or not (batch.min() >= 0 and batch.max() <= top):
        raise ValueError(
            f"pictures hold integers from 0 to 255 or floats from 0 to 1 (got {_described(given)}{_extremes(batch)})"
        )
    levels = batch.float() * (255 / top)
    if levels.shape[1] == channels:
        return levels
    return levels.expand(-1, 3, -1, -1) if channels == 3 else to_gray(levels)  # noqa: PLR2004 -- RGB


def to_gray(levels_B3hw: Tensor) -> Tensor:
    """Return the luma of RGB pictures [B, 1, h, w], as Pillow's mode L has it."""
    weights_3 = torch.tensor([0.299, 0.587, 0.114], device=levels_B3hw.device)
    return (levels_B3hw * weights_3[:, None, None]).sum(1, keepdim=True)


def _tensor_of(pictures: Any) -> Tensor:
    """Return an array as a tensor; a copy, since PyTorch has no views of turned or read-only ones."""
    try:
        return torch.as_tensor(pictures.copy() if hasattr(pictures, "copy") else pictures)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"pictures are arrays of numbers ({error})") from error


def _channels_first(pictures: Tensor) -> Tensor:
    """Return a batch [B, C, h, w] of what is one picture or several, with the channels before or behind the pixels."""
    if pictures.dim() == 2:  # noqa: PLR2004 -- a gray picture
        return pictures[None, None]
    batch = pictures[None] if pictures.dim() == 3 else pictures  # noqa: PLR2004 -- one picture
    if batch.dim() == 4:  # noqa: PLR2004 -- a batch
        first, last = batch.shape[1] in (1, 3), batch.shape[3] in (1, 3)
        if first != last:
            return batch if first else batch.permute(0, 3, 1, 2)
    raise ValueError(
        "pictures are [h, w], or have 1 or 3 channels either before or behind the pixels: [h, w, C], [C, h, w],"
        f" [B, h, w, C] or [B, C, h, w] (got {_described(pictures)})"
    )


def _described(pictures: Tensor) -> str:
    return f"{pictures.dtype} {list(pictures.shape)}".removeprefix("torch.")


def _extremes(batch: Tensor) -> str:
    if batch.numel() == 0 or batch.is_complex():
        return ""
    return f", {batch.min().item():g} to {batch.max().item():g}"


# -- files ----------------------------------------------------------------------------------------------------------

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff",
)  # fmt: skip
GRAY_MODES = ("1", "L", "LA", "La")
MAY_MOVE = ("GIF", "TIFF", "WEBP", "PNG")
ORIENTATION = 0x0112
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip


def read_picture(path: str | Path, channels: int) -> Tensor:
    """Read a picture file upright and opaque, levels uint8 [1, C, h, w]; ``channels`` is 1 for gray, 3 for RGB.

    Raises:
        ValueError: the file is missing, empty, torn, no picture, deeper than 8 bits, or animated.
    """
    from PIL import Image

    if fault := fault_of(path):
        raise ValueError(f"{path}: {fault}")
    try:
        image = Image.open(path)
    except Exception as error:
        raise ValueError(f"{path}: is not a readable picture ({_said(error)})") from error
    with image:
        if fault := _refused(image):
            raise ValueError(f"{path}: {fault}")
        try:
            return _levels(image, channels)
        except Exception as error:  # which one depends on the decoder
            raise ValueError(f"{path}: cannot be decoded ({_said(error)})") from error


def fault_of(path: str | Path) -> str:
    """Say why there is no file to be read, or nothing."""
    try:
        size = Path(path).stat().st_size
    except FileNotFoundError:
        return "no such file" + ("; only files are read, so download it first" if "://" in str(path) else "")
    except OSError as error:
        return f"cannot be read ({error.strerror}); check its name and permissions"
    except ValueError as error:  # a name that is none
        return f"cannot be read ({error})"
    if not Path(path).is_file():
        return "is not a file"
    return "" if size else "is empty (0 bytes)"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _refused(image: Any) -> str:
    """Say why an opened picture is not taken, or nothing."""
    # Pillow silently keeps the high byte of 16-bit RGB; only the raw mode of the decoder still tells.
    if image.mode[0] in ("I", "F") or any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        return f"has more than 8 bits per channel (mode {image.mode}); save it with 8 bits"
    if image.format in MAY_MOVE and getattr(image, "is_animated", False):
        return "holds several frames; save the one that is meant as a file of its own"
    return ""


def _levels(image: Any, channels: int) -> Tensor:
    """Decode an opened picture: laid over white where it is transparent, turned as its EXIF data ask."""
    import numpy as np
    from PIL import Image

    image.load()
    opaque = image
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        if opaque.getchannel("A").getextrema() != (0, 0):  # else the channel carries no picture
            opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque)
    shown = opaque.convert("L" if image.mode in GRAY_MODES else "RGB")
    if turn := UPRIGHT.get(_orientation(image)):
        shown = shown.transpose(Image.Transpose[turn])
    pixels = np.array(shown.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels).reshape(1, shown.height, shown.width, channels).permute(0, 3, 1, 2)


def _orientation(image: Any) -> int:
    """Return the EXIF orientation of a decoded picture; upright where it cannot be read, or Pillow has turned it."""
    try:
        return 1 if image.format == "TIFF" else int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 -- half-broken EXIF data are common, and no viewer complains
        return 1


# -- folders --------------------------------------------------------------------------------------------------------


def pictures_in(paths: Iterable[str | Path]) -> list[tuple[str, str]]:
    """Return names of files as they are, and of folders those of the pictures in and below, each with what is wrong.

    Files are not looked at: wrong is a folder that holds nothing or cannot be read.

    Raises:
        ValueError: there is nothing but such folders; its arguments are a line for each.
    """
    found = [one for path in paths for one in _found(path)]
    if found and all(fault for _, fault in found):
        raise ValueError(*(f"{name}: {fault}" for name, fault in found))
    return found


def _found(given: str | Path) -> Iterator[tuple[str, str]]:
    path = Path(given)
    if not _is_folder(path):
        yield str(given if "://" in str(given) else path), ""
        return
    nothing = str(path), f"holds no pictures; they end in {', '.join(sorted(SUFFIXES))}"
    yield from list(_below(path, frozenset())) or [nothing]


def _below(folder: Path, entered: frozenset[Path]) -> Iterator[tuple[str, str]]:
    """Yield the pictures of a folder in the order of names, then those of each folder in it."""
    around = entered | {folder.resolve(), *folder.resolve().parents}
    try:
        entries = sorted((one for one in folder.iterdir() if one.name[0] != "."), key=lambda one: one.name)
    except OSError as error:
        yield str(folder), f"cannot be read ({error.strerror}); check the folder and its permissions"
        return
    inner = [one for one in entries if _is_folder(one) and not (one.is_symlink() and one.resolve() in around)]
    yield from ((str(one), "") for one in entries if one not in inner and one.suffix.lower() in SUFFIXES)
    for one in inner:
        yield from _below(one, around)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that the system does not take
        return False

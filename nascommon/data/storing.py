"""Pictures get one channel count, one size and one home: a block of pixels, or files that will be streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.copies import Copies, complaints, find_copies
from nascommon.data.fitting import cut_off, square_view
from nascommon.data.inventory import file_digests
from nascommon.data.listing import Names
from nascommon.data.looks import Looks
from nascommon.data.pictures import COLOUR, DIGEST_BYTES, GRAY, MODES, Seen, decode_picture, in_mode
from nascommon.data.samples import Paths, Pixels, Samples, pixels_of
from nascommon.data.settings import DataSettings
from nascommon.data.verifying import decode_all, in_threads, read_headers
from nascommon.runtime.atomic import writing
from nascommon.settings import UserError

LARGEST_IN_MEMORY = 2_000_000_000
"""Bytes of uint8 pixels up to which an image folder is kept in memory."""

Report = Callable[[str], None]
Sides = npt.NDArray[np.integer[Any]]
Set = TypeVar("Set", Pixels, Paths)


@dataclass(frozen=True)
class Stored:
    """Both sets in their final form; ``height`` and ``width`` are what a network sees."""

    train: Samples
    test: Samples
    channels: int
    height: int
    width: int
    copies: Copies


@singledispatch
def store(
    train: Samples, test: Samples, classes: tuple[str, ...], settings: DataSettings, folder: Path, report: Report
) -> Stored:
    """Verify, convert channels, resize, and decide between memory and files.

    Args:
        train: training pictures; copies are left out of them where ``settings.copies`` asks for it.
        test: test pictures, of the same kind.
        classes: names of the labels.
        settings: the section.
        folder: receives pictures that must be written.
        report: takes what the user should know, a line at a time.

    Raises:
        UserError: pictures that cannot be read, or that differ in size while ``settings.size`` is empty.
    """
    raise NotImplementedError(type(train).__name__)


@store.register
def _(
    train: Pixels, test: Pixels, classes: tuple[str, ...], settings: DataSettings, folder: Path, report: Report
) -> Stored:
    names = [str(number) for part in (train, test) for number in range(len(part))]
    train, copies = _weeded(train, test, np.concatenate([_digests(train), _digests(test)]), names, settings, report)
    channels = settings.channels or train.images.shape[1]
    train, test = (replace(part, images=_with_channels(part.images, channels)) for part in (train, test))
    if settings.storage == "files":
        assert settings.size is not None
        written = [_write_pictures(part, folder, name, classes) for name, part in (("train", train), ("test", test))]
        height, width = train.images.shape[2:]
        _tell_cut(np.array([sorted((height, width))]), settings, report, streamed=True)
        return Stored(written[0], written[1], channels, settings.size, settings.size, copies)
    if settings.size is not None:
        from torchvision.transforms.v2 import functional as vision

        side = [settings.size, settings.size]
        train, test = (replace(part, images=vision.resize(part.images, side, antialias=True)) for part in (train, test))
    height, width = train.images.shape[2:]
    return Stored(train, test, channels, height, width, copies)


def _digests(part: Pixels) -> npt.NDArray[np.uint8]:
    """A digest of each picture's pixels, bytes [N, D]."""
    pictures = part.images.numpy()
    digests = [hashlib.blake2b(picture.tobytes(), digest_size=DIGEST_BYTES).digest() for picture in pictures]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _with_channels(images_NCHW: Tensor, channels: int) -> Tensor:
    if images_NCHW.shape[1] == channels:
        return images_NCHW
    if channels == COLOUR:
        return images_NCHW.expand(-1, COLOUR, -1, -1).contiguous()
    from torchvision.transforms.v2 import functional as vision

    gray: Tensor = vision.rgb_to_grayscale(images_NCHW, num_output_channels=GRAY)
    return gray


def _write_pictures(part: Pixels, folder: Path, name: str, classes: tuple[str, ...]) -> Paths:
    """Write PNG files ``folder/name/CLASS/NUMBER.png``; not atomic one by one, the manifest comes last."""
    names = []
    for label in classes:
        (folder / name / label).mkdir(parents=True, exist_ok=True)
    for index, (image_CHW, label) in enumerate(zip(part.images, part.labels.tolist(), strict=True)):
        names.append(f"{classes[label]}/{index:06d}.png")
        pixels = image_CHW.permute(1, 2, 0).squeeze(-1).numpy()
        with writing(file := folder / name / names[-1]):
            Image.fromarray(pixels).save(file)
    return Paths(folder / name, Names(names), part.labels, _digests(part), part.task)


@store.register
def _(
    train: Paths, test: Paths, classes: tuple[str, ...], settings: DataSettings, folder: Path, report: Report
) -> Stored:
    del classes, folder  # files stay where they are
    names = Names(chain(train.names, test.names))
    seen = read_headers(train.root, names)
    if _belong_in_memory(seen, settings):
        return _in_memory(train, test, names, _channels(seen, settings), settings, report)
    if settings.size is None:
        raise UserError(
            f"data.size: {train.root} is over 2 GB in memory, so its files are streamed and need one side in pixels,"
            " for example 224 (got null)"
        )
    if settings.verify == "decode":
        seen = decode_all(train.root, names)
    else:
        report(
            "data.verify: headers: not every picture was decoded: a file torn behind its header will stop training or"
            " evaluation, and only copies that are equal files are found"
        )
    return _as_files(train, test, names, seen, settings, settings.size, report)


def _in_memory(
    train: Paths, test: Paths, names: Names, channels: int, settings: DataSettings, report: Report
) -> Stored:
    images, seen = _decoded(train.root, names, channels, settings)
    _tell(seen, settings, report)
    if settings.size is not None:
        _tell_cut(seen.sides, settings, report, streamed=False)
    parts = Pixels(images[: len(train)], train.labels, train.task), Pixels(images[len(train) :], test.labels, test.task)
    kept, copies = _weeded(*parts, seen.digests, names, settings, report)
    return Stored(kept, parts[1], channels, images.shape[2], images.shape[3], copies)


def _as_files(
    train: Paths, test: Paths, names: Names, seen: Looks, settings: DataSettings, size: int, report: Report
) -> Stored:
    _tell(seen, settings, report)
    _tell_cut(seen.sides, settings, report, streamed=True)
    files = file_digests(train.root, names)
    train, test = replace(train, digests=files[: len(train)]), replace(test, digests=files[len(train) :])
    pictures = seen.digests if settings.verify == "decode" else files
    train, copies = _weeded(train, test, pictures, names, settings, report)
    return Stored(train, test, _channels(seen, settings), size, size, copies)


def _weeded(
    train: Set, test: Set, digests: npt.NDArray[np.uint8], names: Sequence[str], settings: DataSettings, report: Report
) -> tuple[Set, Copies]:
    """The training pictures, without copies where ``settings.copies`` says so, and what was found."""
    found = find_copies(digests, torch.cat([train.labels, test.labels]), len(train), names)
    copies, dropped = found.copies, len(train) - len(found.clean)
    if settings.copies == "drop" and dropped:
        train, copies = train.take(found.clean), copies.model_copy(update={"dropped": dropped})
    for line in complaints(copies, len(test)):
        report(line)
    return train, copies


def _belong_in_memory(headers: Looks, settings: DataSettings) -> bool:
    if settings.storage != "auto":
        return settings.storage == "memory"
    if settings.source == "imagenet":
        return False
    return _bytes(headers, _channels(headers, settings), settings.size) <= LARGEST_IN_MEMORY


def _channels(pictures: Looks, settings: DataSettings) -> int:
    all_gray = settings.source != "imagenet" and bool(pictures.gray.all())
    return settings.channels or (GRAY if all_gray else COLOUR)


def _tell(pictures: Looks, settings: DataSettings, report: Report) -> None:
    """Say what was converted."""
    gray = int(pictures.gray.sum())
    colour, channels = len(pictures) - gray, _channels(pictures, settings)
    if pictures.oddities:
        report(f"data: converted to 8-bit gray or RGB: {pictures.conversions}")
    if channels == COLOUR and gray:
        report(f"data: {gray} gray pictures are converted to 3 channels ({colour} are in colour)")
    if channels == GRAY and colour:
        report(f"data: {colour} colour pictures are converted to gray, as data.channels: 1 asks")


def _tell_cut(sides_N2: Sides, settings: DataSettings, report: Report, *, streamed: bool) -> None:
    """Say how much of the pictures no evaluation sees."""
    shares = cut_off(sides_N2, settings.fit, streamed=streamed)
    if shares.max() > 0:
        mean, most = f"{sum(map(float, shares)) / len(shares):.0%}", f"{shares.max():.0%}"
        much = f"{mean} of every picture" if shares.min() == shares.max() else f"{mean} on average, at most {most}"
        where = " in evaluation" if streamed else ""
        report(f"data.fit: {settings.fit} cuts off {much}{where}; pad and stretch show all")


def _bytes(headers: Looks, channels: int, size: int | None) -> int:
    if size is not None:
        return len(headers) * channels * size * size
    return channels * int(headers.sides.prod(1, dtype=np.int64).sum())


def _decoded(root: Path, names: Names, channels: int, settings: DataSettings) -> tuple[Tensor, Looks]:
    """Pixels uint8 [N, C, H, W] of all files, and what else is to be known of them."""

    def decode(name: str) -> tuple[str, Tensor, Seen]:
        picture = decode_picture(root / name)
        image = in_mode(picture.image, MODES[channels])
        view = image if settings.size is None else square_view(image, settings.size, settings.fit)
        return name, pixels_of(view), picture.seen()

    images, first = torch.empty(0), ""

    def filled() -> Iterator[Seen]:
        nonlocal images, first
        for row, (name, image_CHW, seen) in enumerate(in_threads(decode, names)):
            if row == 0:
                images, first = torch.empty(len(names), *image_CHW.shape, dtype=torch.uint8), name
            _same_size(images, image_CHW, first, name)
            images[row] = image_CHW
            yield seen

    looks = Looks.at(filled(), len(names))
    return images, looks


def _same_size(images: Tensor, image: Tensor, first: str, name: str) -> None:
    if images.shape[1:] != image.shape:
        (height, width), (other_height, other_width) = images.shape[2:], image.shape[1:]
        raise UserError(
            f"data.size: pictures differ in size, {first} is {height} x {width} and {name}"
            f" is {other_height} x {other_width} (height x width); set the side in pixels they are resized to"
        )

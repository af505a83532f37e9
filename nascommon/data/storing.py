"""Pictures get one channel count, one size and one home: a block of pixels, or files that will be streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nascommon.data.pictures import Header, central, conversions, in_threads, open_picture, read_headers
from nascommon.data.samples import Paths, Pixels, Samples
from nascommon.data.settings import DataSettings
from nascommon.settings import UserError

LARGEST_IN_MEMORY = 2_000_000_000
"""Bytes of uint8 pixels up to which an image folder is kept in memory."""
GRAY, COLOUR = 1, 3


@dataclass(frozen=True)
class Stored:
    """Both sets in their final form; ``height`` and ``width`` are what a network sees."""

    train: Samples
    test: Samples
    channels: int
    height: int
    width: int


def store(
    train: Samples,
    test: Samples,
    classes: tuple[str, ...],
    settings: DataSettings,
    folder: Path,
    report: Callable[[str], None],
) -> Stored:
    """Convert channels, resize, and decide between memory and files; ``folder`` receives pictures that must be written.

    Raises:
        UserError: pictures that cannot be read, or that differ in size while ``settings.size`` is empty.
    """
    if isinstance(train, Pixels) and isinstance(test, Pixels):
        return _from_pixels(train, test, classes, settings, folder)
    assert isinstance(train, Paths)
    assert isinstance(test, Paths)
    return _from_paths(train, test, settings, report)


def _from_pixels(train: Pixels, test: Pixels, classes: tuple[str, ...], settings: DataSettings, folder: Path) -> Stored:
    channels = settings.channels or train.images.shape[1]
    train, test = (Pixels(_with_channels(part.images, channels), part.labels) for part in (train, test))
    if settings.storage == "files":
        assert settings.size is not None
        written = [_write_pictures(part, folder, name, classes) for name, part in (("train", train), ("test", test))]
        return Stored(written[0], written[1], channels, settings.size, settings.size)
    if settings.size is not None:
        from torchvision.transforms.v2 import functional as vision

        side = [settings.size, settings.size]
        train, test = (Pixels(vision.resize(part.images, side, antialias=True), part.labels) for part in (train, test))
    height, width = train.images.shape[2:]
    return Stored(train, test, channels, height, width)


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
        Image.fromarray(pixels).save(folder / name / names[-1])
    return Paths(folder / name, tuple(names), part.labels)


def _from_paths(train: Paths, test: Paths, settings: DataSettings, report: Callable[[str], None]) -> Stored:
    headers = read_headers(train.root, train.names + test.names)
    channels = _channels(headers, settings, report)
    if settings.source == "imagenet" and settings.storage == "auto":
        in_memory = False
    elif settings.storage == "auto":
        in_memory = _bytes(headers, channels, settings.size) <= LARGEST_IN_MEMORY
    else:
        in_memory = settings.storage == "memory"
    if in_memory:
        height, width = _side(headers, settings)
        pixels = [_decoded(part, channels, height, width, settings.size) for part in (train, test)]
        return Stored(pixels[0], pixels[1], channels, height, width)
    if settings.size is None:
        raise UserError(
            f"data.size: {train.root} is over 2 GB in memory, so its files are streamed and need one side in pixels,"
            " for example 224 (got null)"
        )
    return Stored(train, test, channels, settings.size, settings.size)


def _channels(headers: Sequence[Header], settings: DataSettings, report: Callable[[str], None]) -> int:
    gray = sum(header.gray for header in headers)
    colour = len(headers) - gray
    inferred = GRAY if colour == 0 and settings.source != "imagenet" else COLOUR
    channels = settings.channels or inferred
    odd = conversions(headers)
    if odd:
        report(f"data: converted to 8-bit gray or RGB: {odd}")
    if channels == COLOUR and gray:
        report(f"data: {gray} gray pictures are converted to 3 channels ({colour} are in colour)")
    if channels == GRAY and colour:
        report(f"data: {colour} colour pictures are converted to gray, as data.channels: 1 asks")
    return channels


def _bytes(headers: Sequence[Header], channels: int, size: int | None) -> int:
    if size is not None:
        return len(headers) * channels * size * size
    return channels * sum(header.height * header.width for header in headers)


def _side(headers: Sequence[Header], settings: DataSettings) -> tuple[int, int]:
    if settings.size is not None:
        return settings.size, settings.size
    first = headers[0]
    for other in headers:
        if (other.height, other.width) != (first.height, first.width):
            raise UserError(
                f"data.size: pictures differ in size, {first.name} is {first.height} x {first.width} and {other.name}"
                f" is {other.height} x {other.width} (height x width); set the side in pixels they are resized to"
            )
    return first.height, first.width


def _decoded(part: Paths, channels: int, height: int, width: int, size: int | None) -> Pixels:
    def decode(name: str) -> Tensor:
        image = open_picture(part.root / name, channels)
        view = image if size is None or image.size == (size, size) else central(image, size, size)
        return torch.from_numpy(np.array(view)).reshape(height, width, channels).permute(2, 0, 1)

    images = torch.empty(len(part), channels, height, width, dtype=torch.uint8)
    for index, image_CHW in enumerate(in_threads(decode, part.names)):
        images[index] = image_CHW
    return Pixels(images, part.labels)

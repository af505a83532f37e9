"""Mean and standard deviation per channel: the published ones if there are any, else the training pictures' own."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from nascommon.data.fitting import Fit, evaluation_view
from nascommon.data.pictures import open_picture
from nascommon.data.samples import Paths, Pixels, Samples, pixels_of
from nascommon.data.verifying import in_threads
from nascommon.settings import UserError

Moments = tuple[tuple[float, ...], tuple[float, ...]]

PUBLISHED: dict[str, Moments] = {
    # The released DARTS and P-DARTS codes (utils.py), and the PyTorch ImageNet example.
    "cifar10": ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
LEVELS = 256
SAMPLE = 10_000
"""Files decoded at most to estimate the moments; the error of a mean is then far below one grey level."""


def moments(source: str, train: Samples, channels: int, size: int, fit: Fit, generator: torch.Generator) -> Moments:
    """Mean and standard deviation per channel, for pixels in [0, 1].

    Files are looked at in the evaluation view, at most 10 000 of them, drawn by ``generator``.

    Raises:
        UserError: a channel is the same everywhere, or a file cannot be decoded.
    """
    if source in PUBLISHED and channels == len(PUBLISHED[source][0]):
        return PUBLISHED[source]
    histogram_CV = _histogram(train, channels, size, fit, generator)
    share_CV = histogram_CV / histogram_CV.sum(1, keepdim=True)
    value_V = torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    mean_C = share_CV @ value_V
    std_C = (share_CV * (value_V - mean_C[:, None]) ** 2).sum(1).sqrt()
    if bool((std_C == 0).any()):
        raise UserError("data: the training pictures are one flat colour in at least one channel; check the pictures")
    return tuple(mean_C.tolist()), tuple(std_C.tolist())


@singledispatch
def _histogram(train: Samples, channels: int, size: int, fit: Fit, generator: torch.Generator) -> Tensor:
    """Count the values 0..255 of each channel [C, V] as a network sees the pictures."""
    raise NotImplementedError(type(train).__name__)


@_histogram.register
def _(train: Pixels, *_view: object) -> Tensor:
    return _counts(train.images)


@_histogram.register
def _(train: Paths, channels: int, size: int, fit: Fit, generator: torch.Generator) -> Tensor:
    sample = train.take(torch.randperm(len(train), generator=generator)[:SAMPLE].sort().values)

    def one(name: str) -> Tensor:
        return _counts(pixels_of(evaluation_view(open_picture(sample.root / name, channels), size, fit))[None])

    total = torch.zeros(channels, LEVELS, dtype=torch.float64)
    for histogram in in_threads(one, sample.names):
        total += histogram
    return total


def _counts(images_NCHW: Tensor) -> Tensor:
    channels = images_NCHW.transpose(0, 1).flatten(1)
    return torch.stack([torch.bincount(pixels, minlength=LEVELS) for pixels in channels]).double()

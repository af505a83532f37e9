"""The stem stands before the first cell: one convolution for small images, three that halve each time for large ones.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.space.operations import ReluFirst, State, apply

Stem = Literal["cifar", "imagenet"]
STEM_MULTIPLIER = 3
"""The stem of small images gives three times the channels of the first cell, and so does that of a supernet."""


def build_stem(stem: Stem, image_channels: int, width: int) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """Build the stem and return the channels of its two outputs.

    Raises:
        ValueError: ``width`` is odd and the ImageNet stem needs its half.
    """
    if stem == "cifar":
        conv = nn.Conv2d(image_channels, width, 3, padding=1, bias=False)
        return nn.ModuleList([nn.Sequential(conv, BatchNorm(width))]), (width, width)
    if width % 2:
        raise ValueError(f"the ImageNet stem needs an even width, got {width}")
    half = width // 2
    first = nn.Sequential(
        nn.Conv2d(image_channels, half, 3, stride=2, padding=1, bias=False),
        BatchNorm(half),
        nn.ReLU(),
        nn.Conv2d(half, width, 3, stride=2, padding=1, bias=False),
        BatchNorm(width),
    )
    second = ReluFirst(nn.ReLU(), nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), BatchNorm(width))
    return nn.ModuleList([first, second]), (width, width)


def stem_outputs(stem: nn.ModuleList, images_BCHW: Tensor) -> tuple[State, ...]:
    """Return the two inputs that a first cell may read; the ImageNet stem halves once more between them."""
    first = State(stem[0](images_BCHW))
    return (first, first) if len(stem) == 1 else (first, State(apply(stem[1], first)))

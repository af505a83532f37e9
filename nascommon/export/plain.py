"""Everything an exported network is made of, in PyTorch alone: an export in Python is the source of what it needs here.

Of this package it may import ``given`` alone, which is copied, too. The modules compute what the fast ones in
``nascommon.space`` compute, and their tensors have the same names, so that the weights fit as they are.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W`` of the network's input, ``h``, ``w`` of a picture as it comes,
``K`` classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.export.given import as_batch

# -- before the network ---------------------------------------------------------------------------------------------


class Resize(nn.Module):
    """Brings pictures of any size to the network's, as they were for its training, but for rounding.

    A triangle filter that widens where a picture shrinks, which is Pillow's BILINEAR, written as a product with one
    matrix for the rows and one for the columns. Cutting out and padding are rows of these matrices left out or zero.
    """

    def __init__(self, size: tuple[int, int], fit: str, cover: tuple[int, int]) -> None:
        """Remember the sizes.

        Args:
            size: height and width that the network takes.
            fit: ``crop``, ``pad`` or ``stretch``.
            cover: height and width that a picture must cover before its centre is cut out with ``crop``.
        """
        super().__init__()
        self.size, self.fit, self.cover = size, fit, cover

    def forward(self, levels_BChw: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        h, w = (torch.scalar_tensor(side, dtype=torch.float64) for side in levels_BChw.shape[2:])
        rows, columns = self.resized(h, w)
        down_Hh = self.weights(levels_BChw.shape[2], h, rows, self.size[0]).to(levels_BChw)
        across_Ww = self.weights(levels_BChw.shape[3], w, columns, self.size[1]).to(levels_BChw)
        return down_Hh @ (levels_BChw @ across_Ww.T)

    def resized(self, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return height and width that a picture is resized to before it is cut or padded."""
        if self.fit == "crop":
            height, width = self.cover
            return (width * h / w).floor().clamp(min=height), (height * w / h).floor().clamp(min=width)
        height, width = self.size
        if self.fit == "pad":
            return (h / w * width).round().clamp(max=height), (w / h * height).round().clamp(max=width)
        return torch.full_like(h, height), torch.full_like(w, width)

    @staticmethod
    def weights(pixels: int, length: Tensor, resized: Tensor, size: int) -> Tensor:
        """Return what each of ``size`` pixels takes of each of the picture's, [size, pixels].

        Args:
            pixels: number of the picture's, along a row or a column.
            length: the same as a tensor.
            resized: pixels that they become.
            size: pixels that are kept of these, from the middle; or more, the others being black.
        """
        positions = torch.arange(size, dtype=torch.float64) + ((resized - size) / 2).round()
        scale = length / resized
        centres, taps = (positions + 0.5) * scale, torch.arange(pixels, dtype=torch.float64) + 0.5
        weights = (1 - (taps - centres[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
        inside = (positions >= 0) & (positions < resized)
        return torch.where(inside[:, None], weights / weights.sum(1, keepdim=True), 0)


class Classifier(nn.Module):
    """Takes pictures as they are and returns the probability of each class."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, resize: Resize, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Wrap a network that returns logits; mean and standard deviation of each channel are of pixels in [0, 1]."""
        super().__init__()
        self.network, self.resize, self.channels = network, resize, len(mean)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, pictures: Any) -> Tensor:
        """Return probabilities [B, K] of whatever ``as_batch`` takes; pictures of several sizes come one by one.

        Raises:
            ValueError: as ``as_batch``.
        """
        return self.probabilities(as_batch(pictures, self.channels).to(self.mean.device))

    def probabilities(self, levels_BChw: Tensor) -> Tensor:
        """Return probabilities [B, K] of levels from 0 to 255 with the network's channels, of any number type."""
        return self.of_resized(self.resize(levels_BChw.float()))

    def of_resized(self, levels_BCHW: Tensor) -> Tensor:
        """Return probabilities [B, K] of levels from 0 to 255 that have the network's size already."""
        return torch.softmax(self.network((levels_BCHW / 255 - self.mean) / self.std), dim=1)


# -- weights --------------------------------------------------------------------------------------------------------

TYPES = {"F32": torch.float32, "I64": torch.int64}
"""Types of the tensors in our files, by their names there."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read tensors by name: eight bytes give the length of a JSON header, which says where each tensor lies."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, told in header.items():
        begin, end = told["data_offsets"]
        numbers = torch.frombuffer(content[start + begin : start + end], dtype=TYPES[told["dtype"]])
        tensors[name] = numbers.reshape(told["shape"])
    return tensors


# -- operations -----------------------------------------------------------------------------------------------------


class Halves(nn.Module):
    """Two 1x1 convolutions that halve a map, one of its even pixels and one of its odd ones."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, channels, H / 2, W / 2]."""
        return torch.cat([self.even(x_BCHW), self.odd(x_BCHW[:, :, 1:, 1:])], dim=1)


def factorized_reduce(channels_in: int, channels: int) -> nn.Module:
    """Return what halves height and width without losing every second pixel."""
    return nn.Sequential(nn.ReLU(), Halves(channels_in, channels), nn.BatchNorm2d(channels))


def relu_conv_bn(channels_in: int, channels: int, kernel: int = 1, stride: int = 1) -> nn.Module:
    """Return ReLU, convolution and batch norm."""
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels))


def preprocess(channels_in: int, channels: int, *, halves: bool) -> nn.Module:
    """Return what brings an input of a cell to its width, and to the size of the other input where that is half."""
    return factorized_reduce(channels_in, channels) if halves else relu_conv_bn(channels_in, channels)


def separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """Return ReLU, depthwise and pointwise convolution, and batch norm."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]


def sep_conv(channels: int, kernel: int, stride: int) -> nn.Module:
    """Return a separable convolution twice; only the first has the stride."""
    return nn.Sequential(*separable(channels, kernel, stride), *separable(channels, kernel, 1))


def dil_conv(channels: int, kernel: int, stride: int) -> nn.Module:
    """Return a separable convolution with gaps of one pixel."""
    return nn.Sequential(*separable(channels, kernel, stride, dilation=2))


def conv_7x1_1x7(channels: int, stride: int) -> nn.Module:
    """Return a convolution of seven columns and one of seven rows."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        nn.BatchNorm2d(channels),
    )


def skip(channels: int, stride: int) -> nn.Module:
    """Return the identity, or what halves the map."""
    return nn.Identity() if stride == 1 else factorized_reduce(channels, channels)


def max_pool(stride: int) -> nn.Module:
    """Return the largest of three by three pixels."""
    return nn.MaxPool2d(3, stride, padding=1)


def avg_pool(stride: int) -> nn.Module:
    """Return the mean of those of three by three pixels that lie in the map."""
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


# -- frames ---------------------------------------------------------------------------------------------------------


def cifar_stem(channels_in: int, channels: int) -> nn.ModuleList:
    """Return one convolution, whose output is both inputs of the first cell."""
    conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    return nn.ModuleList([nn.Sequential(conv, nn.BatchNorm2d(channels))])


def imagenet_stem(channels_in: int, channels: int) -> nn.ModuleList:
    """Return convolutions that halve the picture twice, and one that halves it once more, for the second input."""
    first = nn.Sequential(
        nn.Conv2d(channels_in, channels // 2, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels // 2),
        nn.ReLU(),
        nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    return nn.ModuleList([first, relu_conv_bn(channels, channels, 3, 2)])


class ResidualBlock(nn.Module):
    """Halves height and width: two convolutions, beside them a pool and a projection."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = relu_conv_bn(channels_in, channels, 3, 2)
        self.second = relu_conv_bn(channels, channels, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels_in, channels, 1, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, channels, H / 2, W / 2]."""
        halved: Tensor = self.second(self.first(x_BCHW)) + self.shortcut(x_BCHW)
        return halved

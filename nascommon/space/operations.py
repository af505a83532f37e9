"""The candidate operations of the DARTS space, each a small module that keeps the channels (methods.md, section 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

CANDIDATES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The papers' eight candidates; ties, checkpoints and plots depend on this order."""

WITHOUT_NONE = tuple(name for name in CANDIDATES if name != "none")
"""The seven that DA2S and several others search among."""

PARAMETER_FREE = frozenset({"none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"})


class Zero(nn.Module):
    """The operation ``none``: zeros, of the size that the stride leaves."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return zeros of shape [B, C, H / stride, W / stride]."""
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """Halve height and width by two stride-2 convolutions of which the second looks one pixel further."""

    def __init__(self, channels_in: int, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"FactorizedReduce needs an even number of output channels, got {channels}")
        self.relu = nn.ReLU()
        self.conv_even = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.conv_odd = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, channels, H / 2, W / 2]; H and W must be even."""
        x_BCHW = self.relu(x_BCHW)
        halves = [self.conv_even(x_BCHW), self.conv_odd(x_BCHW[:, :, 1:, 1:])]
        out: Tensor = self.norm(torch.cat(halves, dim=1))
        return out


def relu_conv_bn(channels_in: int, channels: int, *, affine: bool = True) -> nn.Sequential:
    """ReLU, 1x1 convolution, batch norm: brings a cell input to the cell's width."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels, affine=affine)
    )


class StridedDilatedConv(nn.Conv2d):
    """A depthwise convolution of equal stride and dilation, computed densely on the pixels that it can see at all.

    Its taps only ever meet every ``stride``-th pixel, so it equals an undilated convolution of those: the same sums,
    and on a CPU up to ten times faster, since the dilated backward pass has no good kernel there.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, H / stride, W / stride]."""
        step = self.stride[0]
        return functional.conv2d(
            x_BCHW[:, :, ::step, ::step], self.weight, padding=self.kernel_size[0] // 2, groups=self.groups
        )


def _separable_half(channels: int, kernel: int, stride: int, dilation: int, *, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    depthwise = StridedDilatedConv if stride == dilation > 1 else nn.Conv2d
    return [
        nn.ReLU(),
        depthwise(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def _sep_conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        first = _separable_half(channels, kernel, stride, 1, affine=affine)
        return nn.Sequential(*first, *_separable_half(channels, kernel, 1, 1, affine=affine))

    return build


def _dil_conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        return nn.Sequential(*_separable_half(channels, kernel, stride, 2, affine=affine))

    return build


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


def _conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


OperationBuilder = Callable[[int, int, bool], nn.Module]
"""(channels, stride, affine) -> module that maps [B, C, H, W] to [B, C, H / stride, W / stride]."""

OPERATIONS: dict[str, OperationBuilder] = {
    "none": lambda _channels, stride, _affine: Zero(stride),
    "max_pool_3x3": lambda _channels, stride, _affine: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda _channels, stride, _affine: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "skip_connect": _skip,
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "sep_conv_7x7": _sep_conv(7),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
    "conv_7x1_1x7": _conv_7x1_1x7,
}
"""Every operation by name; the last two of its kind only occur in the cells of NASNet and AmoebaNet."""


def search_operation(name: str, channels: int, stride: int) -> nn.Module:
    """Build an operation for the supernet: batch norm without affine parameters, and one more after each pool.

    The affine scale would compete with the mixing weights (methods.md, section 1; quark0/darts#10). An identity is a
    dropout of probability 0, which P-DARTS raises (``Supernet.set_skip_dropout``).
    """
    operation = OPERATIONS[name](channels, stride, False)
    if isinstance(operation, (nn.MaxPool2d, nn.AvgPool2d)):
        return nn.Sequential(operation, nn.BatchNorm2d(channels, affine=False))
    return nn.Dropout(0.0) if isinstance(operation, nn.Identity) else operation

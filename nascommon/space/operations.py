"""The candidate operations of the DARTS space, each a small module that keeps the channels.

They are defined in docs/methods.md, section 2.2. Every operation with weights begins with a ReLU and ends in batch norm
(``ReluFirst``): those that read the same state share the one, and the supernet puts the mixing weight into the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels.average import AveragePool
from nascommon.kernels.batch_norm import BatchNorm
from nascommon.kernels.depthwise import depthwise, fast_path_applies, repeat_channels
from nascommon.kernels.home import on_cpu
from nascommon.kernels.pointwise import blocks, halves_as_product, multiplies, product
from nascommon.runtime.dial import Dial

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

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
PARAMETER_FREE = frozenset({"none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "noise"})


class Zero(nn.Module):
    """The operation ``none``: zeros, of the size that the stride leaves."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return zeros of shape [B, C, H / stride, W / stride]."""
        return torch.zeros_like(x_BCHW[:, :, :: self.stride, :: self.stride])


class Noise(nn.Module):
    """The operation ``noise``: numbers from N(0, 1), drawn anew in every pass and free of the input (S4)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return noise of shape [B, C, H / stride, W / stride]."""
        return torch.randn_like(x_BCHW[:, :, :: self.stride, :: self.stride])


def subsampled(step: int, x_BCHW: Tensor, start: int = 0) -> Tensor:
    """Return every ``step``-th pixel in both directions, from pixel ``start`` on: [B, C, H / step, W / step].

    Sliced as pixels of channels, the gradient, too, comes in channels-last layout; that of a plain slice does not, and
    whatever follows would have to convert it.
    """
    return x_BCHW.permute(0, 2, 3, 1)[:, start::step, start::step].permute(0, 3, 1, 2)


def global_mean(x_BCHW: Tensor) -> Tensor:
    """Return the mean over all pixels [B, C]; its gradient, too, comes in channels-last layout."""
    return x_BCHW.permute(0, 2, 3, 1).mean(dim=(1, 2))


class State:
    """A tensor that several operations read, and its ReLU, which is computed once and when it is first asked for."""

    def __init__(self, x_BCHW: Tensor) -> None:
        self.x_BCHW = x_BCHW

    @cached_property
    def rectified(self) -> Tensor:
        """Beginning of every operation with weights."""
        return self.x_BCHW.relu()


def reads_dials(x_BCHW: Tensor) -> bool:
    """Return whether what is computed on a device reads from it what changes by the epoch."""
    return not on_cpu(x_BCHW)


class SkipDropout(nn.Dropout):
    """The identity of a supernet, which a method may let drop elements in training (P-DARTS, section 3.3)."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self._probability = Dial()

    def turn(self, probability: float) -> None:
        """Set the probability."""
        self.p = self._probability.value = probability

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        if not self.training or not reads_dials(x_BCHW):
            return super().forward(x_BCHW)
        keep = 1 - self._probability.on(x_BCHW.device)
        return x_BCHW * torch.empty_like(x_BCHW).bernoulli_(keep).div_(keep)


class ReluFirst(nn.Sequential):
    """An operation with weights: a ReLU, convolutions and what is between them, batch norm."""

    def forward(self, x_BCHW: Tensor, rectified_BCHW: Tensor | None = None) -> Tensor:
        """Compute the operation; its first ReLU may have been computed before."""
        relu, *layers = self
        x_BCHW = relu(x_BCHW) if rectified_BCHW is None else rectified_BCHW
        for layer in layers:
            x_BCHW = layer(x_BCHW)
        return x_BCHW


def apply(operation: nn.Module, state: State) -> Tensor:
    """Compute any operation on a state."""
    inputs = (state.x_BCHW, state.rectified) if isinstance(operation, ReluFirst) else (state.x_BCHW,)
    out: Tensor = operation(*inputs)
    return out


class Convolution(nn.Conv2d):
    """A convolution without bias that can run stacked with others of its kind."""

    @staticmethod
    def side_by_side(convolutions: Sequence[Convolution], x_BCHW: Tensor) -> Tensor:
        """Run ``G`` convolutions of one shape as one and return [B, G * channels, H', W'].

        Args:
            convolutions: of the same kernel, stride, padding, dilation and groups.
            x_BCHW: their inputs one after the other [B, G * C, H, W], or one input [B, C, H, W] for all.
        """
        first, G = convolutions[0], len(convolutions)
        if G == 1:
            out: Tensor = first(x_BCHW)
            return out
        kernels = torch.cat([convolution.weight for convolution in convolutions])
        dense_on_one = first.groups == 1 and x_BCHW.shape[1] == first.in_channels
        return first.run(x_BCHW, kernels, 1 if dense_on_one else G * first.groups)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, channels, H', W']."""
        return self.run(x_BCHW, self.weight, self.groups)

    def run(self, x_BCHW: Tensor, kernels: Tensor, groups: int) -> Tensor:
        """Convolve with other kernels in as many groups."""
        if self.dilation != (1, 1) and torch.is_autocast_enabled("cpu") and on_cpu(x_BCHW):
            # oneDNN's gradient of a dilated depthwise kernel in bfloat16 is noise or infinite on maps of 32 x 32 and
            # more, and may end the process.
            with torch.autocast("cpu", enabled=False):
                return self.run(x_BCHW.float(), kernels.float(), groups).bfloat16()
        if groups > 1 and self.is_pointwise and multiplies(x_BCHW):
            return product(x_BCHW, blocks(kernels, groups))
        if self.keeps_size and groups == len(kernels) and fast_path_applies(x_BCHW, kernels):
            return depthwise(x_BCHW, kernels, self.dilation[0])
        seen_BCHW = repeat_channels(x_BCHW, groups * kernels.shape[1])
        return functional.conv2d(seen_BCHW, kernels, None, self.stride, self.padding, self.dilation, groups)

    @cached_property
    def is_pointwise(self) -> bool:
        """Return whether it takes every pixel for itself, and none twice or not at all."""
        return self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0)

    @cached_property
    def keeps_size(self) -> bool:
        """Return whether it is a square kernel of odd side, padded so that the size stays."""
        reach = self.dilation[0] * (self.kernel_size[0] // 2)
        return (
            self.stride == (1, 1) and self.kernel_size[0] == self.kernel_size[1] > 1 and self.padding == (reach, reach)
        )


class StridedDilatedConv(Convolution):
    """A depthwise convolution of equal stride and dilation, computed densely on the pixels that it can see at all.

    Its taps only ever meet every ``stride``-th pixel, so it equals an undilated convolution of those: the same sums,
    and on a CPU up to ten times faster, since the dilated backward pass has no good kernel there.
    """

    def run(self, x_BCHW: Tensor, kernels: Tensor, groups: int) -> Tensor:
        """Convolve with other kernels in as many groups; the result has the size [H / stride, W / stride]."""
        seen_BCHW = subsampled(self.stride[0], x_BCHW)
        if fast_path_applies(x_BCHW, kernels):
            return depthwise(seen_BCHW, kernels)
        return functional.conv2d(
            repeat_channels(seen_BCHW, groups), kernels, padding=self.kernel_size[0] // 2, groups=groups
        )


class Halves(nn.Module):
    """Two 1x1 convolutions, each for half of the channels, one of the even pixels and one of the odd ones."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.even = Convolution(channels_in, channels // 2, 1, bias=False)
        self.odd = Convolution(channels_in, channels // 2, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, channels, H / 2, W / 2]; H and W must be even."""
        if multiplies(x_BCHW):
            return Halves.side_by_side([self], x_BCHW)
        return torch.cat([self.even(subsampled(2, x_BCHW)), self.odd(subsampled(2, x_BCHW, 1))], dim=1)

    @staticmethod
    def side_by_side(pairs: Sequence[Halves], x_BCHW: Tensor) -> Tensor:
        """Run ``G`` of them on one input and return [B, G * channels, H / 2, W / 2]."""
        if multiplies(x_BCHW):
            return product(*halves_as_product(x_BCHW, [(pair.even.weight, pair.odd.weight) for pair in pairs]))
        even = Convolution.side_by_side([pair.even for pair in pairs], subsampled(2, x_BCHW)).chunk(len(pairs), dim=1)
        odd = Convolution.side_by_side([pair.odd for pair in pairs], subsampled(2, x_BCHW, 1)).chunk(len(pairs), dim=1)
        return torch.cat([half for pair in zip(even, odd, strict=True) for half in pair], dim=1)


class FactorizedReduce(ReluFirst):
    """Halve height and width without losing every second pixel."""

    def __init__(self, channels_in: int, channels: int, *, affine: bool = True) -> None:
        if channels % 2:
            raise ValueError(f"FactorizedReduce needs an even number of output channels, got {channels}")
        super().__init__(nn.ReLU(), Halves(channels_in, channels), BatchNorm(channels, affine=affine))


def relu_conv_bn(channels_in: int, channels: int, *, affine: bool = True) -> ReluFirst:
    """ReLU, 1x1 convolution, batch norm: brings a cell input to the cell's width."""
    return ReluFirst(nn.ReLU(), nn.Conv2d(channels_in, channels, 1, bias=False), BatchNorm(channels, affine=affine))


def preprocess(
    cell: nn.Module, channels_in: Sequence[int], channels: int, *, halved_before: bool, affine: bool
) -> tuple[str, ...]:
    """Give a cell what brings each of its inputs to its width, as ``preprocess0`` and so on, and return these names.

    Args:
        cell: takes the modules.
        channels_in: of its inputs; the last is the output of the cell just before.
        channels: of the cell.
        halved_before: whether the earlier inputs are twice as high and wide as the last.
        affine: of batch norm.
    """
    names = tuple(f"preprocess{position}" for position in range(len(channels_in)))
    for position, (name, width) in enumerate(zip(names, channels_in, strict=True), start=1):
        build = FactorizedReduce if halved_before and position < len(names) else relu_conv_bn
        cell.add_module(name, build(width, channels, affine=affine))
    return names


def brought(cell: nn.Module, names: Sequence[str], inputs: Sequence[State]) -> list[Tensor]:
    """Return a cell's inputs at its width: as ``preprocess`` brings them there, or as they are where nothing need."""
    if not names:
        return [state.x_BCHW for state in inputs]
    return [apply(getattr(cell, name), state) for name, state in zip(names, inputs, strict=True)]


def _separable_half(channels: int, kernel: int, stride: int, dilation: int, *, affine: bool) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    depthwise = StridedDilatedConv if stride == dilation > 1 else Convolution
    return [
        nn.ReLU(),
        depthwise(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        Convolution(channels, channels, 1, bias=False),
        BatchNorm(channels, affine=affine),
    ]


def _sep_conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        first = _separable_half(channels, kernel, stride, 1, affine=affine)
        _, *second = _separable_half(channels, kernel, 1, 1, affine=affine)
        return ReluFirst(*first, nn.ReLU(inplace=True), *second)  # batch norm keeps its input, not its output

    return build


def _dil_conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        return ReluFirst(*_separable_half(channels, kernel, stride, 2, affine=affine))

    return build


def _skip(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)


def _conv_7x1_1x7(channels: int, stride: int, affine: bool) -> nn.Module:
    return ReluFirst(
        nn.ReLU(),
        Convolution(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        Convolution(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        BatchNorm(channels, affine=affine),
    )


OperationBuilder = Callable[[int, int, bool], nn.Module]
"""(channels, stride, affine) -> module that maps [B, C, H, W] to [B, C, H / stride, W / stride]."""

OPERATIONS: dict[str, OperationBuilder] = {
    "none": lambda _channels, stride, _affine: Zero(stride),
    "max_pool_3x3": lambda _channels, stride, _affine: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda _channels, stride, _affine: AveragePool(3, stride, 1),
    "skip_connect": _skip,
    "sep_conv_3x3": _sep_conv(3),
    "sep_conv_5x5": _sep_conv(5),
    "sep_conv_7x7": _sep_conv(7),
    "dil_conv_3x3": _dil_conv(3),
    "dil_conv_5x5": _dil_conv(5),
    "conv_7x1_1x7": _conv_7x1_1x7,
    "noise": lambda _channels, stride, _affine: Noise(stride),
}
"""Every operation by name; ``sep_conv_7x7`` and ``conv_7x1_1x7`` only occur in the cells of NASNet and AmoebaNet."""


def search_operation(name: str, channels: int, stride: int, affine: bool = False) -> nn.Module:
    """Build an operation for the supernet: batch norm without affine parameters, and one more after each pool.

    The affine scale would compete with the mixing weights (docs/methods.md, section 2.2; quark0/darts#10).
    """
    operation = bare_operation(name, channels, stride, affine)
    if isinstance(operation, POOLS):
        return nn.Sequential(operation, BatchNorm(channels, affine=affine))
    return operation


def bare_operation(name: str, channels: int, stride: int, affine: bool = False) -> nn.Module:
    """Build an operation for the supernet as it is, but for the identity, which is a dropout of probability 0.

    P-DARTS raises that (``Supernet.set_skip_dropout``).
    """
    operation = OPERATIONS[name](channels, stride, affine)
    return SkipDropout() if isinstance(operation, nn.Identity) else operation

"""Depthwise convolutions of several kinds and edges that read one map, computed at once and laid beside each other.

Sides, dilations and edges differ, the map is the same: a GPU of NVIDIA reads it in one launch that writes the outputs
of all of them where they are wanted, its gradient is one sum over all of them, and so are the gradients of their
kernels (``bank_triton``). The ReLU before them is part of it. Elsewhere, and where a gradient shall be differentiated
itself, plain operators give the same.

Suffixes: ``B`` batch, ``C`` channels of a kind's input, ``D`` of all outputs, ``M`` numbers of all kernels,
``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels import bank_launch
from nascommon.kernels.depthwise import repeated_channels


@dataclass(frozen=True)
class Kind:
    """Depthwise convolutions with square kernels of odd side, padded so that only the stride makes a map smaller.

    Attributes:
        side: of a kernel.
        dilation: pixels between neighbouring taps.
        groups: kernels of every channel; the outputs of the first of all channels come first.
    """

    side: int
    dilation: int
    groups: int = 1

    @property
    def taps(self) -> int:
        """Numbers of all kernels of a channel."""
        return self.groups * self.side**2


@dataclass(frozen=True)
class Bank:
    """Kinds of depthwise convolutions of one stride on the ReLU of one map.

    Attributes:
        kinds: one after the other in the output.
        stride: of all.
        shared: whether all kinds read the same channels; otherwise each has its own, which have one kernel each.
        rectified: whether the ReLU comes first.
    """

    kinds: tuple[Kind, ...]
    stride: int = 1
    shared: bool = True
    rectified: bool = True

    @cached_property
    def groups(self) -> int:
        """Channels of the output for every channel of a kind's input."""
        return sum(kind.groups for kind in self.kinds)

    @cached_property
    def taps(self) -> int:
        """Numbers of all kernels of a channel."""
        return sum(kind.taps for kind in self.kinds)

    def channels(self, x_BCHW: Tensor) -> int:
        """Return C, the channels of a kind's input."""
        return x_BCHW.shape[1] if self.shared else x_BCHW.shape[1] // len(self.kinds)

    def size(self, x_BCHW: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output [B, groups * C, H / stride, W / stride], rounded up."""
        B, _, H, W = x_BCHW.shape
        return B, self.groups * self.channels(x_BCHW), -(-H // self.stride), -(-W // self.stride)

    def plain(self, x_BCHW: Tensor, kernels_M: Tensor) -> Tensor:
        """Compute it kind by kind."""
        C, seen_BCHW = self.channels(x_BCHW), x_BCHW.relu() if self.rectified else x_BCHW
        maps = [seen_BCHW] * len(self.kinds) if self.shared else torch.split(seen_BCHW, C, dim=1)
        parts = torch.split(kernels_M.to(x_BCHW.dtype), [kind.taps * C for kind in self.kinds])
        outs = []
        for kind, x, part in zip(self.kinds, maps, parts, strict=True):
            kernels = part.view(kind.side**2, -1).t().reshape(-1, 1, kind.side, kind.side)
            padding = kind.dilation * (kind.side // 2)
            repeated = repeated_channels(x, len(kernels) // C)
            outs.append(functional.conv2d(repeated, kernels, None, self.stride, padding, kind.dilation, len(kernels)))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)


Source = tuple[Bank, Tensor, Tensor]
"""A bank, its map [B, C, H, W] or [B, kinds * C, H, W], and its kernels [taps * C]: kind by kind, tap by tap, those of
all channels of a tap one after the other."""


def beside(sources: Sequence[Source], others: Sequence[Tensor] = ()) -> Tensor:
    """Return the outputs of banks and other maps of their size beside each other [B, D, H', W'], channels last.

    Args:
        sources: at least one.
        others: maps of the same type and size.
    """
    banks = tuple(bank for bank, _, _ in sources)
    tensors = [*(each for _, x, kernels in sources for each in (x, kernels)), *others]
    if all(bank_launch.launches(bank, x) for bank, x, _ in sources):
        out: Tensor = _Beside.apply(banks, *tensors)
        return out
    return _plain(banks, tensors)


def _sorted(banks: Sequence[Bank], tensors: Sequence[Tensor]) -> tuple[list[Source], Sequence[Tensor]]:
    """Return the banks with their map and kernels, which come by turns, and the other maps, which come last."""
    end = 2 * len(banks)
    return list(zip(banks, tensors[:end:2], tensors[1:end:2], strict=True)), tensors[end:]


def _plain(banks: Sequence[Bank], tensors: Sequence[Tensor]) -> Tensor:
    sources, others = _sorted(banks, tensors)
    maps = [*(bank.plain(x, kernels) for bank, x, kernels in sources), *others]
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


def _starts(banks: Sequence[Bank], tensors: Sequence[Tensor]) -> list[int]:
    """Return the channels at which the outputs of banks and the other maps begin, and how many there are."""
    sources, others = _sorted(banks, tensors)
    return [0, *accumulate([*(bank.size(x)[1] for bank, x, _ in sources), *(each.shape[1] for each in others)])]


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(banks: tuple[Bank, ...], *tensors: Tensor) -> Tensor:
        B, _, rows, columns = banks[0].size(tensors[0])
        starts, (sources, others) = _starts(banks, tensors), _sorted(banks, tensors)
        out = tensors[0].new_empty(B, rows, columns, starts[-1]).permute(0, 3, 1, 2)
        for (bank, x, kernels), start in zip(sources, starts[: len(banks)], strict=True):
            bank_launch.forward(bank, x, kernels, out, start)
        for other, start in zip(others, starts[len(banks) : -1], strict=True):
            out[:, start : start + other.shape[1]].copy_(other)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        ctx.banks, *tensors = inputs
        ctx.starts = _starts(ctx.banks, tensors)
        ctx.save_for_backward(*tensors[: 2 * len(ctx.banks)])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope_BDHW,), banks, starts, wanted = slopes, ctx.banks, ctx.starts, ctx.needs_input_grad[1:]
        tensors = ctx.saved_tensors
        of_others = [slope_BDHW[:, start:stop] for start, stop in pairwise(starts[len(banks) :])]
        if torch.is_grad_enabled():  # the gradient shall be differentiated itself
            of_banks = slope_BDHW[:, : starts[len(banks)]]
            return None, *_differentiable(banks, tensors, of_banks, wanted[: len(tensors)]), *of_others
        slope_BDHW = bank_launch.pitched(slope_BDHW)
        found: list[Tensor | None] = []
        for place, (bank, x, kernels) in enumerate(_sorted(banks, tensors)[0]):
            start, (of_input, of_kernels) = starts[place], wanted[2 * place : 2 * place + 2]
            found.append(bank_launch.input_gradient(bank, slope_BDHW, x, kernels, start) if of_input else None)
            found.append(bank_launch.kernel_gradient(bank, slope_BDHW, x, kernels, start) if of_kernels else None)
        return None, *found, *of_others


def _differentiable(
    banks: Sequence[Bank], tensors: Sequence[Tensor], slope_BDHW: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradients of what is wanted, with a history of their own."""
    needed = [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(_plain(banks, tensors), needed, slope_BDHW, create_graph=True) if needed else ())
    return [next(found) if want else None for want in wanted]

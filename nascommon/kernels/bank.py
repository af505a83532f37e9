"""Depthwise convolutions of several kinds and edges that read one map, and pools, computed at once beside each other.

Sides, dilations and edges differ, the map is the same: a GPU of NVIDIA reads it in one launch that writes the outputs
of all of them where they are wanted, its gradient is one sum over all of them, and so are the gradients of their
kernels (``bank_triton``). The ReLU before them is part of it. Elsewhere, and where a gradient shall be differentiated
itself, plain operators give the same.

Suffixes: ``B`` batch, ``C`` channels of a kind's input, ``D`` of all outputs, ``M`` numbers of all kernels,
``H``, ``W``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels import bank_launch
from nascommon.kernels.depthwise import repeated_channels
from nascommon.kernels.pools import Pools
from nascommon.kernels.pools import forward as pools_forward
from nascommon.kernels.pools import gradient as pools_gradient


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


Pooled = tuple[Pools, Tensor]
"""Pools and their map."""


def beside(sources: Sequence[Source], pooled: Pooled | None = None) -> Tensor:
    """Return the outputs of banks, then of pools, beside each other [B, D, H', W'], channels last.

    Args:
        sources: banks; there may be none if there are pools.
        pooled: pools of the same size of output.
    """
    banks, pools = tuple(bank for bank, _, _ in sources), None if pooled is None else pooled[0]
    tensors = [each for _, x, kernels in sources for each in (x, kernels.contiguous())]
    tensors += [] if pooled is None else [pooled[1]]
    launched = [bank_launch.launches(bank, x) for bank, x, _ in sources]
    numbers = sum(math.prod(size) for size in _sizes(banks, pools, tensors))
    if all(launched) and (pooled is None or pooled[0].launches(pooled[1])) and numbers < bank_launch.LARGEST:
        out: Tensor = _Beside.apply(banks, pools, *tensors)[0]
        return out
    return _plain(banks, pools, tensors)


def _sorted(banks: Sequence[Bank], tensors: Sequence[Tensor]) -> list[Source]:
    """Return the banks with their map and kernels, which come by turns; the map of the pools comes last."""
    end = 2 * len(banks)
    return list(zip(banks, tensors[:end:2], tensors[1:end:2], strict=True))


def _plain(banks: Sequence[Bank], pools: Pools | None, tensors: Sequence[Tensor]) -> Tensor:
    maps = [bank.plain(x, kernels) for bank, x, kernels in _sorted(banks, tensors)]
    maps += [] if pools is None else [pools.plain(tensors[-1])]
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


def _sizes(banks: Sequence[Bank], pools: Pools | None, tensors: Sequence[Tensor]) -> list[tuple[int, int, int, int]]:
    """Return the shapes of all outputs."""
    sizes = [bank.size(x) for bank, x, _ in _sorted(banks, tensors)]
    return sizes if pools is None else [*sizes, pools.size(tensors[-1])]


class _Beside(torch.autograd.Function):
    """Returns beside the outputs what pools keep for their gradient."""

    @staticmethod
    def forward(banks: tuple[Bank, ...], pools: Pools | None, *tensors: Tensor) -> tuple[Tensor, Tensor | None]:
        sizes = _sizes(banks, pools, tensors)
        starts, (B, _, rows, columns) = [0, *accumulate(size[1] for size in sizes)], sizes[0]
        out = tensors[0].new_empty(B, rows, columns, starts[-1]).permute(0, 3, 1, 2)
        for (bank, x, kernels), start in zip(_sorted(banks, tensors), starts[: len(banks)], strict=True):
            bank_launch.forward(bank, x, kernels, out, start)
        if pools is None:
            return out, None
        return out, pools_forward(pools, tensors[-1], out[:, starts[len(banks)] :])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor | None]) -> None:
        ctx.banks, ctx.pools, *tensors = inputs
        taps = output[1:] if ctx.pools else ()
        ctx.mark_non_differentiable(*taps)
        ctx.set_materialize_grads(False)
        ctx.starts = [0, *accumulate(size[1] for size in _sizes(ctx.banks, ctx.pools, tensors))]
        # Of a bank that reads the map of the pools, they add to the gradient.
        ctx.onto = next((place for place, x in enumerate(tensors[:-1]) if ctx.pools and x is tensors[-1]), None)
        ctx.save_for_backward(*tensors, *taps)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        (slope_BDHW, _), banks, pools, wanted = slopes, ctx.banks, ctx.pools, ctx.needs_input_grad[2:]
        if slope_BDHW is None:
            return None, None, *(None for _ in wanted)
        tensors = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient shall be differentiated itself
            return None, None, *_differentiable(banks, pools, tensors[: len(wanted)], slope_BDHW, wanted)
        slope_BDHW = bank_launch.pitched(slope_BDHW)
        found: list[Tensor | None] = []
        for place, (bank, x, kernels) in enumerate(_sorted(banks, tensors)):
            start, (of_input, of_kernels) = ctx.starts[place], wanted[2 * place : 2 * place + 2]
            found.append(bank_launch.input_gradient(bank, slope_BDHW, x, kernels, start) if of_input else None)
            found.append(bank_launch.kernel_gradient(bank, slope_BDHW, x, kernels, start) if of_kernels else None)
        if pools is None:
            return None, None, *found
        if not wanted[-1]:
            return None, None, *found, None
        onto, of_pools = None, slope_BDHW[:, ctx.starts[len(banks)] :]
        if ctx.onto is not None:
            onto, found[ctx.onto] = found[ctx.onto], None
        return None, None, *found, pools_gradient(pools, of_pools, tensors[-1], tensors[-2], onto)


def _differentiable(
    banks: Sequence[Bank],
    pools: Pools | None,
    tensors: Sequence[Tensor],
    slope_BDHW: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of what is wanted, with a history of their own."""
    # Read under names of their own, so that what a bank and the pools read alike gets a gradient from each.
    given = [tensor.view_as(tensor) for tensor in tensors]
    needed = [tensor for tensor, want in zip(given, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(_plain(banks, pools, given), needed, slope_BDHW, create_graph=True))
    return [next(found) if want else None for want in wanted]

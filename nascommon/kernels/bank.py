"""Depthwise convolutions of several kinds and edges that read one map, and pools, computed at once beside each other.

Sides, dilations and edges differ, the map is the same: a GPU of NVIDIA reads it in one launch that writes the outputs
of all of them where they are wanted, its gradient is one sum over all of them, and so are the gradients of their
kernels (``bank_triton``). The ReLU before them is part of it. Batches that lie one after the other in a map may each
have kernels of their own in the same launch. A gradient of maps that shall be differentiated itself is made of the same
launches; elsewhere, and where those of kernels shall be, plain operators give the same.

Suffixes: ``B`` batch, ``C`` channels of a kind's input, ``D`` of all outputs, ``M`` numbers of all kernels,
``H``, ``W``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nascommon.kernels import bank_launch
from nascommon.kernels.depthwise import repeated_channels
from nascommon.kernels.handed import Handed, first, room
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

    def batches(self, x_BCHW: Tensor, kernels_M: Tensor) -> int:
        """Return how many batches of equal size the map is, each of which has kernels of its own."""
        return len(kernels_M) // (self.taps * self.channels(x_BCHW))

    def size(self, x_BCHW: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output [B, groups * C, H / stride, W / stride], rounded up."""
        B, _, H, W = x_BCHW.shape
        return B, self.groups * self.channels(x_BCHW), -(-H // self.stride), -(-W // self.stride)

    def plain(self, x_BCHW: Tensor, kernels_M: Tensor) -> Tensor:
        """Compute it batch by batch and kind by kind."""
        if (batches := self.batches(x_BCHW, kernels_M)) > 1:
            pairs = zip(x_BCHW.chunk(batches), kernels_M.chunk(batches), strict=True)
            return torch.cat([self.plain(x, kernels) for x, kernels in pairs])
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


Source = tuple[Bank, Tensor | Handed, Tensor]
"""A bank, its map [B, C, H, W] or [B, kinds * C, H, W], and its kernels [taps * C]: kind by kind, tap by tap, those of
all channels of a tap one after the other. Of several batches, which the map then is, those of the first come first."""


Pooled = tuple[Pools, Tensor | Handed]
"""Pools and their map."""


def beside(sources: Sequence[Source], pooled: Pooled | None = None) -> Tensor:
    """Return the outputs of banks, then of pools, beside each other [B, D, H', W'], channels last.

    Maps that are handed from reader to reader are handed on.

    Args:
        sources: banks; there may be none if there are pools.
        pooled: pools of the same size of output.
    """
    given = [x for _, x, _ in sources] + ([] if pooled is None else [pooled[1]])
    handed = {id(x): x if isinstance(x, Handed) else Handed(x) for x in given}
    places = tuple([*handed].index(id(x)) for x in given)
    maps, kernels = [*handed.values()], [each.contiguous() for _, _, each in sources]
    banks, pools = tuple(bank for bank, _, _ in sources), None if pooled is None else pooled[0]
    reading = _Reading(banks, pools, places, tuple(each.channels for each in maps))
    tensors = [*(each.whole_BXHW for each in maps), *kernels]
    if not reading.launches(tensors):
        return reading.plain(tensors)
    out: Tensor
    out, _, *more = _Beside.apply(reading, *tensors)
    for each, whole_BXHW in zip(maps, more, strict=True):
        each.hand_on(whole_BXHW)
    return out


@dataclass(frozen=True)
class _Reading:
    """Banks and pools, and which of some maps each of them reads; these and the kernels of all banks are tensors.

    Attributes:
        banks: they come first.
        pools: they come last.
        places: of the map of each bank, then of the pools.
        channels: of each map, the first of which so many are read.
    """

    banks: tuple[Bank, ...]
    pools: Pools | None
    places: tuple[int, ...]
    channels: tuple[int, ...]

    def inputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return what each bank reads, and what the pools do."""
        maps = [first(x, count) for x, count in zip(tensors, self.channels, strict=False)]
        return [maps[place] for place in self.places]

    def kernels(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return those of each bank."""
        return tensors[len(self.channels) :][: len(self.banks)]

    def sources(self, tensors: Sequence[Tensor]) -> list[bank_launch.Source]:
        """Return each bank with all that is its own."""
        inputs = self.inputs(tensors)
        return list(zip(self.banks, inputs, self.kernels(tensors), self.starts(inputs), strict=False))

    def launches(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether kernels of a GPU compute all of them."""
        inputs = self.inputs(tensors)
        numbers = sum(math.prod(size) for size in self.sizes(inputs))
        banks = all(bank_launch.launches(bank, x) for bank, x in zip(self.banks, inputs, strict=False))
        # Gradients of the first channels of maps are written into those of whole ones.
        most = max(numbers, *(x.numel() for x in tensors[: len(self.channels)]))
        return banks and (self.pools is None or self.pools.launches(inputs[-1])) and most < bank_launch.LARGEST

    def sizes(self, inputs: Sequence[Tensor]) -> list[tuple[int, int, int, int]]:
        """Return the shapes of all outputs."""
        each: list[Bank | Pools] = [*self.banks, *([] if self.pools is None else [self.pools])]
        return [one.size(x) for one, x in zip(each, inputs, strict=True)]

    def starts(self, inputs: Sequence[Tensor]) -> list[int]:
        """Return with which channel each output begins, and how many there are."""
        return [0, *accumulate(size[1] for size in self.sizes(inputs))]

    def plain(self, tensors: Sequence[Tensor]) -> Tensor:
        """Compute them one by one."""
        inputs = self.inputs(tensors)
        outs = [bank.plain(x, k) for bank, x, k in zip(self.banks, inputs, self.kernels(tensors), strict=False)]
        outs += [] if self.pools is None else [self.pools.plain(inputs[-1])]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)


class _Beside(torch.autograd.Function):
    """Returns beside the outputs what pools keep for their gradient, and the maps.

    A gradient that comes in for a map is what its later readers have found, who made it for this one: where nobody
    looks on, the gradients of this one are added to it in place.
    """

    @staticmethod
    def forward(reading: _Reading, *tensors: Tensor) -> tuple[Tensor | None, ...]:
        inputs, pools = reading.inputs(tensors), reading.pools
        starts, (B, _, rows, columns) = reading.starts(inputs), reading.sizes(inputs)[0]
        out = tensors[0].new_empty(B, rows, columns, starts[-1]).permute(0, 3, 1, 2)
        for bank, x, kernels, start in zip(reading.banks, inputs, reading.kernels(tensors), starts, strict=False):
            bank_launch.forward(bank, x, kernels, out, start)
        taps = None if pools is None else pools_forward(pools, inputs[-1], out[:, starts[-2] :])
        return out, taps, *(x.view_as(x) for x in tensors[: len(reading.channels)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.reading, *tensors = inputs
        taps = [] if output[1] is None else [output[1]]
        ctx.mark_non_differentiable(*taps)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *taps)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        (slope_BDHW, _, *handed), reading, wanted = slopes, ctx.reading, ctx.needs_input_grad[1:]
        tensors, found = ctx.saved_tensors, [*handed, *(None for _ in reading.banks)]
        if slope_BDHW is None:
            return None, *found
        if torch.is_grad_enabled():  # the gradient shall be differentiated itself
            return None, *_differentiable(reading, tensors, slope_BDHW, found, wanted)
        slope_BDHW = bank_launch.pitched(slope_BDHW)
        of_maps = _of_maps(reading, tensors, slope_BDHW, handed, wanted)
        sources = reading.sources(tensors)
        own = [number for number, want in enumerate(wanted[len(of_maps) :]) if want]
        of_own = bank_launch.kernel_gradients(slope_BDHW, [sources[number] for number in own])
        of_kernels = dict(zip(own, of_own, strict=True))
        return None, *of_maps, *(of_kernels.get(number) for number in range(len(sources)))


def _of_maps(
    reading: _Reading,
    tensors: Sequence[Tensor],
    slope_BDHW: Tensor,
    handed: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradient of each map, added in place to what there is."""
    found = [*handed]

    def onto(place: int) -> tuple[Tensor, bool]:
        C = reading.channels[place]
        whole_BXHW, adds = room(found[place], tensors[place], C)
        found[place] = whole_BXHW
        return first(whole_BXHW, C), adds

    for source, place in zip(reading.sources(tensors), reading.places, strict=False):
        if wanted[place]:
            bank_launch.input_gradient(slope_BDHW, source, *onto(place))
    if reading.pools is not None and wanted[reading.places[-1]]:
        start = reading.starts(reading.inputs(tensors))[-2]
        pools_gradient(reading.pools, slope_BDHW[:, start:], tensors[-1], *onto(reading.places[-1]))
    return found


def _differentiable(
    reading: _Reading,
    tensors: Sequence[Tensor],
    slope_BDHW: Tensor,
    handed: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of what is wanted, with a history of their own, added to those that there are."""
    maps = len(reading.channels)
    own: list[Tensor | None]
    if any(wanted[maps:]):
        # Read under names of their own, so that what a bank reads and its kernels may be the same.
        given = [tensor.view_as(tensor) for tensor in tensors[: len(wanted)]]
        needed = [tensor for tensor, want in zip(given, wanted, strict=True) if want]
        found = iter(torch.autograd.grad(reading.plain(given), needed, slope_BDHW, create_graph=True))
        own = [next(found) if want else None for want in wanted]
    else:
        own = [*_Backwards.apply(reading, wanted[:maps], slope_BDHW, *tensors), *(None for _ in reading.banks)]
    return [
        mine if other is None else other if mine is None else other + mine
        for mine, other in zip(own, handed, strict=True)
    ]


class _Backwards(torch.autograd.Function):
    """The gradients of maps, given kernels without any, are linear in that of the outputs: what leads there leads back.

    PyTorch's gradient of the gradient of a grouped convolution computes that of the kernels, too, group by group:
    26,000 convolutions for a product with the Hessian of DARTS.
    """

    @staticmethod
    def forward(
        ctx: Any, reading: _Reading, wanted: Sequence[bool], slope_BDHW: Tensor, *tensors: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.reading = reading
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(slope_BDHW, *tensors)
        none: list[Tensor | None] = [None] * len(reading.channels)
        return tuple(_of_maps(reading, tensors, bank_launch.pitched(slope_BDHW), none, wanted))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *vectors: Tensor | None) -> tuple[Tensor | None, ...]:
        reading, (slope_BDHW, *tensors) = ctx.reading, ctx.saved_tensors
        starts = reading.starts(reading.inputs(tensors))
        along = [
            first(torch.zeros_like(x) if vector is None else vector, C)
            for vector, x, C in zip(vectors, tensors, reading.channels, strict=False)
        ]
        B, _, rows, columns = slope_BDHW.shape
        out_BDHW = slope_BDHW.new_empty(B, rows, columns, starts[-1]).permute(0, 3, 1, 2)
        for (bank, x, kernels, start), place in zip(reading.sources(tensors), reading.places, strict=False):
            moved_BCHW = along[place] * (x > 0) if bank.rectified else along[place]
            bank_launch.forward(replace(bank, rectified=False), moved_BCHW, kernels, out_BDHW, start)
        if reading.pools is not None:
            out_BDHW[:, starts[-2] :] = reading.pools.along(along[reading.places[-1]], tensors[-1])
        return None, None, out_BDHW, *(None for _ in tensors)

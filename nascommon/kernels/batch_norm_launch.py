"""Batch norms on a GPU of NVIDIA: launches of the kernels of ``batch_norm_triton``, as operators of PyTorch.

How a launch is cut into programs depends on shapes and types alone, so that sums are always in the same order.

Batches of equal size that lie one after the other in a map may each have statistics of their own; whatever has numbers
for the channels then has those of the first batch, then of the next.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

import torch
from torch import Tensor

from nascommon.kernels import bank_launch
from nascommon.kernels.bank_launch import pieces, pitched

PARTIALS = 2048
"""Numbers of chunks and channels that a program puts together, at most: it reads them out of the cache."""
CHANNELS, MANY = (32, 16), 256
"""Of a program, which reads 32 or more bytes of a pixel at once: the first where a map has ``MANY`` and fills them."""
WIDE = 16
"""Bytes that a thread reads at once, at most."""
Running = tuple[Tensor, Tensor, float]
"""Running mean and variance [C] in float32, and the momentum by which a batch moves them."""


def launches(x_BCHW: Tensor, batches: int = 1) -> bool:
    """Return whether the kernels normalise this map; of a single pixel there is no variance."""
    return bank_launch.takes(x_BCHW, 1) and x_BCHW.numel() > batches * x_BCHW.shape[1]


def normalised(
    x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, eps: float, running: Running | None = None,
    batches: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the map normalised by its own statistics [B, C, H, W], and these: mean and unbiased variance [C]."""
    out, moments_3C = _Normalised.apply(x_BCHW, scale_C, shift_C, eps, running, batches)
    return out, moments_3C[0], moments_3C[1]


class _Normalised(torch.autograd.Function):
    """Returns beside the output mean, unbiased variance and 1 / deviation."""

    @staticmethod
    def forward(
        x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, eps: float, running: Running | None,
        batches: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return forward(x_BCHW, scale_C, shift_C, eps, running, batches)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x_BCHW, scale_C, _, ctx.eps, *_ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x_BCHW, scale_C, output[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        (slope_BCHW, _), (x_BCHW, scale_C, moments_3C) = slopes, ctx.saved_tensors
        if slope_BCHW is None:
            return (None,) * len(ctx.needs_input_grad)
        if torch.is_grad_enabled():  # the gradient shall be differentiated itself
            mask = [True, scale_C is not None, ctx.needs_input_grad[2]]
            found = _differentiable(slope_BCHW, x_BCHW, scale_C, moments_3C, ctx.eps, mask)
        else:
            found = gradients(slope_BCHW, x_BCHW, scale_C, moments_3C)
        of_tensors = (each if want else None for each, want in zip(found, ctx.needs_input_grad, strict=False))
        return *of_tensors, None, None, None


def _differentiable(
    slope_BCHW: Tensor, x_BCHW: Tensor, scale_C: Tensor | None, moments_3C: Tensor, eps: float, mask: list[bool]
) -> Sequence[Tensor | None]:
    """Return the same as ``gradients`` with a history of their own, batch by batch; of those in the mask."""
    batches = _batches(x_BCHW, moments_3C)
    given = (slope_BCHW, x_BCHW, scale_C, moments_3C[0], moments_3C[2])
    apart = ([None] * batches if each is None else each.chunk(batches) for each in given)
    found: list[Sequence[Tensor | None]] = [
        torch.ops.aten.native_batch_norm_backward(slope, x, scale, None, None, mean, inverse, True, eps, mask)
        for slope, x, scale, mean, inverse in zip(*apart, strict=True)
    ]
    if batches == 1:
        return found[0]
    return [torch.cat(each) if want else None for each, want in zip(zip(*found, strict=True), mask, strict=True)]


def forward(
    x_BCHW: Tensor, scale_C: Tensor | None, shift_C: Tensor | None, eps: float, running: Running | None = None,
    batches: int = 1,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the map normalised [B, C, H, W], and mean, unbiased variance and 1 / deviation [3, C]."""
    x_BCHW = pitched(x_BCHW)
    out, moments_3C = _like(x_BCHW), x_BCHW.new_empty(3, batches * x_BCHW.shape[1], dtype=torch.float32)
    mean_C, variance_C, momentum = running or (None, None, 0.0)
    torch.ops.nascommon.batch_norm_forward(
        x_BCHW, _dense(scale_C), _dense(shift_C), _Launch(x_BCHW, batches=batches).partial(x_BCHW), out, moments_3C,
        mean_C, variance_C, eps, momentum,
    )  # fmt: skip
    return out, moments_3C


def gradients(
    slope_BCHW: Tensor, x_BCHW: Tensor, scale_C: Tensor | None, moments_3C: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return those of input, scale and shift, given that of the output and what ``forward`` returned besides."""
    slope_BCHW, x_BCHW = pitched(slope_BCHW), pitched(x_BCHW)
    out, sums_2C = _like(x_BCHW), torch.empty_like(moments_3C[:2])
    partial = _Launch(slope_BCHW, x_BCHW, batches=_batches(x_BCHW, moments_3C)).partial(x_BCHW)
    torch.ops.nascommon.batch_norm_backward(slope_BCHW, x_BCHW, _dense(scale_C), moments_3C, partial, out, sums_2C)
    return out, sums_2C[0], sums_2C[1]


def _batches(x_BCHW: Tensor, moments_3C: Tensor) -> int:
    return moments_3C.shape[1] // x_BCHW.shape[1]


def _like(x_BCHW: Tensor) -> Tensor:
    """Return a map of the same shape without numbers, dense in channels-last layout."""
    # No view of another layout, which could not be rectified in place.
    return torch.empty(x_BCHW.shape, dtype=x_BCHW.dtype, device=x_BCHW.device, memory_format=torch.channels_last)


def _dense(x_C: Tensor | None) -> Tensor | None:
    return None if x_C is None else x_C.contiguous()


class _Launch:
    """How launches are cut into programs: batches, then chunks of ``size`` pixels, each of which is cut by channels.

    A program goes through its chunk tile by tile, ``rows`` pixels of ``columns`` channels.
    """

    def __init__(self, *maps: Tensor, batches: int = 1) -> None:
        """Take maps of one shape, all that are read or written."""
        B, C, H, W = maps[0].shape
        cut, self.pixels = bank_launch.CUT, B // batches * H * W
        most = WIDE // maps[0].element_size()
        pitches = [each.stride(3) for each in maps]
        vec = gcd(C, most, *pitches, *(int(each.storage_offset()) for each in maps))
        widths = CHANNELS if C >= MANY else CHANNELS[1:]
        filled = min(widths, key=lambda width: pieces(C, width) * width)
        self.columns = min(filled, max(4, 1 << (C - 1).bit_length()))  # a power of two
        self.rows = max(cut.vectors * cut.times * most // self.columns, 2)
        blocks, self.most = pieces(C, self.columns), PARTIALS // self.columns
        chunks = min(max(cut.programs // (blocks * batches), 1), self.most)
        self.size = pieces(pieces(self.pixels, chunks), self.rows) * self.rows
        self.grid = pieces(self.pixels, self.size), blocks, batches
        self.numbers = (self.pixels, self.size, C // vec, *(pitch // vec for pitch in pitches))
        self.static = {"VEC": vec, "COLS": self.columns, **bank_launch.options()}

    def partial(self, x_BCHW: Tensor) -> Tensor:
        """Return room for two numbers of every chunk and channel of each batch."""
        return x_BCHW.new_empty(self.grid[2], 2, self.grid[0], x_BCHW.shape[1], dtype=torch.float32)


def _forward(
    x: Tensor, scale: Tensor | None, shift: Tensor | None, partial: Tensor, out: Tensor, moments: Tensor,
    mean: Tensor | None, variance: Tensor | None, eps: float, momentum: float,
) -> None:  # fmt: skip
    from nascommon.kernels.batch_norm_triton import apply_kernel, statistics_kernel

    read, both = (_Launch(*maps, batches=_batches(x, moments)) for maps in ((x,), (x, out)))
    statistics_kernel[read.grid](x, partial, *read.numbers, ROWS=read.rows, **read.static)
    scale_there, shift_there, mean_there, variance_there = (
        moments if each is None else each for each in (scale, shift, mean, variance)
    )
    apply_kernel[both.grid](
        x, scale_there, shift_there, partial, out, moments, mean_there, variance_there, eps, momentum, *both.numbers,
        SCALED=scale is not None, SHIFTED=shift is not None, MOVED=mean is not None, CHUNKS=both.most, ROWS=both.rows,
        **both.static,
    )  # fmt: skip


def _backward(
    slope: Tensor, x: Tensor, scale: Tensor | None, moments: Tensor, partial: Tensor, out: Tensor, sums: Tensor
) -> None:
    from nascommon.kernels.batch_norm_triton import gradient_kernel, reduce_kernel

    # Half as many pixels at a time, since there are two maps.
    read, all_of_them = (_Launch(*maps, batches=_batches(x, moments)) for maps in ((slope, x), (slope, x, out)))
    reduce_kernel[read.grid](slope, x, moments, partial, *read.numbers, ROWS=read.rows // 2, **read.static)
    gradient_kernel[all_of_them.grid](
        slope, x, moments if scale is None else scale, moments, partial, out, sums, *all_of_them.numbers,
        SCALED=scale is not None, CHUNKS=all_of_them.most, ROWS=all_of_them.rows // 2, **all_of_them.static,
    )  # fmt: skip


MADE = "Tensor(a!) partial, Tensor(b!) out, Tensor(c!)"
RUNNING = "Tensor(d!)? mean, Tensor(e!)? variance, float eps, float momentum"
OPERATORS: dict[str, tuple[str, Any]] = {
    "batch_norm_forward": (f"(Tensor x, Tensor? scale, Tensor? shift, {MADE} moments, {RUNNING}) -> ()", _forward),
    "batch_norm_backward": (f"(Tensor slope, Tensor x, Tensor? scale, Tensor moments, {MADE} sums) -> ()", _backward),
}
bank_launch.register(OPERATORS)

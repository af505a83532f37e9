"""Launches of the kernels of ``bank_triton``: as operators of PyTorch, which tensors without data go through as well.

How a launch is cut into programs depends on shapes and types alone, so that sums are always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import gcd
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nascommon.kernels.home import on_cuda

if TYPE_CHECKING:
    from nascommon.kernels.bank import Bank

TYPES = (torch.bfloat16, torch.float16, torch.float32)
LARGEST = 2**31
"""Numbers in a map from which on places do not fit into 32 bits."""
MOST_KINDS, MOST_GROUPS, MOST_DILATION, SIDES = 4, 8, 4, (3, 5, 7)
"""What the 31 bits of a code have room for."""


@dataclass(frozen=True)
class Cut:
    """How launches are cut into programs; ``benchmarks.depthwise`` compares several.

    The defaults are the fastest on an H200 (torch 2.11, results/device/depthwise_h200_373f5fa.json), for a DARTS step
    at batch 64: reading 8 bytes at a time, an 8 x 8 map takes 12 us forward and 17 us for the gradient of its input
    (16 bytes: 15 and 30 us); with 32 chunks, the gradient of its kernels takes 28 us (64 chunks: 41 us, and 58 us
    against 60 us of 32 on 32 x 32).

    Attributes:
        bytes: that a thread reads at a time, at most, where kinds have channels of their own, and for kernels.
        shared_bytes: the same where all kinds read the same channels, of which each thread then makes many outputs.
        vectors: of channels in a program of the forward pass or of the gradient of the input.
        warps: of 32 threads, of such a program.
        width: channels of a program of the gradient of kernels, at most.
        numbers: of a map that such a program takes at a time.
        chunks: parts that the pixels are cut into for it, at most.
        few_pixels: up to which there are half as many.
    """

    bytes: int = 16
    shared_bytes: int = 8
    vectors: int = 128
    warps: int = 4
    width: int = 32
    numbers: int = 1024
    chunks: int = 64
    few_pixels: int = 8192


CUT = Cut()


@cache
def triton_is_there() -> bool:
    """Return whether Triton is installed, as it is with PyTorch for Linux."""
    return find_spec("triton") is not None


def launches(bank: Bank, x_BCHW: Tensor) -> bool:
    """Return whether the kernels compute this bank on this map."""
    fits = all(
        kind.side in SIDES and kind.dilation <= MOST_DILATION and kind.groups <= MOST_GROUPS for kind in bank.kinds
    )
    return fits and len(bank.kinds) <= MOST_KINDS and takes(x_BCHW, max(bank.groups, 1))


def takes(x_BCHW: Tensor, times: int) -> bool:
    """Return whether kernels in Triton can make so many times the numbers of this map of it."""
    return on_cuda(x_BCHW) and x_BCHW.dtype in TYPES and times * x_BCHW.numel() < LARGEST and triton_is_there()


def pitched(x_BCHW: Tensor) -> Tensor:
    """Return the map as it is if its pixels lie one after the other at equal distances, or else a copy."""
    B, C, H, W = x_BCHW.shape
    pitch = x_BCHW.stride(3)
    strides = (H * W * pitch, 1, W * pitch, pitch)
    same = all(
        size == 1 or is_ == wanted for size, is_, wanted in zip(x_BCHW.shape, x_BCHW.stride(), strides, strict=True)
    )
    if same and pitch >= C:
        return x_BCHW
    # Not ``contiguous``: a map of a single pixel is that in every layout, and its stride says nothing.
    return x_BCHW.new_empty(B, H, W, C).permute(0, 3, 1, 2).copy_(x_BCHW)


def forward(bank: Bank, x_BCHW: Tensor, kernels_M: Tensor, out_BDHW: Tensor, start: int) -> None:
    """Write the outputs of a bank into some channels of a map, from ``start`` on."""
    torch.ops.nascommon.bank_forward(pitched(x_BCHW), kernels_M, out_BDHW, start, *_numbers(bank))


def input_gradient(bank: Bank, slope_BDHW: Tensor, x_BCHW: Tensor, kernels_M: Tensor, start: int) -> Tensor:
    """Return the gradient of the input [B, C, H, W], given that of a map in which the outputs begin at ``start``."""
    B, C, H, W = x_BCHW.shape
    out = x_BCHW.new_empty(B, H, W, C).permute(0, 3, 1, 2)
    torch.ops.nascommon.bank_input_gradient(slope_BDHW, kernels_M, pitched(x_BCHW), out, start, *_numbers(bank))
    return out


def kernel_gradient(bank: Bank, slope_BDHW: Tensor, x_BCHW: Tensor, kernels_M: Tensor, start: int) -> Tensor:
    """Return the gradient of all kernels, in their order: sums over parts of the pixels, then the sum of these."""
    _, chunks = _chunks(slope_BDHW)
    parts = x_BCHW.new_empty(chunks, len(kernels_M), dtype=torch.float32)
    torch.ops.nascommon.bank_kernel_gradient(slope_BDHW, pitched(x_BCHW), parts, start, *_numbers(bank))
    return parts.sum(0)


def _numbers(bank: Bank) -> tuple[list[int], int, bool, bool]:
    kinds = [number for kind in bank.kinds for number in (kind.side, kind.dilation, kind.groups)]
    return kinds, bank.stride, bank.shared, bank.rectified


def _chunks(slope_BDHW: Tensor) -> tuple[int, int]:
    """Return how many pixels a chunk has, and the number of chunks."""
    pixels = slope_BDHW.numel() // slope_BDHW.shape[1]
    size = -(-pixels // (CUT.chunks if pixels > CUT.few_pixels else CUT.chunks // 2))
    return size, -(-pixels // size)


def coded(kinds: Sequence[tuple[int, int, int]]) -> int:
    """Return the number that tells a kernel of kinds, each (side, dilation, groups): seven bits for each."""
    parts = [(side - 3) // 2 | (dilation - 1) << 2 | (groups - 1) << 4 for side, dilation, groups in kinds]
    return sum(part << 7 * place for place, part in enumerate(parts))


class _Launch:
    """What the three launches have in common."""

    def __init__(
        self,
        small: Tensor,
        large: Tensor,
        start: int,
        kinds: list[int],
        stride: int,
        shared: bool,
        relu: bool,
        *,
        at_a_time: int | None = None,
    ) -> None:
        """Take the map that goes in (or one of its shape), the one that comes out, the bank, and bytes to read."""
        self.kinds = [(kinds[i], kinds[i + 1], kinds[i + 2]) for i in range(0, len(kinds), 3)]
        B, C, H, W = small.shape
        self.small, self.large, self.B, self.H, self.W = small, large, B, H, W
        self.rows, self.columns = large.shape[2:]
        self.channels = C if shared else C // len(self.kinds)
        self.slots = 1 if shared else len(self.kinds)
        pitches = _pitch(small), _pitch(large)
        read = at_a_time or (CUT.shared_bytes if shared else CUT.bytes)
        self.vec = gcd(self.channels, start, *pitches, read // small.element_size())
        self.units = self.channels // self.vec
        self.geometry = (self.units, H, W, self.rows, self.columns)
        self.pitches = (*(pitch // self.vec for pitch in pitches), start // self.vec)
        self.code = coded(self.kinds)
        self.static = {
            "STRIDE": stride, "VEC": self.vec, "RELU": relu, "SHARED": shared,
            "WIDEST": max(side for side, _, _ in self.kinds),
        }  # fmt: skip
        most = max(groups for _, _, groups in self.kinds)
        self.groups = 1 << (most - 1).bit_length()

    def over_vectors(self, pixels: int) -> tuple[int, dict[str, int]]:
        """Return the number of programs that take the vectors of so many pixels, and how they are cut."""
        vectors = pixels * self.units
        return -(-vectors // CUT.vectors), {"BLOCK": CUT.vectors, "GROUPS": self.groups, "num_warps": CUT.warps}


def _pitch(x_BCHW: Tensor) -> int:
    return x_BCHW.stride(3)


def _forward(x: Tensor, kernels: Tensor, out: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton import forward_kernel

    launch = _Launch(x, out, start, *bank)
    pixels = launch.B * launch.rows * launch.columns
    programs, cut = launch.over_vectors(pixels)
    forward_kernel[(programs, len(launch.kinds))](
        x, kernels, out, launch.code, *launch.geometry, *launch.pitches, pixels * launch.units, **launch.static, **cut
    )


def _input_gradient(slope: Tensor, kernels: Tensor, x: Tensor, out: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton import input_kernel

    launch = _Launch(x, slope, start, *bank)
    pixels = launch.B * launch.H * launch.W
    programs, cut = launch.over_vectors(pixels)
    input_kernel[(programs, launch.slots)](
        slope, kernels, x, out, launch.code, len(launch.kinds), *launch.geometry, *launch.pitches,
        pixels * launch.units, **launch.static, **cut,
    )  # fmt: skip


def _kernel_gradient(slope: Tensor, x: Tensor, parts: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton_kernels import kernel_kernel

    launch = _Launch(x, slope, start, *bank, at_a_time=CUT.bytes)
    widest = max(groups for _, _, groups in launch.kinds) * launch.channels
    width = min(CUT.width, 1 << (widest - 1).bit_length())
    size, chunks = _chunks(slope)
    taps = sum(side * side * groups for side, _, groups in launch.kinds)
    kernel_kernel[(chunks, -(-widest // width), sum(side for side, _, _ in launch.kinds))](
        slope, x, parts, launch.code, len(launch.kinds), *launch.geometry, *launch.pitches,
        launch.B * launch.rows * launch.columns, size, taps, **launch.static,
        PIXELS=max(CUT.numbers // width, 1), WIDTH=width, num_warps=4,
    )  # fmt: skip


BANK = "int start, int[] kinds, int stride, bool shared, bool relu"
OPERATORS: dict[str, tuple[str, Callable[..., None]]] = {
    "bank_forward": (f"(Tensor x, Tensor kernels, Tensor(a!) out, {BANK}) -> ()", _forward),
    "bank_input_gradient": (
        f"(Tensor slope, Tensor kernels, Tensor x, Tensor(a!) out, {BANK}) -> ()",
        _input_gradient,
    ),
    "bank_kernel_gradient": (f"(Tensor slope, Tensor x, Tensor(a!) parts, {BANK}) -> ()", _kernel_gradient),
}
LIBRARY = torch.library.Library("nascommon", "DEF")  # type: ignore[no-untyped-call]


def register(operators: Mapping[str, tuple[str, Callable[..., None]]]) -> None:
    """Make launches operators of PyTorch; of tensors without data they do nothing.

    Args:
        operators: by name a schema and what launches.
    """
    for name, (schema, launched) in operators.items():
        LIBRARY.define(name + schema)  # type: ignore[no-untyped-call]
        for key, call in (("CUDA", launched), ("CPU", launched), ("Meta", lambda *_: None)):
            LIBRARY.impl(name, call, key)  # type: ignore[no-untyped-call]


register(OPERATORS)

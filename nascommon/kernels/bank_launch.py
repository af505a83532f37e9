"""Launches of the kernels of ``bank_triton``: as operators of PyTorch, which tensors without data go through as well.

How a launch is cut into programs depends on shapes and types alone, so that sums are always in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """How launches are cut into programs, by sizes alone; ``benchmarks.depthwise`` compares several.

    On an H200 (torch 2.11) threads that read 8 bytes at a time for several kernels, and 16 for one, did best, and so
    did few large programs for the gradient of kernels, whose sums over threads cost as much as their products. An
    earlier order of the blocks was measured (commit 373f5fa); the bounds on registers follow from it.

    Attributes:
        bytes: that a thread reads at a time, at most; half as many where it has several kernels of a channel.
        vectors: of channels in a program of the forward pass or of the gradient of the input.
        warps: of 32 threads, of such a program.
        images: that a thread of it has, at most, a power of two.
        threads: that shall be left for a launch when threads have several images.
        width: channels of a program of the gradient of kernels, at most.
        numbers: of a map that such a program takes at a time, at most.
        sums: that a thread of it has in its registers, at most, if it has any choice.
        chunks: parts that the pixels are cut into for it, at most.
        rounds: in which such a part is taken, at least.
    """

    bytes: int = 16
    vectors: int = 128
    warps: int = 4
    images: int = 2
    threads: int = 2**16
    width: int = 64
    numbers: int = 1024
    sums: int = 96
    chunks: int = 128
    rounds: int = 8

    def of_vectors(self, vectors: int, batch: int) -> int:
        """Return how many images a thread has, given how many vectors a launch has in all."""
        images = self.images
        while images > 1 and (vectors < images * self.threads or batch < images):
            images //= 2
        return images

    def of_pixels(self, pixels: int, channels: int, sums: int) -> tuple[int, int, int]:
        """Return pixels and channels of a program of the gradient of kernels, and the number of chunks.

        Args:
            pixels: of the output.
            channels: of the input.
            sums: that a thread has for every number that it takes.
        """
        width = min(self.width, _power(channels))
        numbers = min(self.numbers, _power(THREADS * self.sums // sums + 1) // 2)
        taken = max(numbers // width, 1)
        return taken, width, min(self.chunks, -(-pixels // (taken * self.rounds)))


THREADS = 128
"""Of a program of the gradient of kernels."""


def _power(number: int) -> int:
    """Return the smallest power of two that is no smaller."""
    return 1 << (number - 1).bit_length()


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
    small = max(bank.groups, 1) * x_BCHW.numel() < LARGEST
    known = x_BCHW.dtype in TYPES and len(bank.kinds) <= MOST_KINDS
    return on_cuda(x_BCHW) and fits and small and known and triton_is_there()


def pitched(x_BCHW: Tensor) -> Tensor:
    """Return the map as it is if its pixels lie one after the other at equal distances, or else a copy."""
    _, C, H, W = x_BCHW.shape
    pitch = x_BCHW.stride(3)
    strides = (H * W * pitch, 1, W * pitch, pitch)
    same = all(
        size == 1 or is_ == wanted for size, is_, wanted in zip(x_BCHW.shape, x_BCHW.stride(), strides, strict=True)
    )
    return x_BCHW if same and pitch >= C else x_BCHW.contiguous(memory_format=torch.channels_last)


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
    sums = _power(max(kind.groups for kind in bank.kinds)) * max(kind.side for kind in bank.kinds)
    *_, chunks = CUT.of_pixels(slope_BDHW[:, 0].numel(), bank.channels(x_BCHW), sums)
    parts = x_BCHW.new_empty(chunks, len(kernels_M), dtype=torch.float32)
    torch.ops.nascommon.bank_kernel_gradient(slope_BDHW, pitched(x_BCHW), parts, start, *_numbers(bank))
    return parts.sum(0)


def _numbers(bank: Bank) -> tuple[list[int], int, bool, bool]:
    kinds = [number for kind in bank.kinds for number in (kind.side, kind.dilation, kind.groups)]
    return kinds, bank.stride, bank.shared, bank.rectified


def coded(kinds: Sequence[tuple[int, int, int]]) -> int:
    """Return the number that tells a kernel of kinds, each (side, dilation, groups): seven bits for each."""
    parts = [(side - 3) // 2 | (dilation - 1) << 2 | (groups - 1) << 4 for side, dilation, groups in kinds]
    return sum(part << 7 * place for place, part in enumerate(parts))


class _Launch:
    """What the three launches have in common."""

    def __init__(
        self, small: Tensor, large: Tensor, start: int, kinds: list[int], stride: int, shared: bool, relu: bool
    ) -> None:
        """Take the map that goes in (or one of its shape), the one that comes out, and the bank."""
        self.kinds = [(kinds[i], kinds[i + 1], kinds[i + 2]) for i in range(0, len(kinds), 3)]
        B, C, H, W = small.shape
        self.small, self.large, self.B, self.H, self.W = small, large, B, H, W
        self.rows, self.columns = large.shape[2:]
        self.channels = C if shared else C // len(self.kinds)
        self.slots = 1 if shared else len(self.kinds)
        pitches = _pitch(small), _pitch(large)
        self.groups = _power(max(groups for _, _, groups in self.kinds))
        read = CUT.bytes if self.groups == 1 else CUT.bytes // 2
        self.vec = gcd(self.channels, start, *pitches, read // small.element_size())
        self.units = self.channels // self.vec
        self.geometry = (self.units, H, W, self.rows, self.columns)
        self.pitches = (*(pitch // self.vec for pitch in pitches), start // self.vec)
        self.code = coded(self.kinds)
        self.static = {
            "STRIDE": stride, "VEC": self.vec, "RELU": relu, "SHARED": shared,
            "WIDEST": max(side for side, _, _ in self.kinds), "GROUPS": self.groups,
        }  # fmt: skip

    def over_vectors(self, pixels: int, others: int) -> tuple[int, tuple[int, int], dict[str, int]]:
        """Return the number of programs that take the vectors of all images, of ``pixels`` each, and how they are cut.

        Args:
            pixels: of an image.
            others: programs that take each of these vectors, for themselves.
        """
        vectors = pixels * self.units
        images = CUT.of_vectors(self.B * vectors * others, self.B)
        part = -(-self.B // images)
        cut = {"IMAGES": images, "BLOCK": CUT.vectors, "num_warps": CUT.warps}
        return -(-part * vectors // CUT.vectors), (self.B, part), cut


def _pitch(x_BCHW: Tensor) -> int:
    return x_BCHW.stride(3)


def _forward(x: Tensor, kernels: Tensor, out: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton import forward_kernel

    launch = _Launch(x, out, start, *bank)
    programs, images, cut = launch.over_vectors(launch.rows * launch.columns, len(launch.kinds))
    forward_kernel[(programs, len(launch.kinds))](
        x, kernels, out, launch.code, *launch.geometry, *launch.pitches, *images, **launch.static, **cut
    )


def _input_gradient(slope: Tensor, kernels: Tensor, x: Tensor, out: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton import input_kernel

    launch = _Launch(x, slope, start, *bank)
    phases = launch.static["STRIDE"] ** 2
    programs, images, cut = launch.over_vectors(launch.rows * launch.columns, launch.slots * phases)
    input_kernel[(programs, launch.slots, phases)](
        slope, kernels, x, out, launch.code, len(launch.kinds), *launch.geometry, *launch.pitches, *images,
        **launch.static, **cut,
    )  # fmt: skip


def _kernel_gradient(slope: Tensor, x: Tensor, parts: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton_kernels import kernel_kernel

    launch = _Launch(x, slope, start, *bank)
    pixels, chunks = launch.B * launch.rows * launch.columns, len(parts)
    taken, width, _ = CUT.of_pixels(pixels, launch.channels, launch.groups * launch.static["WIDEST"])
    taps = sum(side * side * groups for side, _, groups in launch.kinds)
    kernel_kernel[(chunks, -(-launch.channels // width), sum(side for side, _, _ in launch.kinds))](
        slope, x, parts, launch.code, len(launch.kinds), *launch.geometry, *launch.pitches,
        pixels, -(-pixels // chunks), taps, **launch.static, PIXELS=taken, WIDTH=width, num_warps=THREADS // 32,
    )  # fmt: skip


BANK = "int start, int[] kinds, int stride, bool shared, bool relu"
OPERATORS = {
    "bank_forward": (f"(Tensor x, Tensor kernels, Tensor(a!) out, {BANK}) -> ()", _forward),
    "bank_input_gradient": (
        f"(Tensor slope, Tensor kernels, Tensor x, Tensor(a!) out, {BANK}) -> ()",
        _input_gradient,
    ),
    "bank_kernel_gradient": (f"(Tensor slope, Tensor x, Tensor(a!) parts, {BANK}) -> ()", _kernel_gradient),
}
LIBRARY = torch.library.Library("nascommon", "DEF")  # type: ignore[no-untyped-call]
for _name, (_schema, _launched) in OPERATORS.items():
    LIBRARY.define(_name + _schema)  # type: ignore[no-untyped-call]
    for _key, _call in (("CUDA", _launched), ("CPU", _launched), ("Meta", lambda *_: None)):
        LIBRARY.impl(_name, _call, _key)  # type: ignore[no-untyped-call]

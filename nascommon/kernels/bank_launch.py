"""Launches of the kernels of ``bank_triton``: as operators of PyTorch, which tensors without data go through as well.

How a launch is cut into programs depends on shapes and types alone, so that sums are always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
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

Source = tuple["Bank", Tensor, Tensor, int]
"""A bank, its input, its kernels, and the channel of a map of several outputs with which its own begin."""

TYPES = (torch.bfloat16, torch.float16, torch.float32)
LARGEST = 2**31
"""Numbers in a map from which on places do not fit into 32 bits."""
MOST_KINDS, MOST_GROUPS, MOST_DILATION, SIDES = 4, 8, 4, (3, 5, 7)
"""What the 31 bits of a code have room for."""
STRIDES = (1, 2)
ON_TRIAL = ContextVar("ON_TRIAL", default=False)
"""Whether kernels are used in order to find out whether they are right."""


@dataclass(frozen=True)
class Cut:
    """How launches are cut into programs; ``benchmarks.depthwise`` compares several, ``benchmarks.sass`` predicts.

    Attributes:
        vec: channels that a thread takes, at most; what it reads and writes of them is 8 or 16 bytes.
        times: pixels of a line that it takes.
        groups: kernels of a channel that it takes, at most, forward and for the gradient of the kernels.
        vectors: threads of a program.
        warps: of 32 of these.
        threads: up to which the kernels of a channel are split among several of them for the gradient of the input.
        width: vectors of channels of a program of the gradient of kernels, at most.
        programs: that such a launch has, at most, unless one each for channels and kernels are more.
    """

    vec: int = 4
    times: int = 4
    groups: int = 2
    vectors: int = 128
    warps: int = 4
    threads: int = 2**17
    width: int = 16
    programs: int = 512


CUT = Cut()


def options() -> dict[str, Any]:
    """Return how kernels are compiled: a product is added in one rounding, which Triton 3.10 no longer does unasked."""
    return {"num_warps": CUT.warps, "enable_fp_fusion": True}


def triton_is_there(x_BCHW: Tensor) -> bool:
    """Return whether Triton is installed, as with PyTorch for Linux, and is right where a GPU is in use (``trial``)."""
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if not _is_installed() or not in_use or ON_TRIAL.get():
        return _is_installed()
    from nascommon.kernels.trial import right

    device = torch.device("cuda", torch.cuda.current_device()) if x_BCHW.is_meta else x_BCHW.device
    return right(device, x_BCHW.dtype)


@cache
def _is_installed() -> bool:
    return find_spec("triton") is not None


def launches(bank: Bank, x_BCHW: Tensor) -> bool:
    """Return whether the kernels compute this bank on this map."""
    fits = all(
        kind.side in SIDES and kind.dilation <= MOST_DILATION and kind.groups <= MOST_GROUPS for kind in bank.kinds
    )
    known = len(bank.kinds) <= MOST_KINDS and bank.stride in STRIDES
    return fits and known and takes(x_BCHW, max(bank.groups, 1))


def takes(x_BCHW: Tensor, times: int) -> bool:
    """Return whether kernels in Triton can make so many times the numbers of this map of it."""
    return on_cuda(x_BCHW) and x_BCHW.dtype in TYPES and times * x_BCHW.numel() < LARGEST and triton_is_there(x_BCHW)


def pitched(x_BCHW: Tensor) -> Tensor:
    """Return the map as it is if its pixels lie one after the other at equal distances, or else a copy.

    Part of so wide a map that its places do not fit into 32 bits is copied, too.
    """
    B, C, H, W = x_BCHW.shape
    pitch = x_BCHW.stride(3)
    strides = (H * W * pitch, 1, W * pitch, pitch)
    same = all(
        size == 1 or is_ == wanted for size, is_, wanted in zip(x_BCHW.shape, x_BCHW.stride(), strides, strict=True)
    )
    if same and pitch >= C and B * H * W * pitch < LARGEST:
        return x_BCHW
    # Not ``contiguous``: a map of a single pixel is that in every layout, and its stride says nothing.
    return x_BCHW.new_empty(B, H, W, C).permute(0, 3, 1, 2).copy_(x_BCHW)


def forward(bank: Bank, x_BCHW: Tensor, kernels_M: Tensor, out_BDHW: Tensor, start: int) -> None:
    """Write the outputs of a bank into some channels of a map, from ``start`` on."""
    torch.ops.nascommon.bank_forward(
        pitched(x_BCHW), kernels_M, out_BDHW, start, *_numbers(bank), bank.batches(x_BCHW, kernels_M)
    )


def input_gradient(slope_BDHW: Tensor, source: Source, out_BCHW: Tensor, adds: bool) -> None:
    """Write the gradient of the input of a bank.

    Args:
        slope_BDHW: gradient of the map of its outputs; the pixels of this lie at equal distances.
        source: the bank.
        out_BCHW: what is written to; its pixels, too, lie at equal distances.
        adds: whether it is added to what is there.
    """
    bank, x_BCHW, kernels_M, start = source
    torch.ops.nascommon.bank_input_gradient(
        slope_BDHW, kernels_M, pitched(x_BCHW), out_BCHW, start, *_numbers(bank), bank.batches(x_BCHW, kernels_M), adds
    )


def kernel_gradients(slope_BDHW: Tensor, sources: Sequence[Source]) -> Sequence[Tensor]:
    """Return those of all kernels of each bank, in their order: sums over parts of the pixels, then one sum of these.

    Args:
        slope_BDHW: gradient of the map of their outputs; the pixels of this lie at equal distances.
        sources: the banks.
    """
    if not sources:
        return []
    maps, sizes = [pitched(x) for _, x, _, _ in sources], [len(kernels) for _, _, kernels, _ in sources]
    given = [(start, *_numbers(bank), bank.batches(x, kernels)) for bank, x, kernels, start in sources]
    chunks = max(_Launch(x, slope_BDHW, *each).chunks for x, each in zip(maps, given, strict=True))
    parts = slope_BDHW.new_empty(chunks, sum(sizes), dtype=torch.float32)
    for x, own, each in zip(maps, torch.split(parts, sizes, dim=1), given, strict=True):
        torch.ops.nascommon.bank_kernel_gradient(slope_BDHW, x, own, *each)
    return torch.split(parts.sum(0), sizes)


def _numbers(bank: Bank) -> tuple[list[int], int, bool, bool]:
    kinds = [number for kind in bank.kinds for number in (kind.side, kind.dilation, kind.groups)]
    return kinds, bank.stride, bank.shared, bank.rectified


def coded(kinds: Sequence[tuple[int, int, int]]) -> int:
    """Return the number that tells a kernel of kinds, each (side, dilation, groups): seven bits for each."""
    parts = [(side - 3) // 2 | (dilation - 1) << 2 | (groups - 1) << 4 for side, dilation, groups in kinds]
    return sum(part << 7 * place for place, part in enumerate(parts))


def decoded(part: int) -> tuple[int, int, int]:
    """Return side, dilation and groups of seven bits."""
    return 3 + 2 * (part & 3), 1 + (part >> 2 & 3), 1 + (part >> 4)


class _Launch:
    """What the three launches have in common, and how they are cut into programs."""

    def __init__(
        self, small: Tensor, large: Tensor, start: int, kinds: list[int], stride: int, shared: bool, relu: bool,
        batches: int, *others: Tensor,
    ) -> None:  # fmt: skip
        """Take the map that goes in, the one that comes out, the bank, and other maps whose vectors are taken."""
        self.kinds = [(kinds[i], kinds[i + 1], kinds[i + 2]) for i in range(0, len(kinds), 3)]
        B, C, H, W = small.shape
        rows, self.columns = large.shape[2:]
        self.stride, self.shared, self.batches = stride, shared, batches
        channels = C if shared else C // len(self.kinds)
        pitches = [_pitch(each) for each in (small, large, *others)]
        vec = gcd(channels, start, *pitches, CUT.vec)
        self.units, self.lines = channels // vec, B * rows
        self.numbers = (
            coded(self.kinds), len(self.kinds), sum(side**2 * groups for side, _, groups in self.kinds), self.units,
            self.lines, self.lines // batches, H, W, rows, self.columns,
            *(pitch // vec for pitch in pitches[:2]), start // vec, *(pitch // vec for pitch in pitches[2:]),
        )  # fmt: skip
        self.static = {
            "STRIDE": stride, "VEC": vec, "RELU": relu, "SHARED": shared, "TIMES": CUT.times, "BLOCK": CUT.vectors,
            "WIDEST": max(side for side, _, _ in self.kinds), **options(),
        }  # fmt: skip

    def programs(self, apart: Iterable[int], split: int = 1) -> int:
        """Return the number of programs that take all vectors, of spans whose pixels are so far apart.

        Args:
            apart: of each kind.
            split: threads that share a vector.
        """
        return pieces(self.lines * max(map(self._spans, apart)) * self.units * split, CUT.vectors)

    def split(self, apart: int) -> int:
        """Return how many threads share a vector for the gradient of the input, which needs enough of them."""
        threads = self.lines * self._spans(apart) * self.units * self.stride**2
        most, split = max(groups for _, _, groups in self.kinds), 1
        while split < most and threads * split < CUT.threads:
            split *= 2
        return split

    def _spans(self, apart: int) -> int:
        return pieces(self.columns, CUT.times * apart) * apart

    @property
    def groups(self) -> int:
        """Kernels of a channel that a thread takes: as many each, if possible."""
        most = max(groups for _, _, groups in self.kinds)
        return pieces(most, pieces(most, CUT.groups))

    def parts(self, *, by_line: bool) -> int:
        """Return the number of parts that the kinds are cut into: so many kernels, of all their taps or of a line."""
        return sum(pieces(groups, self.groups) * (side if by_line else 1) for side, _, groups in self.kinds)

    @property
    def width(self) -> int:
        """Vectors of channels of a program of the gradient of kernels: a power of two that leaves few threads idle."""
        for width in (CUT.width, CUT.width // 2):
            if self.units % width == 0:
                return width
        return min(CUT.width // 4, 1 << (self.units - 1).bit_length())

    @property
    def chunks(self) -> int:
        """Chunks that the pixels of a batch are cut into for it, at least."""
        others = pieces(self.units, self.width) * self.parts(by_line=True) * self.batches
        spans = self.lines // self.batches * min(self._spans(dilation) for _, dilation, _ in self.kinds)
        blocks = pieces(spans, CUT.vectors // self.width)
        rounds = pieces(blocks, max(CUT.programs // others, 1))
        return pieces(blocks, rounds)


def pieces(whole: int, size: int) -> int:
    """Return into how many parts of a size, the last perhaps smaller, something falls."""
    return -(-whole // size)


def _pitch(x_BCHW: Tensor) -> int:
    return x_BCHW.stride(3)


def _forward(x: Tensor, kernels: Tensor, out: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton import forward_kernel

    launch = _Launch(x, out, start, *bank)
    programs = launch.programs(dilation for _, dilation, _ in launch.kinds)
    forward_kernel[(programs, launch.parts(by_line=False))](
        x, kernels, out, *launch.numbers, GROUPS=launch.groups, **launch.static
    )


def _input_gradient(slope: Tensor, kernels: Tensor, x: Tensor, out: Tensor, start: int, *rest: Any) -> None:
    from nascommon.kernels.bank_triton import input_kernel

    *bank, adds = rest
    launch = _Launch(x, slope, start, *bank, out)
    dilations = sorted({dilation for _, dilation, _ in launch.kinds})
    # Pixels that a thread takes are as far apart as taps: of a map that kinds share those of a dilation at a time.
    for place, same in enumerate([[each] for each in dilations] if launch.shared else [dilations]):
        apart = [_apart(dilation, launch.stride) for dilation in same]
        split = launch.split(max(apart)) if launch.shared else 1
        grid = launch.programs(apart, split), 1 if launch.shared else len(launch.kinds), launch.stride**2
        input_kernel[grid](
            slope, kernels, x, out, *launch.numbers, same[0], ONTO=adds or place > 0, SPLIT=split, **launch.static
        )


def _apart(dilation: int, stride: int) -> int:
    """Return how many pixels of the output lie between taps that meet neighbouring ones."""
    return dilation // stride if dilation % stride == 0 else dilation


def _kernel_gradient(slope: Tensor, x: Tensor, parts: Tensor, start: int, *bank: Any) -> None:
    from nascommon.kernels.bank_triton_kernels import kernel_kernel

    launch = _Launch(x, slope, start, *bank)
    grid = len(parts) * launch.batches, pieces(launch.units, launch.width), launch.parts(by_line=True)
    kernel_kernel[grid](
        slope, x, parts, *launch.numbers, parts.stride(0), GROUPS=launch.groups, WIDTH=launch.width, **launch.static
    )


BANK = "int start, int[] kinds, int stride, bool shared, bool relu, int batches"
OPERATORS: dict[str, tuple[str, Callable[..., None]]] = {
    "bank_forward": (f"(Tensor x, Tensor kernels, Tensor(a!) out, {BANK}) -> ()", _forward),
    "bank_input_gradient": (
        f"(Tensor slope, Tensor kernels, Tensor x, Tensor(a!) out, {BANK}, bool adds) -> ()",
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

"""Pools of 3 x 3 pixels of one map, beside each other: on a GPU of NVIDIA one launch reads the map for all of them.

Suffixes: ``B`` batch, ``C`` channels of the map, ``D`` of the pools, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.kernels import bank_launch
from nascommon.kernels.average import AveragePool

SIDE = 3


@dataclass(frozen=True)
class Pools:
    """Pools of one stride, padded so that only that makes a map smaller.

    Attributes:
        modules: one after the other in the output.
    """

    modules: tuple[nn.MaxPool2d | AveragePool, ...]

    @cached_property
    def stride(self) -> int:
        """Pixels between neighbouring windows."""
        return int(self.modules[0].stride)  # type: ignore[arg-type]

    @cached_property
    def averages(self) -> list[bool]:
        """Return of each whether it is a mean and not a maximum."""
        return [isinstance(module, nn.AvgPool2d) for module in self.modules]

    def size(self, x_BCHW: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the output [B, pools * C, H / stride, W / stride], rounded up."""
        B, C, H, W = x_BCHW.shape
        return B, len(self.modules) * C, -(-H // self.stride), -(-W // self.stride)

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Compute them one by one."""
        outs = [module(x_BCHW) for module in self.modules]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def along(self, vector_BCHW: Tensor, taps_BCHW: Tensor) -> Tensor:
        """Return how the pools change [B, D, H', W'] where their map moves along a vector.

        Args:
            vector_BCHW: the direction.
            taps_BCHW: as ``forward`` returned them.
        """
        outs = [
            module(vector_BCHW) if averages else self._at_largest(vector_BCHW, taps_BCHW)
            for module, averages in zip(self.modules, self.averages, strict=True)
        ]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def _at_largest(self, x_BCHW: Tensor, taps_BCHW: Tensor) -> Tensor:
        """Return what a map has where the largest number of each window stands in another."""
        taps, (rows, columns) = taps_BCHW.long(), taps_BCHW.shape[2:]
        row = torch.arange(rows, device=taps.device)[:, None] * self.stride - SIDE // 2 + taps // SIDE
        column = torch.arange(columns, device=taps.device) * self.stride - SIDE // 2 + taps % SIDE
        places_BCHW = row * x_BCHW.shape[3] + column
        return x_BCHW.flatten(2).gather(2, places_BCHW.flatten(2)).view(taps.shape)

    def launches(self, x_BCHW: Tensor) -> bool:
        """Return whether the kernels compute them on this map."""
        known = len(set(self.averages)) == len(self.averages)
        windows = {(each.kernel_size, each.stride, each.padding) for each in self.modules}
        return known and windows == {(SIDE, self.stride, SIDE // 2)} and bank_launch.takes(x_BCHW, len(self.modules))


def forward(pools: Pools, x_BCHW: Tensor, out_BDHW: Tensor) -> Tensor:
    """Write the pools into a map, or the part of one; return where the largest number of each window stands.

    Returns:
        Of nine, in rows [B, C, H', W'] or, without a maximum, empty.
    """
    B, C, rows, columns = x_BCHW.shape[:2] + out_BDHW.shape[2:]
    taps = x_BCHW.new_empty((B, rows, columns, 0 if all(pools.averages) else C), dtype=torch.uint8).permute(0, 3, 1, 2)
    torch.ops.nascommon.pools_forward(bank_launch.pitched(x_BCHW), out_BDHW, taps, pools.averages, pools.stride)
    return taps


def gradient(pools: Pools, slope_BDHW: Tensor, taps_BCHW: Tensor, out_BCHW: Tensor, adds: bool) -> None:
    """Write the gradient of the input, given that of the pools.

    Args:
        pools: what was computed.
        slope_BDHW: gradient of their outputs; its pixels lie at equal distances.
        taps_BCHW: as ``forward`` returned them.
        out_BCHW: what is written to; its pixels, too, lie at equal distances.
        adds: whether it is added to what is there.
    """
    torch.ops.nascommon.pools_gradient(slope_BDHW, taps_BCHW, out_BCHW, pools.averages, pools.stride, adds)


class _Launch:
    """What both launches have in common."""

    def __init__(self, small: Tensor, pools: Tensor, averages: Sequence[bool], stride: int, *pitched: Tensor) -> None:
        """Take a map of the input's shape, one of the output's, and those that are read or written vector by vector."""
        _, C, H, W = small.shape
        self.pitches = [each.stride(3) for each in pitched]
        offsets = [int(each.storage_offset()) for each in pitched]
        self.vec = gcd(C, *self.pitches, *offsets, bank_launch.CUT.vec)
        self.units = C // self.vec
        starts = [averages.index(kind) * self.units if kind in averages else 0 for kind in (False, True)]
        self.geometry = (self.units, H, W, *pools.shape[2:], pools.stride(3) // self.vec, *starts)
        self.static = {
            "STRIDE": stride, "VEC": self.vec, "MAX": False in averages, "MEAN": True in averages,
            "BLOCK": bank_launch.CUT.vectors, **bank_launch.options(),
        }  # fmt: skip

    def over(self, map_BCHW: Tensor) -> tuple[tuple[int], int]:
        """Return the grid of programs that take the vectors of all pixels of a map, and the number of these."""
        B, _, H, W = map_BCHW.shape
        vectors = B * H * W * self.units
        return (-(-vectors // bank_launch.CUT.vectors),), vectors


def _forward(x: Tensor, out: Tensor, taps: Tensor, averages: list[bool], stride: int) -> None:
    from nascommon.kernels.pools_triton import forward_kernel

    launch = _Launch(x, out, averages, stride, x, out)
    grid, vectors = launch.over(out)
    forward_kernel[grid](x, out, taps, x.stride(3) // launch.vec, *launch.geometry, vectors, **launch.static)


def _gradient(slope: Tensor, taps: Tensor, out: Tensor, averages: list[bool], stride: int, adds: bool) -> None:
    from nascommon.kernels.pools_triton import gradient_kernel

    launch = _Launch(out, slope, averages, stride, slope, out)
    grid, vectors = launch.over(out)
    to_pitch = out.stride(3) // launch.vec
    gradient_kernel[grid](slope, taps, out, to_pitch, *launch.geometry, vectors, ONTO=adds, **launch.static)


OPERATORS: dict[str, tuple[str, Any]] = {
    "pools_forward": ("(Tensor x, Tensor(a!) out, Tensor(b!) taps, bool[] averages, int stride) -> ()", _forward),
    "pools_gradient": (
        "(Tensor slope, Tensor taps, Tensor(a!) out, bool[] averages, int stride, bool adds) -> ()",
        _gradient,
    ),
}
bank_launch.register(OPERATORS)

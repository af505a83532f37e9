"""The readers of a state, as a cell has them, each of which hands it on: banks, others with pools, a product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.handed import Handed
from nascommon.kernels.pointwise import product
from nascommon.kernels.pools import Pools

ENTERING, DILATED = Bank((Kind(3, 1, 2), Kind(5, 2, 1))), Bank((Kind(3, 2, 2),))
OWN = Bank((Kind(3, 1), Kind(5, 1)), shared=False)
POOLS = Pools((nn.MaxPool2d(3, 1, 1), AveragePool(3, 1, 1)))
ROWS = 5
"""Channels of the product."""


def inputs(
    channels: int,
    all_of_them: int,
    size: tuple[int, int] = (5, 6),
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Return a state, of which so many channels are read by all but the product, and all else that outputs take."""
    wide = torch.promote_types(dtype, torch.float32)
    kernels = [torch.randn(bank.taps * channels, dtype=wide) for bank in (ENTERING, OWN, DILATED)]
    maps = [
        torch.randn(2, *size, count, dtype=wide).to(dtype).permute(0, 3, 1, 2) for count in (all_of_them, 2 * channels)
    ]
    matrix = torch.randn(ROWS, all_of_them, dtype=wide).to(dtype)
    return [each.to(device).requires_grad_() for each in (*maps, *kernels, matrix)]


def outputs(channels: int, given: Sequence[Tensor], readers: str = "first last product") -> list[Tensor]:
    """Return what some readers make of a state."""
    x, own, *kernels, matrix = given
    state, outs = Handed(x, channels), []
    if "first" in readers:
        outs.append(beside([(ENTERING, state, kernels[0])]))
    if "last" in readers:
        outs.append(beside([(OWN, own, kernels[1]), (DILATED, state, kernels[2])], (POOLS, state)))
    if "product" in readers:
        outs.append(product(state.whole_BXHW, matrix))
    return outs


def slopes(outs: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients of outputs."""
    return [torch.randn(out.shape, dtype=torch.float64).to(out) for out in outs]

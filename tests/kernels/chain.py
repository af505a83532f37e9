"""The readers of a state, as a cell has them, each of which hands it on: banks, others with pools, a product."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.handed import Handed
from nascommon.kernels.nodes import Nodes
from nascommon.kernels.pointwise import product
from nascommon.kernels.pools import Pools

ENTERING, DILATED = Bank((Kind(3, 1, 2), Kind(5, 2, 1))), Bank((Kind(3, 2, 2),))
OWN = Bank((Kind(3, 1), Kind(5, 1)), shared=False)
Way = Callable[[int, Sequence[Tensor]], list[Tensor]]
"""(channels that are read, inputs) -> outputs."""
POOLS = Pools((nn.MaxPool2d(3, 1, 1), AveragePool(3, 1, 1)))


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
    matrix = torch.randn(all_of_them, all_of_them, dtype=wide).to(dtype)
    return [each.to(device).requires_grad_() for each in (*maps, *kernels, matrix)]


def outputs(channels: int, given: Sequence[Tensor], readers: str = "first last product") -> list[Tensor]:
    """Return what some readers make of a state."""
    state = Handed(given[0], channels)
    outs = banks(state, given, readers)
    return [*outs, product(state.whole_BXHW, given[-1])] if "product" in readers else outs


def node_outputs(channels: int, given: Sequence[Tensor]) -> list[Tensor]:
    """Return what banks make of a node, and all nodes, of which the last has the product.

    The node is the second of three, which the state enters.
    """
    x, *_, matrix = given
    X = x.shape[1]
    nodes = Nodes(3, X, (len(x), *x.shape[2:]), x)
    nodes.multiply(1, [(Handed(x), torch.eye(X).to(x)[None])])
    nodes.put_back(0, nodes.take(0))
    state = Handed(nodes.take(1), channels)
    outs = banks(state, given)
    nodes.multiply(2, [(state, matrix[None])])
    nodes.put_back(1, state.whole_BXHW)
    return [*outs, nodes.beside([0, 1, 2])]


def banks(state: Handed, given: Sequence[Tensor], readers: str = "first last") -> list[Tensor]:
    """Return what those of a stage or of both make of a state."""
    _, own, *kernels, _ = given
    outs = []
    if "first" in readers:
        outs.append(beside([(ENTERING, state, kernels[0])]))
    if "last" in readers:
        outs.append(beside([(OWN, own, kernels[1]), (DILATED, state, kernels[2])], (POOLS, state)))
    return outs


def slopes(outs: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients of outputs."""
    return [torch.randn(out.shape, dtype=torch.float64).to(out) for out in outs]

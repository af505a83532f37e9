"""Architecture logits are what the search learns; a relaxation turns them into mixing weights.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nascommon.space.genotype import CELL_KINDS, CellKind
from nascommon.space.mixing import Candidates


@dataclass(frozen=True)
class CellLogits:
    """The architecture parameters of one kind of cell: alpha, one per candidate of each edge."""

    alpha_EO: Tensor

    def named(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {"alpha_EO": self.alpha_EO}


@dataclass(frozen=True)
class Logits:
    """The architecture parameters of both kinds of cells; all normal cells share theirs, and so do the reductions."""

    normal: CellLogits
    reduction: CellLogits

    def cell(self, kind: CellKind) -> CellLogits:
        """Return those of that kind of cell."""
        return self.normal if kind == "normal" else self.reduction

    def named(self) -> dict[str, Tensor]:
        """Return all tensors by name, such as ``normal.alpha_EO``."""
        return {f"{kind}.{name}": tensor for kind in CELL_KINDS for name, tensor in self.cell(kind).named().items()}

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        return list(self.named().values())

    def load(self, named: dict[str, Tensor]) -> None:
        """Copy values in place from what ``named()`` returned earlier."""
        with torch.no_grad():
            for name, tensor in self.named().items():
                tensor.copy_(named[name])


LogitsInitialiser = Callable[[int, int, torch.Generator], CellLogits]
"""(edges, operations, generator) -> logits on the CPU."""


def normal_alpha(scale: float) -> LogitsInitialiser:
    """Draw alpha from N(0, 1) times ``scale`` (DARTS: 1e-3)."""

    def initialise(edges: int, operations: int, generator: torch.Generator) -> CellLogits:
        return CellLogits(scale * torch.randn(edges, operations, generator=generator))

    return initialise


def zero_alpha(edges: int, operations: int, _generator: torch.Generator) -> CellLogits:
    """Start from, and for a method that learns none stay at, equal logits."""
    return CellLogits(torch.zeros(edges, operations))


def initial_logits(
    initialise: LogitsInitialiser, candidates: Candidates, generator: torch.Generator, device: torch.device
) -> Logits:
    """Make the leaf tensors that the search optimises."""
    cells = [
        initialise(len(candidates.cell(kind)), len(candidates.cell(kind)[0]), generator).alpha_EO for kind in CELL_KINDS
    ]
    return Logits(*(CellLogits(alpha.to(device).requires_grad_()) for alpha in cells))

"""Architecture logits are what the search learns; a relaxation turns them into mixing weights.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nascommon.parts.discretizer import Keep
from nascommon.space.kinds import PerKind
from nascommon.space.space import CellSpace, Space


@dataclass(frozen=True)
class CellLogits:
    """The architecture parameters of one kind of cell.

    Attributes:
        alpha_EO: one per candidate of each edge.
        beta_E: one per edge, for methods that also weigh edges; else None.
    """

    alpha_EO: Tensor
    beta_E: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        beta = {} if self.beta_E is None else {"beta_E": self.beta_E}
        return {"alpha_EO": self.alpha_EO, **beta}

    def betas(self) -> Tensor:
        """Return the logits of the edges; it is our mistake to ask where a method has none."""
        assert self.beta_E is not None, "this relaxation needs edge logits"
        return self.beta_E


class Logits(PerKind[CellLogits]):
    """The architecture parameters of every kind of cell; all cells of a kind share theirs."""

    @property
    def like(self) -> Tensor:
        """One of the tensors, for the dtype and the device of all."""
        return self.main.alpha_EO

    def named(self) -> dict[str, Tensor]:
        """Return all tensors by name, such as ``normal.alpha_EO``."""
        return {f"{kind}.{name}": tensor for kind, cell in self.items() for name, tensor in cell.named().items()}

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        return list(self.named().values())

    def load(self, named: dict[str, Tensor]) -> None:
        """Copy values in place from what ``named()`` returned earlier."""
        with torch.no_grad():
            for name, tensor in self.named().items():
                tensor.copy_(named[name])


LogitsInitialiser = Callable[[CellSpace, torch.Generator], CellLogits]
"""(space of a kind of cell, generator) -> logits on the CPU."""


def normal_alpha(scale: float) -> LogitsInitialiser:
    """Draw alpha from N(0, 1) times ``scale`` (DARTS: 1e-3)."""

    def initialise(space: CellSpace, generator: torch.Generator) -> CellLogits:
        return CellLogits(scale * torch.randn(len(space.candidates), space.operations, generator=generator))

    initialise.__name__ = f"alpha ~ {scale:g} N(0, 1)"
    return initialise


def zero_alpha(space: CellSpace, _generator: torch.Generator) -> CellLogits:
    """Start from, and for a method that learns none stay at, equal logits."""
    return CellLogits(torch.zeros(len(space.candidates), space.operations))


def with_normal_beta(alphas: LogitsInitialiser, scale: float) -> LogitsInitialiser:
    """Draw beta from N(0, 1) times ``scale`` beside the alphas (PC-DARTS: 1e-3)."""

    def initialise(space: CellSpace, generator: torch.Generator) -> CellLogits:
        logits = alphas(space, generator)
        return replace(logits, beta_E=scale * torch.randn(len(space.candidates), generator=generator))

    initialise.__name__ = f"{alphas.__name__}, beta ~ {scale:g} N(0, 1)"
    return initialise


def with_kept_share_beta(alphas: LogitsInitialiser, keep: Keep, scale: float) -> LogitsInitialiser:
    """Let the betas of node j with n inputs sum to the k_j edges that it shall keep: k_j / n + N(0, 1) * ``scale``.

    Args:
        alphas: makes the alphas.
        keep: says k_j.
        scale: of the noise (DA2S: 1e-4).
    """

    def initialise(space: CellSpace, generator: torch.Generator) -> CellLogits:
        logits = alphas(space, generator)
        shares = [
            min(k / len(incoming), 1.0)
            for k, incoming in zip(keep.by_node(space), space.topology.incoming.values(), strict=True)
            for _ in incoming
        ]
        noise = scale * torch.randn(len(space.candidates), generator=generator)
        return replace(logits, beta_E=torch.tensor(shares) + noise)

    initialise.__name__ = f"{alphas.__name__}, beta = k / n + {scale:g} N(0, 1)"
    return initialise


def initial_logits(
    initialise: LogitsInitialiser, space: Space, generator: torch.Generator, device: torch.device
) -> Logits:
    """Make the leaf tensors that the search optimises."""
    cells = {kind: initialise(cell, generator) for kind, cell in space.cells.items()}
    return Logits(
        (kind, CellLogits(**{name: tensor.to(device).requires_grad_() for name, tensor in cell.named().items()}))
        for kind, cell in cells.items()
    )

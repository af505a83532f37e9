"""A penalty is added to the validation loss of the architecture step.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nascommon.parts.control import Control, Priority, Progress
from nascommon.parts.discretizer import Keep
from nascommon.parts.logits import CellLogits, Logits
from nascommon.parts.relaxation import Transform, clipped
from nascommon.settings import NonNegative, Settings
from nascommon.space.space import CellSpace, Space

Penalty = Callable[[Logits, Space, Progress], Tensor]
"""(logits, space of the supernet, progress) -> scalar."""


class EntropyPenalty(Settings):
    """Coefficients of the discretization penalty, as released (docs/methods.md, section 3.5).

    Deviation: the paper has no factor 0.1 on the whole and no 0.2 on the edge count (lambda_c.factor, count_weight: 1).
    """

    lambda_c: Priority = Priority(control="linear", factor=0.1)
    """Weight of the whole penalty."""
    lambda_1: Priority = Priority(control="log", delayed=True)
    """Weight of the operations' entropy."""
    lambda_2: Priority = Priority(factor=4.0)
    """Weight of the edges' entropy and number."""
    count_weight: NonNegative = 0.2
    """Weight of the edges' number within that of the edges."""

    def penalty(self, keep: Keep, transform: Transform) -> Penalty:
        """Return the penalty towards the edges that ``keep`` keeps."""
        return discretization_penalty(
            keep,
            lambda_c=self.lambda_c.function(),
            lambda_alpha=self.lambda_1.function(),
            lambda_beta=self.lambda_2.function(),
            count_weight=self.count_weight,
            transform=transform,
        )


def no_penalty(logits: Logits, _space: Space, _progress: Progress) -> Tensor:
    """DARTS asks nothing of the logits but a low validation loss."""
    return logits.like.new_zeros(())


def discretization_penalty(
    keep: Keep,
    *,
    lambda_c: Control,
    lambda_alpha: Control,
    lambda_beta: Control,
    count_weight: float,
    transform: Transform,
) -> Penalty:
    """Push the logits towards a discrete choice: lambda_c (lambda_alpha L_O + lambda_beta L_E) (DA2S, eqs. 2 to 7).

    L_O is the entropy of the operations summed over all edges, L_E that of the edges plus how far their number is
    from the target, summed over the nodes that shall lose edges (eqs. 3 and 5).

    Args:
        keep: says the edges k_j to keep by node; a node that keeps all its edges has no part in L_E.
        lambda_c: coefficient of the whole.
        lambda_alpha: coefficient of L_O.
        lambda_beta: coefficient of L_E; where it is 0 at all times, no edge logits are needed.
        count_weight: factor of (sum of beta - k_j)^2 (paper: 1, released code: 0.2).
        transform: of alpha before its softmax, as in the relaxation.
    """

    def penalty(logits: Logits, space: Space, progress: Progress) -> Tensor:
        cells = list(logits.values())
        total = lambda_alpha(progress) * torch.stack([operation_entropy(cell, transform) for cell in cells]).sum()
        if cells[0].beta_E is not None:
            edges = (edge_entropy(cell, space.cells[kind], keep, count_weight) for kind, cell in logits.items())
            total = total + lambda_beta(progress) * sum(edges)
        return lambda_c(progress) * total

    penalty.__name__ = "entropy of operations and edges"
    return penalty


def operation_entropy(logits: CellLogits, transform: Transform) -> Tensor:
    """L_O: entropy in nats of the softmax over the operations, summed over the edges (DA2S, eq. 3)."""
    return entropy(transform(logits.alpha_EO)).sum()


def edge_entropy(logits: CellLogits, space: CellSpace, keep: Keep, count_weight: float) -> Tensor:
    """L_E: entropy of the softmax over a node's edges plus ``count_weight`` (sum of beta > 0, minus k)^2 (DA2S, eq. 5).

    Beta is capped at 1, so a sum of k is k edges kept for good.
    """
    beta_E = clipped(logits.betas())
    total = beta_E.new_zeros(())
    for k, incoming in zip(keep.by_node(space), space.topology.incoming.values(), strict=True):
        if k < len(incoming):
            node_E = beta_E[incoming.start : incoming.stop]
            total = total + entropy(node_E) + count_weight * (node_E.clamp(min=0).sum() - k) ** 2
    return total


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of the softmax over the last axis."""
    log_share = logits.log_softmax(dim=-1)
    return -(log_share.exp() * log_share).sum(dim=-1)


def sum_of(penalties: Sequence[Penalty]) -> Penalty:
    """Add several penalties up."""

    def penalty(logits: Logits, space: Space, progress: Progress) -> Tensor:
        return no_penalty(logits, space, progress) + sum(part(logits, space, progress) for part in penalties)

    penalty.__name__ = " + ".join(part.__name__ for part in penalties)
    return penalty


def zero_one_penalty(weight: float) -> Penalty:
    """Push every sigmoid away from 1/2: minus ``weight`` times the mean of (sigmoid - 1/2)^2 (FairDARTS, eq. 7)."""

    def penalty(logits: Logits, _space: Space, _progress: Progress) -> Tensor:
        alphas = torch.cat([cell.alpha_EO.flatten() for cell in logits.values()])
        return -weight * ((alphas.sigmoid() - 0.5) ** 2).mean()

    penalty.__name__ = f"zero-one loss times {weight:g}"
    return penalty


def beta_decay_penalty(weight: Control) -> Penalty:
    """Keep the logits small and near each other: the mean over edges of logsumexp(alpha) (Beta-DARTS, eq. 13)."""

    def penalty(logits: Logits, _space: Space, progress: Progress) -> Tensor:
        sums_E = torch.cat([cell.alpha_EO.logsumexp(dim=-1) for cell in logits.values()])
        return weight(progress) * sums_E.mean()

    penalty.__name__ = "Beta decay"
    return penalty

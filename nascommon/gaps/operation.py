"""The operation gap: how far the learned weight of an operation is from its worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from nascommon.data.batch import Batch
from nascommon.gaps.discretization import Difference
from nascommon.search.scores import supernet_scores
from nascommon.search.state import SearchState
from nascommon.space.mixing import Mixing
from nascommon.space.operations import PARAMETER_FREE
from nascommon.space.space import Space
from nascommon.statistics.intervals import bootstrap_mean
from nascommon.statistics.ranking import Ranking, rank_correlation


def _ignore(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class OperationGap:
    """Distance between the learned weights of the operations and what the supernet loses without them.

    Attributes:
        excess: share of an edge's weight that lies on candidates without parameters, minus their uniform share,
            averaged over all edges (``none`` left out); positive is the papers' bias towards skips.
        worth: rank correlation between the weight of each candidate and the accuracy that the supernet loses
            without it; None where it was not measured.
        loss_worth: the same with the rise of the loss, which sees smaller changes.
        table: a row per candidate.
    """

    excess: Difference
    worth: Ranking | None
    loss_worth: Ranking | None
    table: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, float | None]:
        """Return the figures by name."""
        named: dict[str, float | None] = {
            "operation_gap_excess": self.excess.value,
            "operation_gap_excess_low": self.excess.low,
            "operation_gap_excess_high": self.excess.high,
        }
        for name, ranking in (("weight_worth", self.worth), ("weight_loss_worth", self.loss_worth)):
            low, high = (ranking.interval if ranking else None) or (None, None)
            named |= {
                f"{name}_tau": ranking.tau_b if ranking else None, f"{name}_tau_low": low, f"{name}_tau_high": high,
            }  # fmt: skip
        return named


def operation_gap(
    state: SearchState, valid: Iterable[Batch] | None, *, seed: int, on_removed: Callable[[int, int], None] = _ignore
) -> OperationGap:
    """Measure bias towards candidates without parameters, and whether weight follows worth.

    Args:
        state: the end of a search.
        valid: batches of the architecture half, on which each candidate is removed in turn; None skips that.
        seed: seed of the bootstrap.
        on_removed: told (candidates removed so far, candidates in all).
    """
    rows = []
    for row in removals(state, valid) if valid is not None else ():
        rows.append(row)
        on_removed(len(rows), count_removals(state.spec.space))
    weights = [row["weight"] for row in rows]
    measured = len(rows) > 2  # noqa: PLR2004 -- a ranking of two says nothing
    return OperationGap(
        excess=Difference(*bootstrap_mean(_excess(state), seed=seed)),
        worth=rank_correlation(weights, [row["accuracy_drop"] for row in rows], seed=seed) if measured else None,
        loss_worth=rank_correlation(weights, [row["loss_rise"] for row in rows], seed=seed) if measured else None,
        table=tuple(rows),
    )


@torch.no_grad()
def _excess(state: SearchState) -> list[float]:
    """Return per edge the share on candidates without parameters minus their uniform share, ``none`` left out."""
    mixing, values = state.mixing(), []
    for kind, edges in state.spec.space.candidates.items():
        for weights_O, names in zip(mixing[kind].weights_EO.tolist(), edges, strict=True):
            real = [
                (weight, name in PARAMETER_FREE)
                for weight, name in zip(weights_O, names, strict=True)
                if name != "none"
            ]
            free = [weight for weight, is_free in real if is_free]
            total = sum(weight for weight, _ in real)
            values.append(sum(free) / total - len(free) / len(real) if total else 0.0)
    return values


def count_removals(space: Space) -> int:
    """Return how many candidates ``removals`` takes out of a supernet of that space."""
    return sum(name != "none" for edges in space.candidates.values() for names in edges for name in names)


def removals(state: SearchState, valid: Iterable[Batch]) -> Iterator[dict[str, Any]]:
    """Take out each candidate but ``none`` in turn and yield what the supernet loses; nothing is renormalised."""
    mixing = state.scored()
    loss, accuracy = supernet_scores(state.supernet, mixing, valid)
    for kind, edges in state.spec.space.candidates.items():
        weights_EO = mixing[kind].products().tolist()
        for edge, names in enumerate(edges):
            for choice, name in enumerate(names):
                if name == "none":
                    continue
                without = without_candidate(mixing, kind, edge, choice)
                new_loss, new_accuracy = supernet_scores(state.supernet, without, valid)
                yield {
                    "cell": kind, "edge": edge, "operation": name, "weight": weights_EO[edge][choice],
                    "accuracy_drop": accuracy - new_accuracy, "loss_rise": new_loss - loss,
                }  # fmt: skip


def without_candidate(mixing: Mixing, kind: str, edge: int, choice: int) -> Mixing:
    """Return the mixing weights without one candidate of one edge."""
    cell = mixing[kind]
    weights_EO = cell.weights_EO.clone()
    weights_EO[edge, choice] = 0
    return Mixing({**mixing, kind: replace(cell, weights_EO=weights_EO)})

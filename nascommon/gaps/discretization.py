"""The gaps between search and retraining, measured by the same code for every method.

Here are those that one supernet shows by itself, discretization and operation; structure and depth compare
architectures that are trained on their own (``nascommon.statistics.ranking``).
Suffixes: ``N`` images, ``E`` edges, ``O`` operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nascommon.data.batch import Batch
from nascommon.parts.discretizer import ALL_KEPT, IMBALANCED, PAPERS, keep_edges, strongest
from nascommon.search.scores import fresh_statistics, recalibrate
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import CellMixing, Mixing, one_hot
from nascommon.space.space import CellSpace
from nascommon.statistics.intervals import paired_difference
from nascommon.training.scoring import evaluating

KEPT_EDGES = (ALL_KEPT, *sorted(IMBALANCED, reverse=True))
"""DA2S' targets, of 14 edges."""


@dataclass(frozen=True)
class Difference:
    """A difference of accuracies with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DiscretizationGap:
    """Validation accuracies in [0, 1] of one supernet, with its mixing weights and with its kept operations alone.

    ``soft`` uses the mixing weights, of methods that sample the mean of what they draw; ``kept`` gives the genotype's
    operations weight one and removes all others (DA2S, section 3.2), ``kept_weighted`` lets them carry their learned
    weights (``weighted_mixing``).
    ``recalibrated`` measures batch-norm statistics anew under the respective weights.
    """

    soft: float
    kept: float
    kept_weighted: float
    soft_recalibrated: float
    kept_recalibrated: float
    raw: Difference
    """The gap with the supernet's own batch-norm statistics."""
    weighted: Difference
    """The gap with learned weights on what is kept, own statistics."""
    recalibrated: Difference
    """The gap that is left after recalibration."""

    def as_dict(self) -> dict[str, float]:
        """Return accuracies, gaps and their intervals by name."""
        accuracies = ("soft", "kept", "kept_weighted", "soft_recalibrated", "kept_recalibrated")
        named = {name: getattr(self, name) for name in accuracies}
        gaps = (("", self.raw), ("_weighted", self.weighted), ("_recalibrated", self.recalibrated))
        for suffix, gap in gaps:
            name = f"discretization_gap{suffix}"
            named |= {name: gap.value, f"{name}_low": gap.low, f"{name}_high": gap.high}
        return named


def discretization_gap(
    state: SearchState, genotype: Genotype, calibration: Iterable[Batch], valid: Iterable[Batch]
) -> DiscretizationGap:
    """Measure how much accuracy the supernet loses by discretization, with the same network weights and no retraining.

    Args:
        state: the end of a search.
        genotype: what is kept.
        calibration: batches of the weight half for batch-norm statistics.
        valid: batches of the architecture half; both are iterated more than once.
    """
    kept, weighted = kept_mixing(state, genotype), weighted_mixing(state, genotype)
    soft = state.scored()
    soft_N, kept_N = hits(state, soft, valid), hits(state, kept, valid)
    weighted_N = hits(state, weighted, valid)
    soft_new_N = hits(state, soft, valid, calibration)
    kept_new_N = hits(state, kept, valid, calibration)
    return DiscretizationGap(
        soft=_share(soft_N),
        kept=_share(kept_N),
        kept_weighted=_share(weighted_N),
        soft_recalibrated=_share(soft_new_N),
        kept_recalibrated=_share(kept_new_N),
        raw=_difference(soft_N, kept_N),
        weighted=_difference(soft_N, weighted_N),
        recalibrated=_difference(soft_new_N, kept_new_N),
    )


def kept_mixing(state: SearchState, genotype: Genotype) -> Mixing:
    """Return weight one on the genotype's operations."""
    return one_hot(genotype, state.spec.space, like=state.logits.like)


@torch.no_grad()
def weighted_mixing(state: SearchState, genotype: Genotype) -> Mixing:
    """Let the kept operations carry their learned weights, scaled per node to what all its operations carried.

    The other reading of "after discretization": the mass that enters a node stays as it was
    (docs/methods.md, section 3.5).
    """
    soft, kept = state.mixing(), kept_mixing(state, genotype)
    return Mixing((kind, _carried(soft[kind], cell, state.spec.space.cells[kind])) for kind, cell in kept.items())


def _carried(soft: CellMixing, kept: CellMixing, space: CellSpace) -> CellMixing:
    real_EO = torch.tensor([[name != "none" for name in row] for row in space.candidates])
    mass_EO = soft.products() * real_EO.to(soft.weights_EO)
    left_EO = mass_EO * kept.weights_EO
    rows = []
    # Scaled per node, not per edge: an edge that goes hands its mass to those that stay.
    for incoming in space.topology.incoming.values():
        mine = slice(incoming.start, incoming.stop)
        rows.append(left_EO[mine] * (mass_EO[mine].sum() / left_EO[mine].sum().clamp(min=1e-12)))
    return replace(kept, weights_EO=torch.cat(rows))


def gap_by_kept_edges(state: SearchState, calibration: Iterable[Batch], valid: Iterable[Batch]) -> list[dict[str, Any]]:
    """Cut one supernet to 8, 6, 5, 4 and 3 of 14 edges and measure each (DA2S, Table 4); [] for other cells.

    Edges rank by their best operation's weight times their own. ``kept`` has weight one on what stays,
    ``kept_weighted`` the learned weights scaled to the mass that entered each node.
    """
    space, rows = state.spec.space, []
    if any(cell.topology != PAPERS for cell in space.cells.values()):
        return []
    soft = _share(hits(state, state.scored(), valid))
    for edges in KEPT_EDGES:
        with torch.no_grad():
            cut = strongest(keep_edges(edges, space))  # type: ignore[arg-type]
            genotype = cut(state.mixing(), space)
        one, weighted = kept_mixing(state, genotype), weighted_mixing(state, genotype)
        rows.append(
            {
                "kept_edges": edges,
                "soft": soft,
                "kept": _share(hits(state, one, valid)),
                "kept_recalibrated": _share(hits(state, one, valid, calibration)),
                "kept_weighted": _share(hits(state, weighted, valid)),
                "genotype": genotype.to_json(),
            }
        )
    return rows


@torch.no_grad()
def hits(
    state: SearchState, mixing: Mixing, batches: Iterable[Batch], calibration: Iterable[Batch] | None = None
) -> Tensor:
    """Return [N] on the CPU: 1 where the supernet is right under ``mixing``, else 0.

    Args:
        state: left as it was.
        mixing: what it is right under.
        batches: images to classify.
        calibration: batches on which batch norm is measured anew first; None keeps the supernet's statistics.
    """
    # Fresh statistics live within the ``with`` only, so the same call without calibration is made inside of it.
    if calibration is not None:
        with fresh_statistics(state.supernet):
            recalibrate(state.supernet, mixing, calibration)
            return hits(state, mixing, batches)
    with evaluating(state.supernet):
        scores = [batch.scores(state.supernet(batch.images, mixing)) for batch in batches]
    return torch.cat(scores).double().cpu()


def _share(hits_N: Tensor) -> float:
    return float(hits_N.mean())


def _difference(first_N: Tensor, second_N: Tensor) -> Difference:
    return Difference(*paired_difference(np.asarray(first_N), np.asarray(second_N)))

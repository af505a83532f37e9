"""The gaps between search and retraining, measured by the same code for every method."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from nascommon.search.choose import inherited_accuracy
from nascommon.search.scores import recalibrated_scores, supernet_scores
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import one_hot
from nascommon.training.scoring import ImageBatches


@dataclass(frozen=True)
class DiscretizationGap:
    """Validation accuracies in [0, 1] of one supernet, with its mixing weights and with its kept operations alone.

    ``soft`` uses what the method's forward pass uses; ``kept`` gives the genotype's operations weight one and removes
    all others (DA2S, section 3.2). ``recalibrated`` measures batch-norm statistics anew under the respective weights.
    """

    soft: float
    kept: float
    soft_recalibrated: float
    kept_recalibrated: float

    @property
    def raw(self) -> float:
        """The gap with the supernet's own batch-norm statistics."""
        return self.soft - self.kept

    @property
    def recalibrated(self) -> float:
        """The gap that is left after recalibration."""
        return self.soft_recalibrated - self.kept_recalibrated

    def as_dict(self) -> dict[str, float]:
        """Return accuracies and gaps by name."""
        return {
            **asdict(self),
            "discretization_gap": self.raw,
            "discretization_gap_recalibrated": self.recalibrated,
        }


def discretization_gap(
    state: SearchState, genotype: Genotype, calibration: ImageBatches, valid: ImageBatches
) -> DiscretizationGap:
    """Measure how much accuracy the supernet loses by discretization, with the same network weights and no retraining.

    Args:
        state: the end of a search.
        genotype: what is kept.
        calibration: batches of the weight half for batch-norm statistics.
        valid: batches of the architecture half; both are iterated more than once.
    """
    spec = state.spec
    kept = one_hot(genotype, spec.topology, spec.candidates, like=state.logits.normal.alpha_EO)
    return DiscretizationGap(
        soft=supernet_scores(state.supernet, state.draw, valid)[1],
        kept=supernet_scores(state.supernet, lambda: kept, valid)[1],
        soft_recalibrated=recalibrated_scores(state.supernet, state.draw, calibration, valid)[1],
        kept_recalibrated=inherited_accuracy(state, genotype, calibration, valid),
    )

"""FairDARTS: sigmoids instead of a softmax, so that operations do not push each other out (Chu et al., ECCV 2020)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import ArchOptimiser, DartsLike, Method, SearchSize, WeightOptimiser, register
from nascommon.parts.choices import Discretize
from nascommon.parts.discretizer import keep_edges, strongest
from nascommon.parts.penalty import zero_one_penalty
from nascommon.parts.relaxation import sigmoid
from nascommon.settings import BatchSize, NonNegative, Probability


class FairdartsSettings(DartsLike):
    """The defaults are the released code's (xiaomi-automl/FairDARTS)."""

    batch_size: BatchSize = 128
    alpha_scale: NonNegative = 0.0
    zero_one_weight: NonNegative = 10.0
    """Factor of the zero-one loss, which pushes every sigmoid away from 1/2."""
    threshold: Probability = 0.85
    """An edge stays only if the sigmoid of its best operation reaches it."""
    none: bool = False
    weights: WeightOptimiser = WeightOptimiser(lr=0.005)
    architecture: ArchOptimiser = ArchOptimiser(lr=3e-3, beta1=0.9)


@register
def fairdarts(settings: FairdartsSettings, size: SearchSize) -> Method:
    """Independent sigmoids pushed to 0 or 1; of a node's two strongest edges only those above a threshold stay.

    Deviation: a cell in which no edge reaches the threshold keeps its strongest one, since a cell must give something;
    edges from a node without input do not compete, where the released code may keep one of them.
    """
    return replace(
        settings.darts(size),
        relax=sigmoid,
        penalty=zero_one_penalty(settings.zero_one_weight),
        discretize=Discretize(strongest(replace(keep_edges(8, size.space), threshold=settings.threshold))),
    )

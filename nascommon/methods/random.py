"""Random search: the baseline that a search method has to beat (Li, Talwalkar, UAI 2019; Yang et al., ICLR 2020)."""

from __future__ import annotations

from nascommon.method import Method, Phase, SearchSize, WeightOptimiser, register
from nascommon.parts.choices import BestOf, Drawn, Sample
from nascommon.parts.logits import zero_alpha
from nascommon.parts.relaxation import uniform_path
from nascommon.parts.sampling import random_path
from nascommon.settings import BatchSize, Count, Settings, Whole


class RandomSettings(Settings):
    """Random search; with ``epochs: 0`` and ``samples: 1`` one architecture is drawn and nothing is trained."""

    epochs: Whole = 50
    """Epochs in which the supernet is trained, one random architecture a step."""
    batch_size: BatchSize = 64
    samples: Count = 1
    """1: an architecture drawn uniformly; more: the best of so many by validation accuracy with inherited weights."""
    none: bool = True
    weights: WeightOptimiser = WeightOptimiser()


@register
def random(settings: RandomSettings, size: SearchSize) -> Method:
    """Uniform architectures: plain sampling, or random search with weight sharing and the best of several samples.

    Deviation: the shared supernet is scored under the mean of the architectures that it is trained on, not under one.
    """
    return Method(
        none=settings.none,
        phases=(Phase(settings.epochs, size.channels, size.cells),),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=zero_alpha,
        relax=uniform_path,
        sample=Sample(random_path),
        arch_gradient=None,
        select=Drawn() if settings.samples == 1 else BestOf(settings.samples),
    )

"""From the end of a search to one genotype: discretize the mixing weights, or take the best of some samples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from nascommon.data.batches import Batches
from nascommon.parts.discretizer import sample_genotype
from nascommon.runtime.seeding import derive, generator
from nascommon.search.scores import recalibrated_scores
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import one_hot
from nascommon.training.scoring import ImageBatches


def inherited_accuracy(state: SearchState, genotype: Genotype, calibration: ImageBatches, valid: ImageBatches) -> float:
    """Return the accuracy of a genotype with the supernet's weights, after batch-norm recalibration."""
    spec = state.spec
    mixing = one_hot(genotype, spec.topology, spec.candidates, like=state.logits.normal.alpha_EO)
    return recalibrated_scores(state.supernet, lambda: mixing, calibration, valid)[1]


def calibration_batches(batches: Batches, count: int, seed: int) -> ImageBatches:
    """Return the ``count`` training batches that batch norm is recalibrated on, the same for every architecture."""
    return list(islice(batches.epoch(derive(seed, "calibration")), count))


def choose_genotype(
    state: SearchState, score: Callable[[Genotype], float], *, seed: int
) -> tuple[Genotype, list[dict[str, Any]]]:
    """Return the method's genotype and the samples that it was chosen from, if any, best first.

    Args:
        state: the end of the search.
        score: accuracy of a genotype on the architecture half; asked only where there are several samples.
        seed: of the samples.
    """
    method, spec = state.method, state.spec
    if state.induced is not None:
        return state.induced.genotype, []
    if method.samples == 0:
        return state.genotype(), []
    draws = [
        sample_genotype(state.mixing(), spec.topology, spec.candidates, generator(seed, "sample", index))
        for index in range(method.samples)
    ]
    if len(draws) == 1:
        return draws[0], []
    scored = sorted(((score(genotype), genotype) for genotype in draws), key=lambda pair: -pair[0])
    return scored[0][1], [
        {"inherited_valid": accuracy, "genotype": genotype.to_json()} for accuracy, genotype in scored
    ]

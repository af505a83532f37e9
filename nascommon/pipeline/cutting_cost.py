"""Time of ``discretize``, from that of an image in the supernet."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.cost.peaks import supernets
from nascommon.gaps.operation import count_removals
from nascommon.method import Method
from nascommon.space.supernet import SupernetSpec

SOFT_EVALUATIONS = 3
"""Evaluations of the whole supernet on the architecture half; those that are cut to a few operations are left out."""


def cutting_cost(params: Params, method: Method, architecture: int, seconds_per_image: float) -> tuple[float, str]:
    """Return the seconds of ``discretize``, and how they come about.

    Args:
        params: settings of the pipeline.
        method: the search.
        architecture: images of the architecture half.
        seconds_per_image: of an evaluation of the supernet.
    """
    if not method.epochs:
        return 0.0, "no supernet to cut"
    settings = params.discretize
    *_, last = supernets(method, SupernetSpec(0, 0, 1, method.searched(params.search.chosen_space())))
    removed = count_removals(last.space) if settings.worth_images else 0
    images = min(settings.worth_images, architecture)
    calibration = settings.calibration_batches * settings.batch_size
    total = (1 + removed) * images + SOFT_EVALUATIONS * architecture + calibration
    return total * seconds_per_image, f"{removed} candidates taken out in turn, {images} images each"

"""Time of ``discretize``, from that of an image in the supernet, and its memory."""

from __future__ import annotations

import torch

from nascommon.config import Params
from nascommon.cost.footprint import Shape
from nascommon.cost.peaks import supernets, untrained_peak
from nascommon.data.batches import full_batches
from nascommon.gaps.operation import count_removals
from nascommon.method import Method
from nascommon.runtime.hardware import resolve_precision
from nascommon.search.setup import base_spec
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


def cutting_bytes(params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device) -> int:
    """Return the bytes that ``discretize`` takes beside its process and the images.

    Args:
        params: settings of the pipeline.
        method: the search.
        shape: of the images.
        halves: images of the weight half and of the architecture half.
        device: where it is computed.
    """
    if not method.epochs:
        return 0
    settings, (weights, architecture) = params.discretize, halves
    size, images = min(settings.batch_size, weights), min(settings.worth_images, architecture)
    count = min(settings.calibration_batches, full_batches(weights, settings.batch_size))
    scored = min(shape.evaluated(settings.batch_size, device, params.search.pieces), architecture)
    whole, rest = divmod(images, scored)
    precision = resolve_precision(params.precision, device)
    base = base_spec(params.search, method, shape.classes, shape.channels, precision)
    return untrained_peak(method, base, shape, ((count, size), (whole, scored), (bool(rest), rest)), scored, device)

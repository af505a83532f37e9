"""Cost of ranking architectures whose accuracy is known: one is scored here as the stage scores all of them."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass

import torch

from nascommon.config import Params
from nascommon.cost.footprint import Shape
from nascommon.cost.peaks import supernets, untrained_peak
from nascommon.data.prepared import open_prepared
from nascommon.data.preparing import is_prepared
from nascommon.method import Method
from nascommon.pipeline.known_scores import SCORED_AT_ONCE
from nascommon.pipeline.paths import TARGET_DATA
from nascommon.pipeline.truths import Source, find_truth, find_truth_by, own_bank
from nascommon.runtime.hardware import resolve_precision
from nascommon.runtime.seeding import generator
from nascommon.search.choose import inherited_accuracies
from nascommon.search.setup import base_spec
from nascommon.search.state import SearchState, new_state
from nascommon.settings import UserError
from nascommon.space.draws import random_genotype
from nascommon.space.supernet import SupernetSpec
from nascommon.truth.bank import read_banks
from nascommon.truth.protocol import Pictures, TrainingProtocol

REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """Seconds of the ranking, how they come about, and bytes beside those of the process and of the images."""

    seconds: float
    how: str
    memory: int


def known_cost(
    params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device
) -> Cost | None:
    """Measure the scoring of one architecture and return the cost of all; None where they are to be trained.

    Args:
        params: settings of the pipeline.
        method: the search.
        shape: of the pictures.
        halves: images of the weight half and of the architecture half.
        device: where it is scored.
    """
    source = expected_truth(params, shape, device)
    if source is None or not method.epochs:
        return None
    settings = params.kendall_tau
    count = min(settings.known_architectures, len(source.scores.genotypes()))
    each = count if settings.mode == "trajectory" else min(settings.known_by_epoch, count)
    by_snapshots = each * min(params.search.snapshots, method.epochs)
    sampled = settings.known_sampled if source.kind == "table" else 0  # a bank knows hardly any of them
    scorings = count + by_snapshots + sampled
    precision = resolve_precision(params.precision, device)
    base = base_spec(params.search, method, shape.classes, shape.channels, precision)
    *_, spec = supernets(method, base)
    state = new_state(method, spec, seed=0, phase=len(method.phases) - 1, device=device)
    calibration = min(settings.calibration_batches * settings.training.batch_size, halves[0])
    images = (calibration, min(settings.known_images or halves[1], halves[1]))
    seconds = seconds_of_scoring(state, shape, images, device)
    by_snapshot = f", {each} of them by every snapshot" if by_snapshots else ""
    memory = bytes_of_scoring(method, base, shape, images, device)
    more = f", and {sampled} drawn from the final mixing weights" if sampled else ""
    how = f"{count} architectures of a {source.kind} scored{by_snapshot}{more}; trains nothing"
    return Cost(scorings * seconds, how, memory)


def expected_truth(params: Params, shape: Shape, device: torch.device) -> Source | None:
    """Return the known accuracies that the stage will find; None where it trains.

    Before the pictures are prepared, a bank of as many pictures of the same source is taken for one of the same.
    """
    precision = resolve_precision(params.precision, device)
    try:
        if is_prepared(params.data, TARGET_DATA):
            found = find_truth(params, open_prepared(TARGET_DATA).manifest, precision)
        else:
            pictures = expected_pictures(params, shape).model_copy(update={"augment": params.data.augment})
            protocol = TrainingProtocol.on(pictures, params.retrain, params.search.chosen_space(), precision)
            found = find_truth_by(params, protocol)
    except UserError:
        return None  # for the stage to tell
    return found if isinstance(found, Source) else None


def expected_pictures(params: Params, shape: Shape) -> Pictures:
    """Return what a protocol will say of pictures that are not prepared yet."""
    for bank in read_banks(own_bank(params)).values():
        pictures = bank.head.protocol.data
        if (pictures.source, pictures.train) == (params.data.source, shape.images):
            return pictures
    return Pictures(
        source=params.data.source, classes=shape.classes, train=shape.images, test=1, content_hash="unknown",
        augment=params.data.augment,
    )  # fmt: skip


def bytes_of_scoring(
    method: Method, base: SupernetSpec, shape: Shape, images: tuple[int, int], device: torch.device
) -> int:
    """Return the bytes of scoring architectures on so many images for batch norm and for accuracies, all held."""
    sizes = min(images[0], SCORED_AT_ONCE), min(images[1], shape.evaluated(SCORED_AT_ONCE, device, pieces=1))
    (few, small), (many, large) = ((count // size, count % size) for count, size in zip(images, sizes, strict=True))
    *_, last = supernets(method, base)
    kept = random_genotype(last.space, generator(0, 0))
    batches = ((few, sizes[0]), (bool(small), small), (many, sizes[1]), (bool(large), large))
    return untrained_peak(method, base, shape, batches, sizes[1], device, kept)


def seconds_of_scoring(state: SearchState, shape: Shape, images: tuple[int, int], device: torch.device) -> float:
    """Return the seconds of scoring one architecture on so many images for batch norm and for its accuracy."""
    sizes = [min(count, SCORED_AT_ONCE) for count in images]
    batches = [shape.batch(size, device) for size in sizes]
    genotypes = [random_genotype(state.spec.space, generator(0, index)) for index in range(1 + REPEATS)]
    scores = inherited_accuracies(state, genotypes, [batches[0]], [batches[1]])
    ends = [time.perf_counter() for _ in scores]
    fastest = min(end - begin for begin, end in itertools.pairwise(ends))
    return fastest * sum(math.ceil(count / size) for count, size in zip(images, sizes, strict=True)) / len(sizes)

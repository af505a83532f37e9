"""What a pipeline will cost on this machine: time from a few real steps of every long stage, memory from its largest.

Steps run the models at their full size. On a CPU they run on two small batches, and the line through both times gives
the step at the real batch; where that is quick, and on a GPU, the real batch is measured. For memory the step with all
that belongs to it is run once more at the real batch: on a GPU for real, for a CPU on tensors without data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nascommon.config import Params
from nascommon.data.prepared import open_prepared
from nascommon.data.settings import DataSettings
from nascommon.method import Method
from nascommon.search.gradients import Batch
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.search.watch import HESSIAN_IMAGES
from nascommon.settings import UserError
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import Candidates, uniform_candidates
from nascommon.space.network import Network, check_image_side
from nascommon.space.published import PUBLISHED
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from nascommon.training.loop import TrainingHooks, train_epoch
from nascommon.training.settings import NetworkSettings, TrainingSettings
from stages.footprint import (
    DRAWING_BYTES,
    DRAWING_STAGES,
    Shape,
    memory_of,
    process_bytes,
    search_steps,
    settle,
    with_fixed_draw,
)
from stages.shell import TARGET, TRANSFER

MIB = 2**20
SMALL = (4, 16)
REPEATS = 3
"""The fastest of so many steps counts: on a busy machine the others measure the neighbours."""
QUICK_SECONDS = 2.0
"""A step that promises to be quicker is measured at its real batch."""
EVALUATION_SHARE = 0.35
"""Time of an image in evaluation as a share of its time in training: the forward pass."""
STAND_IN = "DARTS_V2"
"""Its network stands for that of the genotype, which only the search will know."""
KNOWN = {"digits": (1797, 1, 8, 10), "cifar10": (50_000, 3, 32, 10), "cifar100": (50_000, 3, 32, 100),
         "imagenet": (1_281_167, 3, 224, 1000)}  # fmt: skip
"""Training images, channels, side and classes of sets that need not be prepared to be known."""


@dataclass(frozen=True)
class Estimate:
    """What a stage will cost."""

    stage: str
    seconds: float
    memory_mib: float
    how: str


def estimates(params: Params, method: Method, device: torch.device) -> Iterator[Estimate]:
    """Measure and yield the long stages one by one."""
    target = shape_of(params.data, TARGET, "data")
    process = process_bytes(device, tracked=params.tracking != "none")
    seen = round(target.images * params.data.search_fraction)
    half = round(seen * (1 - params.data.architecture_fraction))
    search = search_estimate(params, method, target, (half, seen - half), device)
    yield with_process(search, process, target)
    retrain = training_cost(params.retrain.network, params.retrain.training, target, "data.size", device)
    images = round(target.images * (1 - params.retrain.holdout))
    yield with_process(training_estimate("retrain", retrain, params.retrain.training, images, 1), process, target)
    if params.transfer.data is not None:
        shape = shape_of(params.transfer.data, TRANSFER, "transfer.data")
        cost = training_cost(params.transfer.network, params.transfer.training, shape, "transfer.data.size", device)
        yield with_process(
            training_estimate("transfer", cost, params.transfer.training, shape.images, 1), process, shape
        )
    kendall = params.kendall_tau
    cost = training_cost(kendall.network, kendall.training, target, "data.size", device)
    if kendall.deep_network is not None:
        deep = training_cost(kendall.deep_network, kendall.training, target, "data.size", device)
        cost = replace(cost, memory_bytes=max(cost.memory_bytes, deep.memory_bytes))
    networks = kendall.architectures * (1 + kendall.noise_ceiling)
    yield with_process(training_estimate("kendall_tau", cost, kendall.training, half, networks), process, target)
    baseline = training_estimate("baseline", retrain, params.retrain.training, images, params.baseline.architectures)
    yield with_process(baseline, process, target)


def with_process(estimate: Estimate, process: int, shape: Shape) -> Estimate:
    """Add to the memory of the steps that of the process and of the images; the pictures are drawn after the steps."""
    if not estimate.memory_mib:
        return estimate
    drawing = DRAWING_BYTES if process and estimate.stage in DRAWING_STAGES else 0
    steps = max(estimate.memory_mib, drawing / MIB)
    return replace(estimate, memory_mib=steps + (process + shape.resident_bytes()) / MIB)


def shape_of(settings: DataSettings, folder: Path, key: str) -> Shape:
    """Return the shape of a prepared set, or of a well-known one that is not prepared yet.

    Raises:
        UserError: nothing is known of the pictures before they are prepared.
    """
    try:
        manifest = open_prepared(folder).manifest
        images = sum(sum(counts.values()) for part, counts in manifest.counts.items() if part != "test")
        if manifest.source == settings.source:
            in_memory = manifest.storage == "memory"
            return Shape(images, manifest.channels, manifest.height, len(manifest.classes), in_memory)
    except UserError:
        pass  # not prepared yet
    if settings.source not in KNOWN:
        raise UserError(f"{key}: run `dvc repro prepare` first, then the estimate knows the pictures")
    images, channels, side, classes = KNOWN[settings.source]
    if settings.source == "digits":
        images = round(images * (1 - settings.test_fraction))
    images = min(images, settings.limit or images)
    classes = len(settings.classes or range(classes))
    in_memory = settings.storage != "files" and settings.source != "imagenet"
    return Shape(images, settings.channels or channels, settings.size or side, classes, in_memory)


def search_estimate(
    params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device
) -> Estimate:
    """Estimate all phases of the method on so many images for the weights and for the architecture."""
    check_image_side(shape.side, method.stem, "data.size")
    topology = Topology(params.search.nodes)
    candidates = uniform_candidates(method.candidates, topology)
    base = SupernetSpec(0, 0, shape.classes, candidates, topology, shape.channels)
    watched = HESSIAN_IMAGES if params.search.watch_every else 0
    seconds, memory = 0.0, 0
    for index, phase in enumerate(method.phases):
        spec = supernet_spec(phase, candidates, base, method)
        state = new_state(method, spec, seed=0, phase=index, device=device)
        plain = measure(lambda batch, state=state: weight_step(state, batch), shape, method.batch_size, device)  # type: ignore[misc]
        both = plain
        if method.arch_gradient is not None:
            both = measure(lambda batch, state=state: bilevel(state, batch), shape, method.batch_size, device)  # type: ignore[misc]
        steps = max(halves[0] // method.batch_size, 1)
        check = halves[1] / method.batch_size * plain * EVALUATION_SHARE
        warm = min(phase.warmup, phase.epochs)
        sweeps = len(method.passes)
        training = steps * (warm * plain + (phase.epochs - warm) * both) + phase.epochs * check
        seconds += sweeps * training
        steady = with_fixed_draw(method, state)
        del state
        memory = max(memory, memory_of(lambda on, s=spec, m=steady: search_steps(m, s, shape, watched, on), device))  # type: ignore[misc]
        candidates = candidates if phase.keep is None else costliest_candidates(candidates, phase.keep)
    how = f"{method.epochs} epochs of {halves[0] // method.batch_size} steps"
    return Estimate("search", seconds, memory / MIB, how)


def costliest_candidates(candidates: Candidates, keep: int) -> Candidates:
    """Return as many candidates as a phase leaves; the last ones, which are convolutions, cost the most."""
    return Candidates(*(tuple(names[-keep:] for names in candidates.cell(kind)) for kind in CELL_KINDS))


def bilevel(state: SearchState, batch: Batch) -> None:
    """Take one architecture step and one weight step."""
    architecture_step(state, batch, batch)
    weight_step(state, batch)


class OneBatch:
    """An epoch of one batch."""

    def __init__(self, batch: Batch) -> None:
        """Keep the batch."""
        self.batch = batch

    def __len__(self) -> int:
        """One."""
        return 1

    def epoch(self, _key: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch."""
        yield self.batch


@dataclass(frozen=True)
class Cost:
    """Time of a training step, and memory of the steps."""

    seconds: float
    memory_bytes: int


def training_cost(
    network: NetworkSettings, training: TrainingSettings, shape: Shape, origin: str, device: torch.device
) -> Cost:
    """Measure a training step of a network of that size."""
    check_image_side(shape.side, network.stem, origin)
    spec = network.spec(classes=shape.classes, image_channels=shape.channels)

    def make_step(on: torch.device) -> Callable[[Batch], object]:
        model = Network(PUBLISHED[STAND_IN], spec).to(device=on, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.drop_probability = training.drop_path / 2
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=training.momentum)
        settle(model, optimiser)
        return lambda batch: train_epoch(model, optimiser, training, OneBatch(batch), 0, TrainingHooks())

    seconds = measure(make_step(device), shape, training.batch_size, device)
    memory = memory_of(lambda on: make_step(on)(shape.batch(training.batch_size, on)), device)
    return Cost(seconds, memory)


def training_estimate(stage: str, step: Cost, training: TrainingSettings, images: int, networks: int) -> Estimate:
    """Estimate a number of trainings."""
    steps = max(images // training.batch_size, 1)
    how = f"{networks} x {training.epochs} epochs of {steps} steps"
    memory = step.memory_bytes / MIB if networks else 0.0
    return Estimate(stage, networks * training.epochs * steps * step.seconds, memory, how)


def measure(step: Callable[[Batch], object], shape: Shape, batch_size: int, device: torch.device) -> float:
    """Return the seconds of a step at ``batch_size``."""
    if device.type == "cuda":
        return timed(step, shape.batch(batch_size, device))
    small, large = (min(size, batch_size) for size in SMALL)
    first, second = (timed(step, shape.batch(size, device)) for size in (small, large))
    slope = max(second - first, 0.0) / max(large - small, 1)
    seconds = second + slope * (batch_size - large)
    return timed(step, shape.batch(batch_size, device)) if seconds < QUICK_SECONDS else seconds


def timed(step: Callable[[Batch], object], batch: Batch) -> float:
    """Return the seconds of the fastest of some steps, after one that warms up."""
    step(batch)
    seconds = []
    for _ in range(REPEATS):
        if batch.images.is_cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        step(batch)
        if batch.images.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)

"""What a pipeline will cost on this machine, from a few real steps of every long stage.

Steps run the models at their full size. On a CPU they run on two small batches, and the line through both times gives
the step at the real batch; where that is quick, and on a GPU, the real batch is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nascommon.config import Params
from nascommon.data.prepared import open_prepared
from nascommon.data.settings import DataSettings
from nascommon.method import Method
from nascommon.runtime.hardware import peak_memory_bytes
from nascommon.search.gradients import Batch
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.settings import UserError
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import Candidates, uniform_candidates
from nascommon.space.network import Network, check_image_side
from nascommon.space.published import PUBLISHED
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from nascommon.training.loop import TrainingHooks, train_epoch
from nascommon.training.settings import NetworkSettings, TrainingSettings
from stages.shell import TARGET, TRANSFER

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
class Shape:
    """What the estimate needs to know of a set of images."""

    images: int
    channels: int
    side: int
    classes: int

    def batch(self, size: int, device: torch.device) -> Batch:
        """Return random images and labels."""
        images = torch.randn(size, self.channels, self.side, self.side, device=device)
        return Batch(images, torch.randint(self.classes, (size,), device=device))


@dataclass(frozen=True)
class Step:
    """Cost of one step at the real batch size."""

    seconds: float
    memory_bytes: float


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
    seen = round(target.images * params.data.search_fraction)
    half = round(seen * (1 - params.data.architecture_fraction))
    yield search_estimate(params, method, target, (half, seen - half), device)
    retrain = training_step(params.retrain.network, params.retrain.training, target, "data.size", device)
    images = round(target.images * (1 - params.retrain.holdout))
    yield training_estimate("retrain", retrain, params.retrain.training, images, 1)
    if params.transfer.data is not None:
        shape = shape_of(params.transfer.data, TRANSFER, "transfer.data")
        step = training_step(params.transfer.network, params.transfer.training, shape, "transfer.data.size", device)
        yield training_estimate("transfer", step, params.transfer.training, shape.images, 1)
    kendall = params.kendall_tau
    step = training_step(kendall.network, kendall.training, target, "data.size", device)
    yield training_estimate(
        "kendall_tau", step, kendall.training, half, kendall.architectures * (1 + kendall.noise_ceiling)
    )
    yield training_estimate("baseline", retrain, params.retrain.training, images, params.baseline.architectures)


def shape_of(settings: DataSettings, folder: Path, key: str) -> Shape:
    """Return the shape of a prepared set, or of a well-known one that is not prepared yet.

    Raises:
        UserError: nothing is known of the pictures before they are prepared.
    """
    try:
        manifest = open_prepared(folder).manifest
        images = sum(sum(counts.values()) for part, counts in manifest.counts.items() if part != "test")
        if manifest.source == settings.source:
            return Shape(images, manifest.channels, manifest.height, len(manifest.classes))
    except UserError:
        pass  # not prepared yet
    if settings.source not in KNOWN:
        raise UserError(f"{key}: run `dvc repro prepare` first, then the estimate knows the pictures")
    images, channels, side, classes = KNOWN[settings.source]
    if settings.source == "digits":
        images = round(images * (1 - settings.test_fraction))
    images = min(images, settings.limit or images)
    return Shape(images, settings.channels or channels, settings.size or side, len(settings.classes or range(classes)))


def search_estimate(
    params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device
) -> Estimate:
    """Estimate all phases of the method on so many images for the weights and for the architecture."""
    check_image_side(shape.side, method.stem, "data.size")
    topology = Topology(params.search.nodes)
    candidates = uniform_candidates(method.candidates, topology)
    base = SupernetSpec(0, 0, shape.classes, candidates, topology, shape.channels)
    seconds, memory = 0.0, 0.0
    for index, phase in enumerate(method.phases):
        state = new_state(method, supernet_spec(phase, candidates, base, method), seed=0, phase=index, device=device)
        plain = measure(lambda batch, state=state: weight_step(state, batch), shape, method.batch_size, device)  # type: ignore[misc]
        both = plain
        if method.arch_gradient is not None:
            both = measure(lambda batch, state=state: bilevel(state, batch), shape, method.batch_size, device)  # type: ignore[misc]
        steps = max(halves[0] // method.batch_size, 1)
        check = halves[1] / method.batch_size * plain.seconds * EVALUATION_SHARE
        warm = min(phase.warmup, phase.epochs)
        sweeps = len(method.passes)
        training = steps * (warm * plain.seconds + (phase.epochs - warm) * both.seconds) + phase.epochs * check
        seconds += sweeps * training
        memory = max(memory, both.memory_bytes)
        candidates = candidates if phase.keep is None else costliest_candidates(candidates, phase.keep)
    how = f"{method.epochs} epochs of {halves[0] // method.batch_size} steps"
    return Estimate("search", seconds, memory / 2**20, how)


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


def training_step(
    network: NetworkSettings, training: TrainingSettings, shape: Shape, origin: str, device: torch.device
) -> Step:
    """Measure a training step of a network of that size."""
    check_image_side(shape.side, network.stem, origin)
    spec = network.spec(classes=shape.classes, image_channels=shape.channels)
    model = Network(PUBLISHED[STAND_IN], spec).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.drop_probability = training.drop_path / 2
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=training.momentum)
    return measure(
        lambda batch: train_epoch(model, optimiser, training, OneBatch(batch), 0, TrainingHooks()),
        shape, training.batch_size, device,
    )  # fmt: skip


def training_estimate(stage: str, step: Step, training: TrainingSettings, images: int, networks: int) -> Estimate:
    """Estimate a number of trainings."""
    steps = max(images // training.batch_size, 1)
    how = f"{networks} x {training.epochs} epochs of {steps} steps"
    memory = step.memory_bytes / 2**20 if networks else 0.0
    return Estimate(stage, networks * training.epochs * steps * step.seconds, memory, how)


def measure(step: Callable[[Batch], object], shape: Shape, batch_size: int, device: torch.device) -> Step:
    """Return time and memory of a step at ``batch_size``."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        seconds = timed(step, shape.batch(batch_size, device))
        return Step(seconds, peak_memory_bytes(device))
    small, large = (min(size, batch_size) for size in SMALL)
    first, second = (timed(step, shape.batch(size, device)) for size in (small, large))
    slope = max(second - first, 0.0) / max(large - small, 1)
    seconds = second + slope * (batch_size - large)
    if seconds < QUICK_SECONDS:
        seconds = timed(step, shape.batch(batch_size, device))
    saved = saved_bytes(step, shape.batch(large, device)) * batch_size / large
    return Step(seconds, peak_memory_bytes(device) + saved)


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


class LiveBytes:
    """Counts what autograd keeps for backward passes, every storage once, and remembers the peak."""

    def __init__(self) -> None:
        """Start with nothing kept."""
        self.holders: dict[int, int] = {}
        self.now = self.peak = 0

    def keep(self, tensor: Tensor) -> Kept:
        """Note a tensor that is saved; it counts until its holder is freed."""
        storage = tensor.untyped_storage()
        pointer = storage.data_ptr()
        self.holders[pointer] = self.holders.get(pointer, 0) + 1
        if self.holders[pointer] == 1:
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
        return Kept(tensor, self)

    def release(self, tensor: Tensor) -> None:
        """Note that one holder is gone."""
        storage = tensor.untyped_storage()
        self.holders[storage.data_ptr()] -= 1
        if not self.holders[storage.data_ptr()]:
            self.now -= storage.nbytes()


class Kept:
    """What autograd holds instead of a saved tensor."""

    def __init__(self, tensor: Tensor, live: LiveBytes) -> None:
        """Hold the tensor."""
        self.tensor, self.live = tensor, live

    def __del__(self) -> None:
        """Tell that it is no longer needed."""
        self.live.release(self.tensor)


def saved_bytes(step: Callable[[Batch], object], batch: Batch) -> int:
    """Return the most memory that autograd keeps for backward passes at any moment of a step."""
    live = LiveBytes()
    with torch.autograd.graph.saved_tensors_hooks(live.keep, lambda kept: kept.tensor):
        step(batch)
    return live.peak

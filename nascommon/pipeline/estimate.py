"""Cost of a pipeline on this machine: time from a few real steps of every long stage, memory from its largest step.

Steps run the models at their full size, in the precision and with the threads of the stages. On a CPU they run on two
small batches, and the line through both times gives the step at the real batch; where that is quick, it is measured
itself, and so it is on a GPU, with steps replayed as in the stages. What does not fit into the free memory is not run.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from nascommon.config import Params
from nascommon.cost.footprint import DRAWING_BYTES, DRAWING_STAGES, Shape
from nascommon.cost.live_bytes import resident_bytes
from nascommon.cost.peaks import scoring_peak, search_peak, stand_in, supernets, training_peak, training_program
from nascommon.data.batch import Batch
from nascommon.data.batches import full_batches
from nascommon.method import Method
from nascommon.pipeline.cutting_cost import cutting_bytes, cutting_cost
from nascommon.pipeline.known_cost import known_cost
from nascommon.pipeline.memory_limit import search_trouble, trainings_that_fit
from nascommon.pipeline.paths import TARGET_DATA, TRANSFER_DATA
from nascommon.pipeline.side_by_side import share_a_gpu, threads_of_each
from nascommon.pipeline.unprepared import expected_shape
from nascommon.runtime.hardware import resolve_precision, workspace_bytes
from nascommon.runtime.ranks import Share
from nascommon.runtime.replay import WARM_UP, Step, replayed
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.setup import base_spec
from nascommon.search.state import SearchState, new_state
from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec
from nascommon.training import many
from nascommon.training.settings import NetworkSettings, TrainingSettings

MIB = 2**20
SMALL_BATCHES = (4, 16)
REPEATS = 3
"""The fastest of so many steps counts: on a busy machine the others measure the neighbours."""
QUICK_SECONDS = 2.0
"""A step that promises to be quicker is measured at its real batch."""
FEW_STEPS = 5
"""Steps of an epoch below which it is said that they are few."""
EVALUATION_SHARE = 0.22
"""Time of an image in evaluation as a share of its time in training: 0.22 with params.yaml, 0.23 with own-pictures.yaml
(medians of five, one thread, Intel Xeon, 925ca29)."""
STAGES = ("search", "retrain", "kendall_tau")
"""Stages whose imports together are those of a long stage's process."""
TRACKING_BYTES = 100 * 2**20
"""Memory that MLflow adds to a process: in two stages the rest of the estimate left 99 and 115 MiB unexplained."""
KERNEL_BYTES = 30 * 2**20
"""Memory of the kernels that oneDNN generates for the shapes of a network: 42 to 60 MiB in a supernet of 8 cells, less
in small ones."""


@dataclass(frozen=True)
class Estimate:
    """Cost of a stage, or, where its steps do not fit into the free memory, the advice what to set."""

    stage: str
    seconds: float = 0.0
    memory_mib: float = 0.0
    how: str = ""
    trouble: str | None = None


@dataclass(frozen=True)
class Trainings:
    """The networks that a stage trains: how many of each size, by which protocol, on how many of which images."""

    stage: str
    section: str
    """Section of params.yaml whose ``training`` is the protocol."""
    training: TrainingSettings
    networks: tuple[tuple[NetworkSettings, int], ...]
    shape: Shape
    images: int
    one_by_one: bool = False
    """Whether one is trained after the other, whatever ``jobs`` says, and shared by ``launch`` processes."""
    scored: bool = False
    """Whether images are scored after every epoch."""


def estimates(params: Params, method: Method, device: torch.device) -> Iterator[Estimate]:
    """Measure and yield the long stages one by one."""
    target = expected_shape(params.data, TARGET_DATA)
    process = process_bytes(device, tracked=params.tracking != "none")
    seen = round(target.images * params.data.search_fraction)
    half = round(seen * (1 - params.data.architecture_fraction))
    search, image = search_estimate(params, method, target, (half, seen - half), device)
    yield with_process(search, process, target)
    if search.trouble is None:
        seconds, how = cutting_cost(params, method, seen - half, EVALUATION_SHARE * image)
        memory = cutting_bytes(params, method, target, (half, seen - half), device)
        yield with_process(Estimate("discretize", seconds, memory / MIB, how), process, target)
    seconds_of = functools.cache(step_seconds)  # baseline trains what retrain trains
    known = known_cost(params, method, target, (half, seen - half), device) if search.trouble is None else None
    for work in all_trainings(params, target, half):
        if known is not None and work.stage == "kendall_tau":
            yield with_process(Estimate(work.stage, known.seconds, known.memory / MIB, known.how), process, target)
            continue
        yield with_process(trainings_estimate(work, params, device, seconds_of), process, work.shape)
    yield with_process(testing_estimate(params, target, device), process, target)


def testing_estimate(params: Params, target: Shape, device: torch.device) -> Estimate:
    """Estimate the memory of ``evaluate``, which scores test images with each network; its time is little."""
    size, genotype = params.evaluate.batch_size, stand_in(params.search.chosen_space())
    sections = [(params.retrain.network, target)] * (not params.retrain.skip)
    if params.transfer.data is not None:
        sections.append((params.transfer.network, expected_shape(params.transfer.data, TRANSFER_DATA)))
    if not sections:
        return Estimate("evaluate", how="tests nothing")
    precision, most = resolve_precision(params.precision, device), 0.0
    for network, shape in sections:
        spec = replace(network.spec(classes=shape.classes, image_channels=shape.channels), precision=precision)
        most = max(most, scoring_peak(genotype, spec, shape, size, device) / MIB)
    return Estimate("evaluate", memory_mib=most, how=f"{size} test images at a time")


def all_trainings(params: Params, target: Shape, half: int) -> Iterator[Trainings]:
    """Yield what is trained from scratch, stage by stage; ``half`` is the images of the weight half."""
    retrain, transfer, kendall = params.retrain, params.transfer, params.kendall_tau
    images = round(target.images * (1 - retrain.holdout))
    ours = ((retrain.network, 0 if retrain.skip else retrain.seeds),)
    yield Trainings(
        "retrain", "retrain", retrain.training, ours, target, images, one_by_one=True, scored=retrain.holdout > 0
    )
    if transfer.data is not None:
        shape, one = expected_shape(transfer.data, TRANSFER_DATA), ((transfer.network, 1),)
        yield Trainings(
            "transfer", "transfer", transfer.training, one, shape, shape.images, one_by_one=True,
            scored=transfer.holdout > 0,
        )  # fmt: skip
    ranked = [(kendall.network, kendall.architectures * (1 + kendall.retest))]
    if kendall.deep_network is not None:
        ranked.append((kendall.deep_network, kendall.architectures))
    yield Trainings("kendall_tau", "kendall_tau", kendall.training, tuple(ranked), target, half, scored=True)
    random = ((retrain.network, params.baseline.architectures * params.baseline.seeds),)
    yield Trainings("baseline", "retrain", retrain.training, random, target, images, scored=retrain.holdout > 0)


def trainings_estimate(
    work: Trainings, params: Params, device: torch.device, seconds_of: Callable[..., float]
) -> Estimate:
    """Estimate all networks of a stage; the memory is that of each of those that are trained at a time, or of a rank.

    Args:
        work: what the stage trains.
        params: settings of the pipeline.
        device: where it is trained.
        seconds_of: ``step_seconds``, which may remember.
    """
    shape, training = work.shape, work.training
    precision = resolve_precision(params.precision, device)
    sizes = [network.spec(classes=shape.classes, image_channels=shape.channels) for network, _ in work.networks]
    specs = [replace(spec, precision=precision) for spec in sizes]
    counts = [count for _, count in work.networks]
    steps = full_batches(work.images, training.batch_size)
    how = f"{counts[0]} x {training.epochs} epochs of {steps_in_words(steps)}{in_pieces(training.pieces)}"
    if not any(counts):
        return Estimate(work.stage, how="trains nothing")
    share = Share(count=params.launch if work.one_by_one else 1)
    computed = training.model_copy(update={"batch_size": share.largest(training.batch_size)})
    key = f"{work.section}.training.pieces"
    # As the stage refuses: ranks on a CPU have one memory.
    fitting = computed if device.type == "cuda" else training
    at_a_time, trouble = trainings_that_fit(
        key, fitting, specs, shape, params, device, 1 if work.one_by_one else sum(counts), scored=work.scored
    )
    if trouble is not None:
        return Estimate(work.stage, trouble=trouble)
    threads, genotype = threads_of_each(params, max(at_a_time, share.count)), stand_in(params.search.chosen_space())
    seconds = sum(
        count * training.epochs * steps * seconds_of(computed, spec, shape, device, threads, genotype, share.count)
        for spec, count in zip(specs, counts, strict=True)
    )
    how += f", and {counts[1]} of another depth" if len(counts) > 1 else ""
    how += f", {at_a_time} at a time with as much memory each" if at_a_time > 1 else ""
    # How much of each other's time they take on one GPU is not known.
    one_by_one = share_a_gpu(params, device)
    how += "; their time is taken to be that of one by one" if at_a_time > 1 and one_by_one else ""
    how += of_ranks(share.count)
    memory = max(training_peak(computed, spec, shape, device, genotype, work.scored) for spec in specs)
    memory += workspace_bytes(device) if at_a_time > 1 else 0
    return Estimate(work.stage, seconds if one_by_one else seconds / at_a_time, memory / MIB, how)


def step_seconds(
    training: TrainingSettings, spec: NetworkSpec, shape: Shape, device: torch.device, threads: int,
    genotype: Genotype, ranks: int = 1,
) -> float:  # fmt: skip
    """Measure a training step of a network of that size, or what one of several ranks computes of it."""
    step = training_program(training, spec, device, genotype)
    with threads_set(threads):
        return measure(step, shape, training.batch_size, device, lambda: ranks == 1)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Compute with so many threads, and then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def with_process(estimate: Estimate, process: int, shape: Shape) -> Estimate:
    """Add to the memory of the steps that of the process and of the images; the pictures are drawn after the steps."""
    if not estimate.memory_mib:
        return estimate
    drawing = DRAWING_BYTES if process and estimate.stage in DRAWING_STAGES else 0
    steps = max(estimate.memory_mib, drawing / MIB)
    return replace(estimate, memory_mib=steps + (process + shape.resident_bytes()) / MIB)


def search_estimate(
    params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device
) -> tuple[Estimate, float]:
    """Estimate all phases of the method on so many images for the weights and for the architecture.

    Returns:
        The estimate, and the seconds of an image in a weight step of the last phase.
    """
    precision = resolve_precision(params.precision, device)
    base = base_spec(params.search, method, shape.classes, shape.channels, precision)
    share = Share(count=params.launch)
    computed = replace(method, batch_size=share.largest(method.batch_size))
    # As the stage refuses: ranks on a CPU have one memory.
    trouble = search_trouble(computed if device.type == "cuda" else method, base, shape, params.search, device)
    if trouble is not None:
        return Estimate("search", trouble=trouble), 0.0
    steps = full_batches(halves[0], method.batch_size)
    seconds = plain = 0.0
    for phase, spec in zip(method.phases, supernets(method, base), strict=True):
        state = new_state(method, spec, seed=0, phase=0, device=device)
        state.pieces = params.search.pieces
        replays = partial(steady, state, share.count)
        with threads_set(many.threads_of_each(params.threads, share.count)):
            plain = measure(partial(weight_step, state), shape, computed.batch_size, device, replays)
            both = plain
            if method.arch_gradient is not None:
                both = measure(partial(bilevel_step, state), shape, computed.batch_size, device, replays)
        check = halves[1] / method.batch_size * plain * EVALUATION_SHARE
        warm = min(phase.warmup, phase.epochs)
        training = steps * (warm * plain + (phase.epochs - warm) * both) + phase.epochs * check
        seconds += len(method.passes) * training
    how = f"{method.epochs} epochs of {steps_in_words(steps)}{in_pieces(params.search.pieces)}{of_ranks(share.count)}"
    memory = search_peak(computed, base, shape, params.search, device) / MIB
    return Estimate("search", seconds, memory, how), plain / computed.batch_size


def steps_in_words(steps: int) -> str:
    """Write how many steps an epoch has, and that so few teach little."""
    few = "; with so few a smaller batch_size learns more" if steps < FEW_STEPS else ""
    return f"{steps} step{'' if steps == 1 else 's'}{few}"


def in_pieces(pieces: int) -> str:
    """Say so where a batch is cut."""
    return f", each in {pieces} pieces to save memory" if pieces > 1 else ""


def of_ranks(count: int) -> str:
    """Say what the figures of a stage that ranks share are those of."""
    return f", shared by {count} processes: time and memory of one, without the messages between them" * (count > 1)


def bilevel_step(state: SearchState, batch: Batch) -> tuple[Tensor, ...]:
    """Take one architecture step and one weight step."""
    architecture_step(state, batch, batch)
    return weight_step(state, batch)


def steady(state: SearchState, ranks: int) -> bool:
    """Return whether a GPU may replay the steps of a search, which ranks wait for each other in."""
    return ranks == 1 and not state.varies


def measure(
    step: Callable[[Batch], tuple[Tensor, ...]],
    shape: Shape,
    batch_size: int,
    device: torch.device,
    steady: Callable[[], bool] = lambda: True,
) -> float:
    """Return the seconds of a step at ``batch_size``, as it is best repeated; ``steady`` as for ``replayed``."""
    repeated = replayed(step, device, steady)
    # A GPU is not filled by a small batch, so there time is not linear in it.
    if device.type == "cuda":
        return fastest_seconds(repeated, shape.batch(batch_size, device), first=WARM_UP + 1)
    # Time is linear in the batch but for a constant, so two small batches predict a large one quickly.
    small, large = (min(size, batch_size) for size in SMALL_BATCHES)
    first, second = (fastest_seconds(repeated, shape.batch(size, device)) for size in (small, large))
    # Noise may make the larger batch the faster one; a negative slope would predict negative time.
    slope = max(second - first, 0.0) / max(large - small, 1)
    seconds = second + slope * (batch_size - large)
    return fastest_seconds(repeated, shape.batch(batch_size, device)) if seconds < QUICK_SECONDS else seconds


def fastest_seconds(step: Step, batch: Batch, first: int = 1) -> float:
    """Return the seconds of the fastest of some steps, after the first ones, which warm up."""
    for _ in range(first):
        step(batch)
    seconds = []
    for _ in range(REPEATS):
        synchronise(batch.device)
        started = time.perf_counter()
        step(batch)
        synchronise(batch.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def synchronise(device: torch.device) -> None:
    """Wait for a GPU to have done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def process_bytes(device: torch.device, *, tracked: bool) -> int:
    """Return the memory of a stage's process before its first step; none of it is counted on a GPU."""
    if device.type == "cuda":
        return 0
    # A stage's process is mostly imported libraries; importing them here makes this process as large as theirs.
    for stage in STAGES:
        importlib.import_module(f"nascommon.pipeline.{stage}")
    # The first step loads what PyTorch loads late, and makes the kernels that a process then keeps.
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(3), nn.AvgPool2d(3))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.randn(2, 1, 16, 16)).sum().backward()
    optimiser.step()
    return resident_bytes() + KERNEL_BYTES + tracked * TRACKING_BYTES

"""What a pipeline will cost on this machine: time from a few real steps of every long stage, memory from its largest.

Steps run the models at their full size, in the precision and with the threads of the stages. On a CPU they run on two
small batches, and the line through both times gives the step at the real batch; where that is quick, it is measured
itself, and so it is on a GPU, with steps replayed as in the stages. For memory the step with all that belongs to it is
run once more at the real batch: on a GPU for real, for a CPU on tensors without data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from nascommon.analysis.settings import KendallSettings
from nascommon.config import Params
from nascommon.method import Method
from nascommon.runtime.hardware import resolve_precision
from nascommon.runtime.replay import WARM_UP, Step, replayed
from nascommon.search.gradients import Batch
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.search.watch import HESSIAN_IMAGES
from nascommon.space.mixing import uniform_candidates
from nascommon.space.network import check_image_size
from nascommon.space.precision import Precision
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from nascommon.training.many import simultaneous, threads_of_each
from nascommon.training.settings import NetworkSettings, TrainingSettings
from stages.footprint import costliest_candidates, search_pieces, search_steps, with_fixed_draw
from stages.looking import shape_of
from stages.memory import DRAWING_BYTES, DRAWING_STAGES, Shape, memory_of, process_bytes
from stages.pieces import training_pieces, training_program
from stages.shell import TARGET, TRANSFER

MIB = 2**20
SMALL = (4, 16)
REPEATS = 3
"""The fastest of so many steps counts: on a busy machine the others measure the neighbours."""
QUICK_SECONDS = 2.0
"""A step that promises to be quicker is measured at its real batch."""
EVALUATION_SHARE = 0.35
"""Time of an image in evaluation as a share of its time in training: the forward pass."""


@dataclass(frozen=True)
class Estimate:
    """What a stage will cost."""

    stage: str
    seconds: float
    memory_mib: float
    how: str


def estimates(params: Params, method: Method, device: torch.device) -> Iterator[Estimate]:
    """Measure and yield the long stages one by one."""
    target = shape_of(params.data, TARGET)
    process = process_bytes(device, tracked=params.tracking != "none")
    seen = round(target.images * params.data.search_fraction)
    half = round(seen * (1 - params.data.architecture_fraction))
    search = search_estimate(params, method, target, (half, seen - half), device)
    yield with_process(search, process, target)
    precision = resolve_precision(params.precision, device)
    retrain = training_cost(params.retrain.network, params.retrain.training, target, "data.size", device, precision)
    images = round(target.images * (1 - params.retrain.holdout))
    yield with_process(training_estimate("retrain", retrain, params.retrain.training, images, 1), process, target)
    if params.transfer.data is not None:
        shape = shape_of(params.transfer.data, TRANSFER)
        transfer, key = params.transfer, "transfer.data.size"
        cost = training_cost(transfer.network, transfer.training, shape, key, device, precision)
        yield with_process(
            training_estimate("transfer", cost, params.transfer.training, shape.images, 1), process, shape
        )
    at_a_time = simultaneous(params.jobs, device, params.threads)
    with threads_set(threads_of_each(params.threads, at_a_time)):
        ranking = kendall_estimate(params.kendall_tau, target, half, device, precision)
        if at_a_time > 1:
            retrain = training_cost(
                params.retrain.network, params.retrain.training, target, "data.size", device, precision
            )
    yield with_process(side_by_side(ranking, at_a_time), process, target)
    baseline = training_estimate("baseline", retrain, params.retrain.training, images, params.baseline.architectures)
    yield with_process(side_by_side(baseline, at_a_time), process, target)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Compute with so many threads, and then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def kendall_estimate(
    settings: KendallSettings, shape: Shape, images: int, device: torch.device, precision: Precision
) -> Estimate:
    """Estimate the retrainings of the ranking, the deep ones included."""
    cost = training_cost(settings.network, settings.training, shape, "data.size", device, precision)
    networks = settings.architectures * (1 + settings.retest)
    estimate = training_estimate("kendall_tau", cost, settings.training, images, networks)
    if settings.deep_network is None:
        return estimate
    cost = training_cost(settings.deep_network, settings.training, shape, "data.size", device, precision)
    deep = training_estimate("kendall_tau", cost, settings.training, images, settings.architectures)
    return Estimate(
        "kendall_tau",
        estimate.seconds + deep.seconds,
        max(estimate.memory_mib, deep.memory_mib),
        f"{estimate.how}, and {settings.architectures} deeper networks",
    )


def side_by_side(estimate: Estimate, at_a_time: int) -> Estimate:
    """Say what it means that several networks are trained at a time; the memory is that of each."""
    if at_a_time == 1 or not estimate.seconds:
        return estimate
    how = f"{estimate.how}, {at_a_time} at a time with as much memory each"
    return replace(estimate, seconds=estimate.seconds / at_a_time, how=how)


def with_process(estimate: Estimate, process: int, shape: Shape) -> Estimate:
    """Add to the memory of the steps that of the process and of the images; the pictures are drawn after the steps."""
    if not estimate.memory_mib:
        return estimate
    drawing = DRAWING_BYTES if process and estimate.stage in DRAWING_STAGES else 0
    steps = max(estimate.memory_mib, drawing / MIB)
    return replace(estimate, memory_mib=steps + (process + shape.resident_bytes()) / MIB)


def search_estimate(
    params: Params, method: Method, shape: Shape, halves: tuple[int, int], device: torch.device
) -> Estimate:
    """Estimate all phases of the method on so many images for the weights and for the architecture."""
    check_image_size(shape.height, shape.width, method.stem, "data.size")
    topology = Topology(params.search.nodes)
    candidates = uniform_candidates(method.candidates, topology)
    precision = resolve_precision(params.precision, device)
    base = SupernetSpec(0, 0, shape.classes, candidates, topology, shape.channels, precision=precision)
    watched = HESSIAN_IMAGES if params.search.watch_every else 0
    pieces = params.search.pieces or search_pieces(method, base, shape, device)
    seconds, memory = 0.0, 0
    for index, phase in enumerate(method.phases):
        spec = supernet_spec(phase, candidates, base, method)
        state = new_state(method, spec, seed=0, phase=index, device=device)
        state.pieces = pieces
        plain = measure(partial(weight_step, state), shape, method.batch_size, device, partial(steady, state))
        both = plain
        if method.arch_gradient is not None:
            both = measure(partial(bilevel, state), shape, method.batch_size, device, partial(steady, state))
        steps = max(halves[0] // method.batch_size, 1)
        check = halves[1] / method.batch_size * plain * EVALUATION_SHARE
        warm = min(phase.warmup, phase.epochs)
        sweeps = len(method.passes)
        training = steps * (warm * plain + (phase.epochs - warm) * both) + phase.epochs * check
        seconds += sweeps * training
        fixed = with_fixed_draw(method, state)
        del state
        program = partial(search_steps, fixed, spec, shape, watched, pieces)
        memory = max(memory, memory_of(program, device))
        candidates = candidates if phase.keep is None else costliest_candidates(candidates, phase.keep)
    how = f"{method.epochs} epochs of {halves[0] // method.batch_size} steps{in_pieces(pieces)}"
    return Estimate("search", seconds, memory / MIB, how)


def in_pieces(pieces: int) -> str:
    """Say so where a batch is cut."""
    return f", each in {pieces} pieces to save memory" if pieces > 1 else ""


def bilevel(state: SearchState, batch: Batch) -> tuple[Tensor, ...]:
    """Take one architecture step and one weight step."""
    architecture_step(state, batch, batch)
    return weight_step(state, batch)


def steady(state: SearchState) -> bool:
    """Whether a GPU may replay the steps of a search."""
    return not state.varies


@dataclass(frozen=True)
class Cost:
    """Time of a training step, and memory of the steps."""

    seconds: float
    memory_bytes: int
    pieces: int


def training_cost(
    network: NetworkSettings,
    training: TrainingSettings,
    shape: Shape,
    origin: str,
    device: torch.device,
    precision: Precision,
) -> Cost:
    """Measure a training step of a network of that size."""
    check_image_size(shape.height, shape.width, network.stem, origin)
    spec = replace(network.spec(classes=shape.classes, image_channels=shape.channels), precision=precision)
    cut = training.model_copy(update={"pieces": training.pieces or training_pieces(training, spec, shape, device)})
    seconds = measure(training_program(cut, spec, device), shape, training.batch_size, device)
    memory = memory_of(lambda on: training_program(cut, spec, on)(Batch(*shape.batch(training.batch_size, on))), device)
    return Cost(seconds, memory, cut.pieces or 1)


def training_estimate(stage: str, step: Cost, training: TrainingSettings, images: int, networks: int) -> Estimate:
    """Estimate a number of trainings."""
    steps = max(images // training.batch_size, 1)
    how = f"{networks} x {training.epochs} epochs of {steps} steps{in_pieces(step.pieces)}"
    memory = step.memory_bytes / MIB if networks else 0.0
    return Estimate(stage, networks * training.epochs * steps * step.seconds, memory, how)


def measure(
    step: Callable[[Batch], tuple[Tensor, ...]],
    shape: Shape,
    batch_size: int,
    device: torch.device,
    steady: Callable[[], bool] = lambda: True,
) -> float:
    """Return the seconds of a step at ``batch_size``, as it is best repeated; ``steady`` as for ``replayed``."""
    repeated = replayed(lambda *batch: step(Batch(*batch)), device, steady)
    if device.type == "cuda":
        return timed(repeated, shape.batch(batch_size, device), first=WARM_UP + 1)
    small, large = (min(size, batch_size) for size in SMALL)
    first, second = (timed(repeated, shape.batch(size, device)) for size in (small, large))
    slope = max(second - first, 0.0) / max(large - small, 1)
    seconds = second + slope * (batch_size - large)
    return timed(repeated, shape.batch(batch_size, device)) if seconds < QUICK_SECONDS else seconds


def timed(step: Step, batch: tuple[Tensor, Tensor], first: int = 1) -> float:
    """Return the seconds of the fastest of some steps, after the first ones, which warm up."""
    for _ in range(first):
        step(*batch)
    seconds = []
    for _ in range(REPEATS):
        synchronise(batch[0].device)
        started = time.perf_counter()
        step(*batch)
        synchronise(batch[0].device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def synchronise(device: torch.device) -> None:
    """Wait for a GPU to have done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""Minutes of a whole search on a GPU, predicted from what it launches; no GPU is needed, and nothing is computed.

    python -m benchmarks.whole
    python -m benchmarks.whole --methods darts,ecdarts --out whole.json

Recorded steps take what ``benchmarks.counts`` predicts of them. What is not recorded (validation, calibration, the
watch, the first steps) takes that, or ``DISPATCH_SECONDS`` for all that Python hands over, whichever is longer. Loading
pictures, checkpoints and the history are left out, and so are kernels that Triton compiles once on a machine.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch import Tensor

from benchmarks.cases import NHWC, Sizes, bilevel, method_record
from benchmarks.counts import META, PAPERS, Counted, as_on_a_gpu, batch_of, leave_adam_out
from benchmarks.images import CLASSES, HALF
from nascommon.cost.peaks import supernets
from nascommon.data.batch import Batch
from nascommon.data.batches import FULL_GPU, full_batches
from nascommon.method import Method, Phase
from nascommon.parts.choices import Induced
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.hardware import CHOOSING_SECONDS, CHOSEN_GAIN
from nascommon.runtime.replay import WARM_UP
from nascommon.runtime.seeding import generator
from nascommon.search import watch
from nascommon.search.passes import CALIBRATION_BATCHES, architecture_step, weight_step
from nascommon.search.scores import recalibrate
from nascommon.search.state import SearchState, new_state
from nascommon.space.draws import random_genotype
from nascommon.space.mixing import Mixing, one_hot
from nascommon.space.space import find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.training.scoring import evaluating

METHODS = "darts,pcdarts,da2s,ecdarts,pdarts"
WATCH_EVERY = 5
"""Epochs, as in presets/cifar10.yaml."""
DISPATCH_SECONDS = 15e-6
"""Time in which Python hands an operator to the device: an eager step of DARTS took 526 ms at 1bfdbc1."""
NODE_SECONDS = 14e-6
"""Time in which a recording takes in a kernel, beside that of Python: at ba38333 a recording of DARTS' step, of 18,101
kernels, took an H200 0.7 s, and the step itself, operator by operator, 0.45 s."""
LOADING_SECONDS = 24.0
"""Time in which libraries are loaded the first time on a machine, likewise."""
PRODUCTS = 8
"""Products with the Hessian that its largest eigenvalue takes; at most 20."""
STEPS, VALIDATION, CALIBRATION = "steps", "validation", "calibration"
GAP, EIGENVALUE, COLD = "watch, gap", "watch, eigenvalue", "recordings, loading, choice of kernels"


def eager_seconds(call: Callable[[], Any]) -> float:
    """Predict something that is done operator by operator, not for the first time."""
    counted = _counted(call)
    return max(counted.seconds, counted.dispatched * DISPATCH_SECONDS)


def recording_seconds(counted: Counted) -> float:
    """Predict how long it takes to make a CUDA graph of a step."""
    return counted.dispatched * DISPATCH_SECONDS + counted.kernels * NODE_SECONDS


def _counted(call: Callable[[], Any]) -> Counted:
    call()  # plans and the optimisers' state are made
    counted = Counted()
    with counted:
        call()
    return counted


def search_seconds(method: Method, sizes: Sizes = PAPERS) -> Mapping[str, float]:
    """Predict the seconds of every part of a search on half of CIFAR-10 for the weights and half for the logits.

    Args:
        method: at its full number of epochs.
        sizes: of the supernet.
    """
    parts: defaultdict[str, float] = defaultdict(float)
    space = method.searched(find_space("darts", sizes.nodes))
    base = SupernetSpec(0, 0, CLASSES, space, precision="bfloat16")
    epochs = 0
    with as_on_a_gpu():
        for phase, spec in zip(method.phases, supernets(method, base), strict=True):
            state = new_state(method, spec, seed=0, phase=0, device=META)
            state.supernet.to(memory_format=NHWC)
            leave_adam_out(state)
            watches = (epochs + phase.epochs) // WATCH_EVERY - epochs // WATCH_EVERY
            for part, seconds in _phase_seconds(state, phase, watches, sizes.side).items():
                parts[part] += seconds
            epochs += phase.epochs
    chooses = CHOSEN_GAIN * (parts[STEPS] + parts[VALIDATION]) > CHOOSING_SECONDS
    parts[COLD] += LOADING_SECONDS + (CHOOSING_SECONDS if chooses else 0)
    return parts


def _phase_seconds(state: SearchState, phase: Phase, watches: int, side: int) -> dict[str, float]:
    method, supernet = state.method, state.supernet.train()
    train, many = batch_of(method.batch_size, side), batch_of(max(FULL_GPU // (3 * side**2), method.batch_size), side)
    steps, batches = full_batches(HALF, method.batch_size), -(-HALF // len(many.labels))
    warm = min(phase.warmup, phase.epochs)
    soft, kept = (
        state.scored(),
        one_hot(random_genotype(state.spec.space, generator(0, "stand-in")), state.spec.space, like=state.logits.like),
    )
    both = bilevel(state)

    def validated(mixing: Mixing) -> float:
        with evaluating(supernet), torch.no_grad():
            first = eager_seconds(lambda: supernet(many.images, mixing))
            with supernet.still():
                return first + (batches - 1) * eager_seconds(lambda: supernet(many.images, mixing))

    def calibrated(mixing: Mixing) -> float:
        one = eager_seconds(lambda: recalibrate(supernet, mixing, [train]))
        two = eager_seconds(lambda: recalibrate(supernet, mixing, [train, train]))
        return one + (CALIBRATION_BATCHES - 1) * (two - one)

    alone, pair = (_counted(step) for step in (lambda: weight_step(state, train), lambda: both(train, train)))
    found = {
        STEPS: steps * (warm * alone.seconds + (phase.epochs - warm) * pair.seconds),
        VALIDATION: phase.epochs * validated(soft),
        GAP: watches * (calibrated(kept) + validated(kept)),
        EIGENVALUE: watches * eigenvalue_seconds(state, batch_of(watch.HESSIAN_IMAGES, side)),
        COLD: WARM_UP * eager_seconds(lambda: both(train, train))
        + (watches + (2 if warm else 1)) * recording_seconds(pair),
    }  # fmt: skip
    if any(isinstance(choice, Induced) for choice in method.passes):
        induced = copy.copy(state)
        induced.draw = lambda *_: kept  # type: ignore[method-assign]

        def step() -> None:
            architecture_step(state, train, train)
            weight_step(induced, train)

        other = _counted(step)
        found[STEPS] += steps * phase.epochs * other.seconds
        found[VALIDATION] += phase.epochs * validated(kept)
        found[CALIBRATION] = phase.epochs * (calibrated(kept) + calibrated(soft))
        recorded = recording_seconds(other) + recording_seconds(pair)
        found[COLD] += phase.epochs * (WARM_UP * eager_seconds(step) + recorded)
    return found


def eigenvalue_seconds(state: SearchState, batch: Batch) -> float:
    """Predict the watch of the Hessian, which is computed operator by operator."""
    products: list[float] = []

    def iterated(product: Callable[[Tensor], Tensor], start: Tensor) -> float:
        products.append(eager_seconds(lambda: product(start.to(META))))
        return 1.0

    with patch.object(watch, "power_iteration", lambda *_: 1.0):
        first = eager_seconds(lambda: watch.hessian_eigenvalue(state, batch))
    with patch.object(watch, "power_iteration", iterated):
        watch.hessian_eigenvalue(state, batch)
    return first + PRODUCTS * products[0]


def main(
    methods: Annotated[str, typer.Option(help="by name")] = METHODS,
    out: Annotated[Path | None, typer.Option(help="JSON file of the seconds of all parts")] = None,
) -> None:
    """Predict the minutes of the papers' searches."""
    found = {}
    for name in methods.split(","):
        found[name] = parts = search_seconds(method_record(name, PAPERS))
        longest = sorted(parts.items(), key=lambda pair: -pair[1])
        listed = ", ".join(f"{part} {seconds / 60:.1f}" for part, seconds in longest)
        typer.echo(f"{name}: {sum(parts.values()) / 60:.1f} minutes predicted; {listed}")
    if out is not None:
        write_json(out, found)


if __name__ == "__main__":
    typer.run(main)

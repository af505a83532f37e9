"""What ``stages.check`` predicts from tensors without data is what steps take, eager and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.cases import bilevel
from benchmarks.gate import Record
from benchmarks.timing import peak_bytes
from nascommon.cost import live_bytes as memory
from nascommon.cost.footprint import Shape
from nascommon.cost.live_bytes import META
from nascommon.cost.peaks import search_scores, search_steps, training_program
from nascommon.kernels.home import meta_stands_for
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.runtime.replay import WARM_UP, Replay
from nascommon.search.state import new_state, supernet_spec
from nascommon.space.network import NetworkSpec
from nascommon.space.space import SPACES, find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.training.settings import TrainingSettings
from tests.gpu.small import on_devices

SIZES = {
    "cpu": (SearchSize(8, 3, find_space("darts", 1)), 16, 16),
    "cuda": (SearchSize(16, 5, SPACES["darts"]), 64, 32),
}
"""Supernet, images in a batch and pixels of a side: on a GPU so large that what its libraries take hardly counts."""
WITHIN = 0.15

Program = Callable[[torch.device], object]


def searching(name: str, device: torch.device) -> tuple[Method, SupernetSpec, Shape]:
    """Return what a search on the device is about."""
    size, batch, side = SIZES[device.type]
    entry = REGISTRY[name]
    method = replace(entry.recipe(entry.settings(), size), batch_size=batch)
    space = method.searched(size.space)
    spec = supernet_spec(method.phases[0], space, SupernetSpec(0, 0, 10, space), method)
    return method, spec, Shape(images=batch, channels=3, height=side, width=side, classes=10)


def steps_of(name: str, device: torch.device) -> Program:
    """Return the steps whose memory is predicted."""
    method, spec, shape = searching(name, device)
    return partial(search_steps, method, spec, shape, 1)


def scoring(device: torch.device) -> Program:
    """Return what scores a supernet on four times as many images as a step takes."""
    method, spec, shape = searching("darts", device)
    return partial(search_scores, method, spec, shape, 4 * shape.images)


def training(device: torch.device) -> Program:
    """Return a training step of a network."""
    size, batch, side = SIZES[device.type]
    spec = NetworkSpec(2 * size.channels, size.cells, 10)
    side = max(side, 32)  # the auxiliary head asks for it
    shape = Shape(images=batch, channels=3, height=side, width=side, classes=10)
    return lambda on: training_program(TrainingSettings(), spec, on)(shape.batch(batch, on))


def predicted_bytes(program: Program, device: torch.device) -> int:
    """Predict the bytes of the tensors alone: what is measured beside them is that."""
    with meta_stands_for(device.type):
        return memory.peak_bytes(lambda: program(META))


@pytest.mark.slow
@on_devices("what", ["darts", "pcdarts", "retrain", "scores"], everyday=["darts", "retrain", "scores"])
def test_the_peak_of_a_step_and_of_scores_is_predicted(device: torch.device, what: str) -> None:
    program = {"retrain": training, "scores": scoring}.get(what, partial(steps_of, what))(device)
    predicted = predicted_bytes(program, device)
    program(device)  # the first step loads what stays
    assert predicted == pytest.approx(peak_bytes(lambda: program(device), device), rel=WITHIN)


@pytest.mark.slow
def test_so_is_that_of_recorded_steps(device: torch.device, record: Record) -> None:
    method, spec, shape = searching("darts", device)
    predicted = predicted_bytes(steps_of("darts", device), device)

    def recorded() -> None:
        state = new_state(method, spec, seed=0, phase=0, device=device)
        state.supernet.train()
        step = Replay(bilevel(state), record=record)
        batches = [shape.batch(method.batch_size, device) for _ in range(2)]
        for _ in range(WARM_UP + 1):
            step(*batches)

    if device.type == "cuda":
        recorded()  # the first step loads what stays
    assert predicted == pytest.approx(peak_bytes(recorded, device), rel=WITHIN)

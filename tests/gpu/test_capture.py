"""A search records its step once a phase, goes on where that fails, and never waits for the device in between."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from benchmarks.gate import REPLAY_TOLERANCE, Record, deviations, largest, position
from benchmarks.images import CLASSES, random_part
from nascommon.data.batches import training_batches
from nascommon.data.settings import Augment
from nascommon.method import Method
from nascommon.parts.choices import Induced, Sample
from nascommon.parts.control import Progress
from nascommon.runtime import replay as replay_module
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.optimisers import sgd
from nascommon.runtime.replay import WARM_UP, CudaRecording, Input, Recording, Replay, Step
from nascommon.runtime.steps import finished
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import Epoch, run_pass
from nascommon.search.state import new_state
from nascommon.space.mixing import CellMixing
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.descent import TrainingHooks
from nascommon.training.loop import train_epoch, training_steps
from nascommon.training.settings import TrainingSettings
from tests.gpu.conftest import stand_in
from tests.gpu.small import (
    BATCH,
    IMAGES,
    STEADY,
    AnnouncedBatches,
    base_spec,
    network_on,
    on_devices,
    search_data,
    smoke,
)
from tests.methods.smoke import METHODS
from tests.runtime.rehearsal import Rehearsal


class KilledError(Exception):
    pass


def search(method: Method, device: torch.device, checkpoint: Checkpoint | None = None, **hooks: Any) -> Outcome:
    return run_search(
        method, base_spec(method), search_data(device), seed=0, device=device, checkpoint=checkpoint,
        hooks=Hooks(**hooks),
    )  # fmt: skip


def way_apart(ours: Outcome, theirs: Outcome) -> float:
    """Return how far the ends of two searches are apart, as a share of the way from the start of the last phase."""
    state = theirs.state
    start = new_state(state.method, state.spec, seed=0, phase=len(state.method.phases) - 1,
                      device=state.logits["normal"].alpha_EO.device)  # fmt: skip
    return largest(deviations(position(ours.state), position(state), position(start)).values())


# -- once a phase --


def kinds_in_turn(method: Method, done: int = 0) -> int:
    """Return how many recordings a search makes once some of its epochs are done."""
    learns, induces = method.arch_gradient is not None, any(isinstance(each, Induced) for each in method.passes)
    made, index = 0, 0
    for phase in method.phases:
        last: tuple[bool, bool] | None = None
        for epoch in range(phase.epochs):
            waits = method.arch_gradient is not None and epoch < method.arch_gradient.optimiser.alpha_delay
            kind = (learns and epoch >= phase.warmup, waits)
            if index >= done:
                # An induced pass trains a copy with an optimiser of its own, and needs the memory of the recording.
                made += len(method.passes) if induces else kind != last
                last = kind
            index += 1
    return made


@on_devices("name", METHODS, everyday=["ecdarts", "gdas"])
def test_every_kind_of_step_of_every_phase_is_recorded_once(
    device: torch.device, name: str, recordings: list[tuple[int, ...]]
) -> None:
    method = smoke(name)
    outcome = search(method, device)
    epochs = sum(phase.epochs for phase in method.phases)
    assert len(outcome.history.rows) == epochs
    assert len(recordings) == (kinds_in_turn(method) if name in STEADY else 0)


@on_devices("name", ["darts", "pdarts", "ecdarts", "sdarts"], everyday=["darts"])
def test_a_search_that_was_killed_records_anew_and_ends_where_an_unbroken_one_does(
    device: torch.device, name: str, recordings: list[tuple[int, ...]], tmp_path: Path
) -> None:
    method = smoke(name)
    unbroken = search(method, device)
    once = len(recordings)

    def kill(_row: dict[str, Any]) -> None:
        raise KilledError

    def resumed() -> Outcome:
        return search(method, device, Checkpoint(tmp_path / "state.ckpt", "test"))

    with pytest.raises(KilledError):
        search(method, device, Checkpoint(tmp_path / "state.ckpt", "test"), on_epoch=kill)
    once_killed = len(recordings) - once
    outcome = resumed()
    assert len(recordings) - once == once_killed + kinds_in_turn(method, done=1)
    assert way_apart(outcome, unbroken) < REPLAY_TOLERANCE
    assert [row["epoch"] for row in outcome.history.rows] == [row["epoch"] for row in unbroken.history.rows]
    assert {tensor.device.type for snapshot in outcome.history.architecture for tensor in snapshot.values()} == {"cpu"}
    assert not outcome.history.architecture_table(outcome.state.spec.space).empty


def test_a_search_that_is_ended_gives_its_recording_back_at_once(
    device: torch.device, recordings: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    kind: Any = CudaRecording if device.type == "cuda" else Rehearsal
    begin = kind.__init__

    def noted(self: Any, step: Step, inputs: tuple[Tensor, ...]) -> None:
        begin(self, step, inputs)
        made.append(weakref.ref(self))

    def end(_row: dict[str, Any]) -> None:
        assert made[0]() is not None
        raise KilledError

    monkeypatch.setattr(kind, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(KilledError):
            search(smoke("darts"), device, on_epoch=end)
        assert [each() for each in made] == [None] * len(recordings) == [None]
    finally:
        gc.enable()


@pytest.fixture
def replays(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """As many entries as steps are replayed."""
    seen: list[None] = []
    kind: Any = CudaRecording if device.type == "cuda" else Rehearsal
    replay = kind.replay

    def counted(self: Any) -> None:
        seen.append(None)
        replay(self)

    monkeypatch.setattr(kind, "replay", counted)
    return seen


@on_devices("name", ["darts", "pcdarts", "ecdarts"], everyday=["darts", "pcdarts", "ecdarts"])
def test_a_search_warms_up_and_records_its_steps_once_a_kind(
    device: torch.device, name: str, recordings: list[tuple[int, ...]], replays: list[None]
) -> None:
    method = smoke(name)
    search(method, device)
    steps = method.epochs * len(method.passes) * IMAGES // BATCH
    # PC-DARTS begins without architecture steps. An induced pass trains a copy with an optimiser of its own.
    kinds = {"darts": 1, "pcdarts": 2, "ecdarts": 1 + method.epochs}[name]
    assert len(recordings) == kinds_in_turn(method)
    assert steps - len(replays) == kinds * WARM_UP


def test_so_does_a_training(device: torch.device, recordings: list[tuple[int, ...]], replays: list[None]) -> None:
    batches = training_batches(random_part(4 * BATCH, side=8), BATCH, Augment(), seed=0, device=device, cutout=2)
    settings = TrainingSettings(epochs=3, drop_path=0.2)
    finished(
        training_steps(
            PUBLISHED["DARTS_V2"], NetworkSpec(4, 3, CLASSES, auxiliary=False), settings, batches, seed=0, device=device
        )
    )
    assert len(recordings) == 2
    assert settings.epochs * 4 - len(replays) == 2 * WARM_UP  # paths are dropped from the second epoch on


# -- a step that cannot be recorded --


def reading(method: Method) -> Method:
    """Return the method with noise on its weights, at which the host looks: no graph can hold that."""

    def sample(_logits: Any, mixing: CellMixing, _space: Any, _progress: Progress) -> CellMixing:
        noisy_EO = mixing.weights_EO + 0.01 * torch.randn_like(mixing.weights_EO)
        assert float(noisy_EO.detach().sum()) > 0
        return replace(mixing, weights_EO=noisy_EO)

    return replace(method, sample=Sample(sample))


def refuse(step: Step, inputs: tuple[Input, ...]) -> Recording:
    """Fail as a capture does that meets what it cannot hold."""
    del step, inputs
    raise RuntimeError("operation not permitted when stream is capturing")


def eager(step: Step, _device: torch.device, steady: Callable[[], bool] = lambda: True, warm_up: int = WARM_UP) -> Step:
    del steady, warm_up
    return step


def test_a_step_that_cannot_be_recorded_goes_on_as_an_eager_one(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    method = reading(smoke("darts"))
    with monkeypatch.context() as plain:
        plain.setattr(replay_module, "replayed", eager)
        expected = search(method, device)
    if device.type == "cpu":
        stand_in(monkeypatch, refuse)
    with caplog.at_level(logging.WARNING):
        outcome = search(method, device)
    warned = [line for line in caplog.messages if "cannot be recorded" in line]
    assert len(warned) == 1 < len(outcome.history.rows) == method.epochs
    assert way_apart(outcome, expected) < REPLAY_TOLERANCE
    assert_usable(device)


def assert_usable(device: torch.device) -> None:
    """Draw numbers with the device's generator, which no recording holds any more, twice from the same seed."""
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(torch.stack([torch.randn(4, device=device), torch.rand(4, device=device)]))
    assert torch.equal(*drawn)
    assert drawn[0].isfinite().all()


def test_after_a_failed_recording_others_succeed(
    device: torch.device, record: Record, recordings: list[tuple[int, ...]]
) -> None:
    weight = torch.zeros(4, device=device)

    def reads(x: Tensor) -> tuple[Tensor, ...]:
        weight.add_(torch.randn_like(x))
        return (torch.tensor(float(weight.sum())),)

    def draws(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.rand_like(x),)

    x = torch.ones(4, device=device)
    for step, expected in ((reads, 0), (draws, 1), (reads, 1), (draws, 2)):
        fails = step is reads and device.type == "cpu"  # where nothing is recorded that could fail of itself
        replay = Replay(cast("Step", step), record=refuse if fails else record)
        for _ in range(5):
            replay(x)
        assert len(recordings) == expected
    assert_usable(device)


# -- nothing waits --


class Switch:
    """PyTorch's alarm at whatever waits for the device; on a CPU it rings for nothing, and only says what was asked."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.modes = device, [""]

    def set(self, mode: str) -> None:
        if self.modes[-1] != mode:
            self.modes.append(mode)
        if self.device.type == "cuda":
            torch.cuda.set_sync_debug_mode(mode)

    def at_first(self) -> Callable[[], None]:
        """Return what switches it on when it is first called: later sweeps of a pass measure batch norm anew."""
        calls: list[None] = []

        def start() -> None:
            if not calls:
                self.set("error")
            calls.append(None)

        return start

    def stop(self, done: int, total: int) -> None:
        assert self.modes[-1] == "error"
        if done == total:
            self.set("default")


@pytest.fixture
def switch(device: torch.device) -> Any:
    made = Switch(device)
    yield made
    made.set("default")


@on_devices("name", STEADY, everyday=["ecdarts"])
def test_nothing_in_the_epoch_of_a_search_waits_for_the_device(
    device: torch.device, name: str, switch: Switch, recordings: list[tuple[int, ...]]
) -> None:
    method = smoke(name)
    spec = replace(base_spec(method), precision="bfloat16")
    state = new_state(method, spec, seed=0, phase=0, device=device)
    data = search_data(device)
    for index, choice in enumerate(method.passes):
        # The first epoch makes what is made once for a device.
        run_pass(choice, state, data, Epoch(2 * index, architecture_steps=True), lambda _done, _total: None)
        watched = replace(data, weights=AnnouncedBatches(data.weights, switch.at_first()))
        metrics = run_pass(choice, state, watched, Epoch(2 * index + 1, architecture_steps=True), switch.stop)
        assert all(value >= 0 for value in metrics.values())
    assert switch.modes[1:] == ["error", "default"] * len(method.passes)
    assert len(recordings) == sum(2 if isinstance(each, Induced) else 1 for each in method.passes)


def test_nor_does_anything_in_an_epoch_of_retraining(
    device: torch.device, switch: Switch, recordings: list[tuple[int, ...]]
) -> None:
    network = network_on(device, drop_path=0.2)
    part = random_part(6 * BATCH, side=32)
    batches = AnnouncedBatches(
        training_batches(part, BATCH, Augment(), seed=0, device=device, cutout=16), switch.at_first()
    )
    optimiser = sgd(network, 0.1, 0.9, 3e-4)
    finished(train_epoch(network, optimiser, TrainingSettings(), batches.batches, 0, TrainingHooks()))
    row = finished(train_epoch(network, optimiser, TrainingSettings(), batches, 1, TrainingHooks(on_batch=switch.stop)))
    assert row["images"] == len(part)
    assert switch.modes[1:] == ["error", "default"]
    assert recordings == [(BATCH, 3, 32, 32)] * 2

"""What a stage will cost is measured on what will run: its precision, its threads, its replayed steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from nascommon.config import Params, load_params
from nascommon.cost import peaks as footprint
from nascommon.cost.footprint import Shape
from nascommon.cost.live_bytes import META, LiveBytes
from nascommon.data.batch import Batch
from nascommon.pipeline import estimate
from nascommon.runtime.replay import WARM_UP, Input, Replay, Step
from nascommon.space import network, supernet
from nascommon.space.precision import Precision, computing
from nascommon.training import many
from tests.stages.project import SMOKE

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def smoke(**changes: Any) -> Params:
    params = load_params(SMOKE)
    search = params.search.model_copy(update={"watch_every": 0})  # eigenvalues are float32 always
    return params.model_copy(update={**changes, "search": search, "transfer": params.transfer})


@pytest.fixture
def precisions(monkeypatch: pytest.MonkeyPatch) -> set[Precision]:
    """The precisions of all forward passes."""
    seen: set[Precision] = set()

    def watched(images: Tensor, precision: Precision) -> AbstractContextManager[object]:
        seen.add(precision)
        return computing(images, precision)

    for module in (network, supernet):
        monkeypatch.setattr(module, "computing", watched)
    return seen


def test_every_step_is_measured_in_the_precision_of_the_stages(
    precisions: set[Precision], monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(step: Any, shape: Shape, batch_size: int, device: torch.device, *_steady: Any) -> float:
        step(shape.batch(2, device))
        return 1.0

    def uncounted(program: Callable[[torch.device], object], _device: torch.device) -> int:
        with LiveBytes():  # which lets scores be read of tensors without data
            program(META)
        return 1

    monkeypatch.setattr(estimate, "measure", once)
    for peak in (footprint.search_peak, footprint.training_peak):
        peak.cache_clear()  # what is uncounted here shall not be remembered
    monkeypatch.setattr(footprint, "memory_of", uncounted)
    monkeypatch.setattr(estimate, "expected_shape", lambda *_: Shape(100, 1, 32, 32, 10))
    monkeypatch.setattr(estimate, "process_bytes", lambda *_, **__: 0)
    params = smoke(precision="bfloat16")
    stages = [line.stage for line in estimate.estimates(params, params.method(), CPU)]
    assert stages == ["search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate"]
    assert precisions == {"bfloat16"}
    for peak in (footprint.search_peak, footprint.training_peak):
        peak.cache_clear()


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(many, "cores", lambda: 4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "expected"), [(None, [4] * 4 + [2] * 3), (3, [3] * 6)])
@pytest.mark.usefixtures("four_threads")
def test_trainings_at_a_time_are_measured_with_the_threads_that_each_will_have(
    threads: int | None, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def fake(*_arguments: Any) -> float:
        used.append(torch.get_num_threads())
        return 1.0

    monkeypatch.setattr(estimate, "measure", fake)
    for peak in ("search_peak", "training_peak"):
        monkeypatch.setattr(estimate, peak, lambda *_: 1)
    monkeypatch.setattr(estimate, "expected_shape", lambda *_: Shape(100, 1, 32, 32, 10))
    monkeypatch.setattr(estimate, "process_bytes", lambda *_, **__: 0)
    params = smoke(threads=threads, jobs=2)
    torch.set_num_threads(threads or 4)
    list(estimate.estimates(params, params.method(), CPU))
    # Search: with and without the architecture step. Then retrain and transfer; ranking, its deep networks, baseline,
    # which is measured anew only where its threads are others than those of retrain.
    assert used == expected
    assert torch.get_num_threads() == (threads or 4)


def test_what_is_left_out_costs_nothing() -> None:
    params = load_params(SMOKE).changed({"retrain.skip": True, "baseline.architectures": 0, "transfer.data": None})
    shape = Shape(100, 1, 8, 8, 10)
    left_out = {
        work.stage: estimate.trainings_estimate(work, params, CPU, lambda *_: pytest.fail("nothing is to be measured"))
        for work in estimate.all_trainings(params, shape, 50)
        if work.section == "retrain"
    }
    nothing = {stage: estimate.Estimate(stage, how="trains nothing") for stage in ("retrain", "baseline")}
    assert left_out == nothing


def test_the_winner_is_trained_once_after_the_other_and_random_architectures_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "training_peak", lambda *_: 1)
    params = smoke(jobs=2).changed({"retrain.seeds": 3, "baseline.architectures": 2, "baseline.seeds": 2})
    works = {work.stage: work for work in estimate.all_trainings(params, Shape(100, 1, 32, 32, 10), 40)}
    found = {
        stage: estimate.trainings_estimate(works[stage], params, CPU, lambda *_: 1.0)
        for stage in ("retrain", "baseline")
    }
    steps = params.retrain.training.epochs * 2
    assert found["retrain"].seconds == 3 * steps
    assert found["baseline"].seconds == 4 * steps / 2


def test_networks_that_share_a_gpu_are_not_promised_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "training_peak", lambda *_: 1)
    monkeypatch.setattr(estimate, "trainings_that_fit", lambda *_, **__: (2, None))
    monkeypatch.setattr(estimate, "workspace_bytes", lambda device: 2**20 * (device.type == "cuda"))
    params = smoke(jobs=2).changed({"precision": "float32", "baseline.architectures": 4})
    works = {work.stage: work for work in estimate.all_trainings(params, Shape(100, 1, 32, 32, 10), 40)}
    steps, seconds = params.retrain.training.epochs * 2, dict[str, float]()
    for device in ("cpu", "cuda"):
        found = estimate.trainings_estimate(works["baseline"], params, torch.device(device), lambda *_: 1.0)
        seconds[device] = found.seconds
        assert "2 at a time" in found.how
        assert round(found.memory_mib) == (device == "cuda"), "with what libraries work in"
        assert ("one by one" in found.how) == (device == "cuda")
    assert seconds == {"cpu": 4 * steps / 2, "cuda": 4 * steps}


class Counted:
    """Stands for a CUDA graph of a step."""

    replays = 0

    def __init__(self, step: Step, inputs: tuple[Input, ...]) -> None:
        del step, inputs
        self.outputs: tuple[Tensor, ...] = ()

    def replay(self) -> None:
        type(self).replays += 1


class Pictures(Shape):
    """Pictures that are on no device but the host."""

    def batch(self, size: int, device: torch.device) -> Batch:
        return super().batch(size, CPU)


@pytest.mark.parametrize("varies", [False, True])
def test_on_a_gpu_replayed_steps_are_measured_unless_no_two_steps_do_the_same(
    varies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager: list[int] = []

    def step(batch: Batch) -> tuple[Tensor, ...]:
        eager.append(len(batch.labels))
        return (batch.labels,)

    monkeypatch.setattr(Counted, "replays", 0)
    monkeypatch.setattr(
        estimate, "replayed", lambda step, device, steady: Replay(step, steady=steady, record=Counted) if device == GPU
        else step,
    )  # fmt: skip
    estimate.measure(step, Pictures(0, 1, 8, 8, 10), 32, GPU, lambda: not varies)
    repeats = WARM_UP + 1 + estimate.REPEATS
    assert eager == [32] * (repeats if varies else WARM_UP)
    assert Counted.replays == (0 if varies else repeats - WARM_UP)


def test_what_varies_from_step_to_step_is_told_to_the_replay() -> None:
    params = load_params(SMOKE)
    told: dict[str, set[bool]] = {}
    for name in ("darts", "gdas"):
        search = params.search.model_copy(update={"method": name})
        changed = params.model_copy(update={"search": search})
        told[name] = set()

        def once(step: Any, shape: Shape, _size: int, device: torch.device, steady: Any, name: str = name) -> float:
            step(shape.batch(2, device))
            told[name].add(steady())
            return 1.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(estimate, "measure", once)
            patch.setattr(estimate, "search_peak", lambda *_: 1)
            shape = Shape(100, 1, 8, 8, 10)
            estimate.search_estimate(changed, changed.method(), shape, (50, 50), CPU)
    assert told == {"darts": {True}, "gdas": {False}}


@pytest.mark.usefixtures("four_threads")
def test_of_a_stage_that_ranks_share_the_share_of_one_is_measured_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[int, bool, int]] = []
    counted: list[int] = []

    def once(_step: Any, _shape: Shape, size: int, _device: torch.device, steady: Any) -> float:
        measured.append((size, steady(), torch.get_num_threads()))
        return 1.0

    def peak(of: Any, *_sizes: Any) -> int:
        counted.append(of.batch_size)
        return 1

    monkeypatch.setattr(estimate, "measure", once)
    monkeypatch.setattr(estimate, "search_peak", peak)
    monkeypatch.setattr(estimate, "training_peak", peak)
    monkeypatch.setattr(estimate, "expected_shape", lambda *_: Shape(1000, 1, 32, 32, 10))
    monkeypatch.setattr(estimate, "process_bytes", lambda *_, **__: 0)
    alone, shared = ({line.stage: line for line in estimate.estimates(params, params.method(), CPU)}
                     for params in (smoke(launch=1), smoke(launch=3)))  # fmt: skip
    params = smoke()
    batches = [params.method().batch_size, params.retrain.training.batch_size, params.transfer.training.batch_size]
    thirds = [-(-batch // 3) for batch in batches]
    assert [one for one in measured if not one[1]] == [(third, False, 1) for third in (thirds[0], *thirds)]
    assert counted[len(counted) // 2 :][:3] == thirds
    for stage in ("search", "retrain", "transfer"):
        # As many steps as of the whole batch, each of a third of its images.
        assert shared[stage].seconds == alone[stage].seconds
        assert shared[stage].how == f"{alone[stage].how}{estimate.of_ranks(3)}"
    for stage in ("kendall_tau", "baseline"):
        assert shared[stage] == alone[stage]
    assert shared["discretize"].seconds == pytest.approx(alone["discretize"].seconds * batches[0] / thirds[0])


def test_so_few_steps_that_they_teach_little_are_named() -> None:
    few = "; with so few a smaller batch_size learns more"
    assert [estimate.steps_in_words(count) for count in (1, 4, 5)] == [f"1 step{few}", f"4 steps{few}", "5 steps"]


def test_a_half_that_fills_no_batch_is_searched_in_one_step_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "measure", lambda *_: 1.0)
    monkeypatch.setattr(estimate, "search_peak", lambda *_: 1)
    params = smoke()
    fewer = params.method().batch_size - 1
    line, _ = estimate.search_estimate(params, params.method(), Shape(100, 1, 8, 8, 10), (fewer, fewer), CPU)
    assert f"{params.method().epochs} epochs of 1 step; with so few" in line.how

"""A replayed step gives what the step gives, whatever cannot be recorded."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from nascommon.runtime.replay import WARM_UP, Recording, Replay, Step, replayed


class Rehearsal:
    """Stands for a CUDA graph: knows a step only by the memory of its inputs and outputs."""

    made = 0

    def __init__(self, step: Step, inputs: tuple[Tensor, ...]) -> None:
        type(self).made += 1
        self.step, self.inputs = step, inputs
        self.outputs = tuple(torch.zeros(()) for _ in range(2))  # recording computes nothing

    def replay(self) -> None:
        for mine, new in zip(self.outputs, self.step(*self.inputs), strict=True):
            mine.copy_(new)


class Counter:
    """A step with a state of its own."""

    def __init__(self) -> None:
        self.total = torch.zeros(())
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        self.shapes.append(tuple(inputs[0].shape))
        self.total += inputs[0].sum()
        return self.total.clone(), inputs[0].max()


@pytest.fixture(autouse=True)
def none_made() -> None:
    Rehearsal.made = 0


def run(replay: Step, batches: list[Tensor]) -> list[tuple[float, float]]:
    return [(float(total), float(most)) for total, most in (replay(batch) for batch in batches)]


def batches(count: int = 6, size: int = 3) -> list[Tensor]:
    return [torch.arange(size, dtype=torch.float32) + 10 * i for i in range(count)]


def test_every_call_is_one_step_on_its_own_inputs() -> None:
    assert run(Replay(Counter(), record=Rehearsal), batches()) == run(Counter(), batches())
    assert Rehearsal.made == 1


def test_the_first_steps_are_done_as_usual() -> None:
    run(Replay(Counter(), record=Rehearsal), batches(WARM_UP))
    assert Rehearsal.made == 0


def test_the_inputs_of_the_caller_are_left_alone() -> None:
    given = batches()
    run(Replay(Counter(), record=Rehearsal), given)
    assert all(torch.equal(before, after) for before, after in zip(batches(), given, strict=True))


def test_another_shape_is_computed_as_usual() -> None:
    mixed = [*batches(4), *batches(1, size=2), *batches(2)]
    counter = Counter()
    assert run(Replay(counter, record=Rehearsal), mixed) == run(Counter(), mixed)
    assert counter.shapes[4] == (2,)
    assert Rehearsal.made == 1


def test_a_step_that_is_not_steady_is_never_recorded() -> None:
    assert run(Replay(Counter(), steady=lambda: False, record=Rehearsal), batches()) == run(Counter(), batches())
    assert Rehearsal.made == 0


def test_a_step_that_cannot_be_recorded_runs_as_usual_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def refuse(_step: Step, inputs: tuple[Tensor, ...]) -> Recording:
        tries.append(inputs)
        raise RuntimeError("operation not permitted when stream is capturing")

    with caplog.at_level(logging.WARNING):
        assert run(Replay(Counter(), record=refuse), batches()) == run(Counter(), batches())
    assert len(tries) == len(caplog.records) == 1
    assert "not permitted" in caplog.text


def test_only_a_gpu_replays() -> None:
    step = Counter()
    assert replayed(step, torch.device("cpu")) is step
    assert isinstance(replayed(step, torch.device("cuda")), Replay)

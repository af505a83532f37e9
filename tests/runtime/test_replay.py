"""A replayed step gives what the step gives, whatever cannot be recorded."""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nascommon.runtime import replay
from nascommon.runtime.replay import WARM_UP, Input, Recording, Recordings, Replay, Step, replayed
from tests.runtime.rehearsal import Rehearsal


class Counter:
    """A step with a state of its own."""

    def __init__(self) -> None:
        self.total = torch.zeros(())
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        self.shapes.append(tuple(inputs[0].shape))
        self.total += inputs[0].sum()
        return self.total.clone(), inputs[0].max()


class Counted(Rehearsal):
    """Counts how many were made."""

    made = 0

    def __init__(self, step: Step, inputs: tuple[Input, ...]) -> None:
        type(self).made += 1
        super().__init__(step, inputs)


@pytest.fixture(autouse=True)
def none_made() -> None:
    Counted.made = 0


def run(replay: Step, batches: list[Tensor]) -> list[tuple[float, float]]:
    return [(float(total), float(most)) for total, most in (replay(batch) for batch in batches)]


def batches(count: int = 6, size: int = 3) -> list[Tensor]:
    return [torch.arange(size, dtype=torch.float32) + 10 * i for i in range(count)]


def test_every_call_is_one_step_on_its_own_inputs() -> None:
    assert run(Replay(Counter(), record=Counted), batches()) == run(Counter(), batches())
    assert Counted.made == 1


def test_the_first_steps_are_done_as_usual() -> None:
    run(Replay(Counter(), record=Counted), batches(WARM_UP))
    assert Counted.made == 0


def test_what_is_warm_is_recorded_at_once() -> None:
    counter = Counter()
    assert run(Replay(counter, warm_up=0, record=Counted), batches()) == run(Counter(), batches())
    assert Counted.made == 1


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """As on a GPU."""

    def repeated(step: Step, _device: torch.device, steady: Callable[[], bool], warm_up: int) -> Replay:
        return Replay(step, steady=steady, warm_up=warm_up, record=Counted)

    monkeypatch.setattr(replay, "replayed", repeated)
    return Recordings()


def epoch(recordings: Recordings, kind: Hashable = True) -> list[int]:
    """Return the recordings made until each step of an epoch was done."""
    step, made = recordings.repeated(Counter(), torch.device("cpu"), kind), []
    for batch in batches(WARM_UP + 1):
        step(batch)
        made.append(Counted.made)
    return made


def test_epochs_of_a_kind_share_a_recording(recordings: Recordings) -> None:
    assert epoch(recordings) == [0, 0, 1]
    assert epoch(recordings) == [1, 1, 1]


def test_another_kind_of_step_or_of_kernels_is_warmed_up_and_recorded_for_itself(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert epoch(recordings) == [0, 0, 1]
    assert epoch(recordings, kind=False) == [1, 1, 2]
    assert epoch(recordings, kind=True) == [3, 3, 3]  # warm, but the last kind alone is kept
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark)
    assert epoch(recordings) == [3, 3, 4]
    assert epoch(Recordings()) == [4, 4, 5]


def test_a_dropped_recording_is_made_again_without_warming_up(recordings: Recordings) -> None:
    step = recordings.repeated(Counter(), torch.device("cpu"), True)
    gone = weakref.ref(step)
    recordings.drop()
    del step
    assert gone() is None
    assert epoch(recordings) == [1, 1, 1]


def test_the_inputs_of_the_caller_are_left_alone() -> None:
    given = batches()
    run(Replay(Counter(), record=Counted), given)
    assert all(torch.equal(before, after) for before, after in zip(batches(), given, strict=True))


def test_another_shape_is_computed_as_usual() -> None:
    mixed = [*batches(4), *batches(1, size=2), *batches(2)]
    counter = Counter()
    assert run(Replay(counter, record=Counted), mixed) == run(Counter(), mixed)
    assert counter.shapes[4] == (2,)
    assert Counted.made == 1


def test_a_step_that_is_not_steady_is_never_recorded() -> None:
    assert run(Replay(Counter(), steady=lambda: False, record=Counted), batches()) == run(Counter(), batches())
    assert Counted.made == 0


def test_a_step_that_cannot_be_recorded_runs_as_usual_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def refuse(_step: Step, inputs: tuple[Input, ...]) -> Recording:
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


# -- a recording that fails, without a GPU: what PyTorch leaves undone is played by hand --


class Capture:
    """State that ``torch.cuda`` keeps of a recording, and leaves as it is where ``capture_end`` raises."""

    def __init__(self) -> None:
        self.stream, self.underway, self.held = "usual", set[int](), set[int]()
        self.state, self.pools = State(), itertools.count(1)

    @property
    def now(self) -> bool:
        return self.stream == "of recordings"

    # the default generator

    def clone_state(self) -> State:
        return State(self.state.drawn)

    def graphsafe_set_state(self, state: State) -> None:
        self.state = state

    def draw(self) -> float:
        if self.state.capturing and not self.now:
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        self.state.drawn += not self.now
        return float(self.state.drawn)

    # streams and pools

    def set_stream(self, stream: str) -> None:
        self.stream = stream

    def end(self, _device: int | None, pool: int) -> None:
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.underway.remove(pool)

    def release(self, _device: int | None, pool: int) -> None:
        self.held.remove(pool)

    @contextmanager
    def graph(self, _graph: Graph, *, pool: int, stream: str, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert not self.underway, "captures_underway.empty() INTERNAL ASSERT FAILED"
        self.underway.add(pool)
        self.held.add(pool)
        self.stream, self.state.capturing = stream, True
        yield  # after an exception nothing of the following is reached
        self.end(None, pool)
        self.stream, self.state.capturing = "usual", False


@dataclass
class State:
    """State of a generator: how many numbers it has drawn, and whether a recording has it."""

    drawn: int = 0
    capturing: bool = False


class Graph:
    """Replays nothing."""

    def replay(self) -> None:
        pass


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Capture]:
    made = Capture()
    for name, value in {
        "CUDAGraph": Graph, "graph": made.graph, "graph_pool_handle": lambda: next(made.pools),
        "device": lambda _device: nullcontext(), "current_stream": lambda _device: made.stream,
        "set_stream": made.set_stream, "default_generators": {None: made}, "Stream": lambda _device: "of recordings",
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", made.end)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", made.release)
    replay._stream_of_recordings.cache_clear()
    yield made
    replay._stream_of_recordings.cache_clear()


def test_after_a_failed_recording_steps_draw_allocate_and_record_as_if_there_had_been_none(capture: Capture) -> None:
    def step(given: Tensor) -> tuple[Tensor, ...]:
        drawn = capture.draw()
        if capture.now:
            raise RuntimeError("operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA_DSA")
        return (given + drawn,)

    for _ in range(2):  # as in two epochs
        repeat = Replay(step)
        first = capture.state.drawn
        results = [float(repeat(torch.zeros(()))[0]) for _ in range(WARM_UP + 3)]
        assert results == [first + i for i in range(1, WARM_UP + 4)]
        assert (capture.stream, capture.underway, capture.held) == ("usual", set(), set())
    replay.CudaRecording(lambda given: (given,), (torch.zeros(()),))
    assert len(capture.held) == 1  # its graph's, until that dies


def test_recordings_are_made_on_one_stream_for_each_that_they_are_replayed_on(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = itertools.count()
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: f"stream {next(made)}")
    on: list[str] = []

    def step(given: Tensor) -> tuple[Tensor, ...]:
        on.append(capture.stream)
        return (given,)

    for capture.stream in ("usual", "of a lane", "usual", "of a lane"):
        replay.CudaRecording(step, (torch.zeros(()),))
    assert on == ["stream 0", "stream 1", "stream 0", "stream 1"]


def test_a_recording_that_ended_in_order_gives_its_memory_back_itself(capture: Capture) -> None:
    """As where what was recorded cannot be made a graph: the allocator knows that the recording is over."""

    def full(_given: Tensor) -> tuple[Tensor, ...]:
        capture.underway.clear()
        raise RuntimeError("out of memory while instantiating")

    with pytest.raises(RuntimeError, match="instantiating"):
        replay.CudaRecording(full, (torch.zeros(()),))
    assert len(capture.held) == 1
    assert not capture.underway


def test_ctrl_c_during_a_recording_passes_and_leaves_nothing_behind(capture: Capture) -> None:
    def step(_given: Tensor) -> tuple[Tensor, ...]:
        if capture.now:
            raise KeyboardInterrupt
        return ()

    repeat = Replay(step)
    for _ in range(WARM_UP):
        repeat(torch.zeros(()))
    with pytest.raises(KeyboardInterrupt):
        repeat(torch.zeros(()))
    assert (capture.stream, capture.underway, capture.held) == ("usual", set(), set())

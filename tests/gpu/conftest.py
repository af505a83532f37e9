"""On a GPU every test runs with real CUDA graphs; on a CPU some run every day with what stands for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.gate import Record, exact_numbers
from nascommon.runtime import replay
from nascommon.runtime.replay import CudaRecording, Replay, Step
from tests.runtime.rehearsal import Rehearsal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a GPU a warning of a library is told and fails nothing: few machines have one to meet it before."""
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The device of a test, which computes as exactly as it can."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    with exact_numbers():
        yield torch.device(request.param)


@pytest.fixture
def record(device: torch.device) -> Record:
    """What records steps on the device."""
    return CudaRecording if device.type == "cuda" else Rehearsal


@pytest.fixture
def recordings(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the first input of every recording that searches and trainings make."""
    made: list[tuple[int, ...]] = []
    kind: Any = CudaRecording if device.type == "cuda" else Rehearsal
    begin = kind.__init__

    def counted(self: Any, step: Step, inputs: tuple[Tensor, ...]) -> None:
        begin(self, step, inputs)
        made.append(tuple(inputs[0].shape))

    monkeypatch.setattr(kind, "__init__", counted)
    if device.type == "cpu":
        stand_in(monkeypatch, Rehearsal)
    return made


def stand_in(monkeypatch: pytest.MonkeyPatch, record: Record) -> None:
    """Repeat steps on a CPU as on a GPU, with what stands for a graph."""
    monkeypatch.setattr(
        replay,
        "replayed",
        lambda step, _device, steady, warm_up: Replay(step, steady=steady, warm_up=warm_up, record=record),
    )

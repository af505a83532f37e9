"""Which executor does the pieces of a stage, and with how many threads, by device and settings."""

from __future__ import annotations

import pytest
import torch

from nascommon.config import load_params
from nascommon.pipeline import side_by_side
from nascommon.runtime.executor import IN_LINE, Processes
from nascommon.runtime.interleaved import Interleaved
from nascommon.training import many
from tests.stages.project import SMOKE

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_trainings_take_turns_on_a_gpu_and_have_processes_on_a_cpu() -> None:
    params = load_params(SMOKE).changed({"threads": 2, "jobs": 3})
    assert side_by_side.trainer_of(params, CPU, 3) == Processes(3, 2)
    assert side_by_side.trainer_of(params, GPU, 3) == Interleaved(3, GPU)
    assert side_by_side.trainer_of(params, GPU, 1) is IN_LINE
    assert side_by_side.executor_of(params, GPU, 3) == Processes(3, 2), "a search does not pause"


def test_trainings_that_take_turns_share_the_threads_that_processes_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    params = load_params(SMOKE).changed({"threads": None, "jobs": 4})
    assert side_by_side.threads_of_trainings(params, CPU, 4) == 2
    assert side_by_side.threads_of_trainings(params, GPU, 4) == 8

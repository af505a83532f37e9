"""Several retrainings are alike to one by one, and a killed stage takes them up where they were."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from nascommon.data.batch import Batch
from nascommon.data.batches import Batches
from nascommon.runtime import ray_executor
from nascommon.runtime.checkpoint import CheckpointFolder
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.executor import PROCESSES, Executor, executor
from nascommon.runtime.interleaved import Interleaved
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.runtime.steps import finished
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training import many
from nascommon.training.loop import Trained, training_steps
from nascommon.training.many import Job, ManyHooks, SeededBatches, simultaneous, threads_of_each, train_many
from nascommon.training.settings import TrainingSettings
from tests.search.small import CPU, TinyBatches, equal

SPEC, DEEP = NetworkSpec(2, 3, 4, auxiliary=False), NetworkSpec(2, 4, 4, auxiliary=False)
SETTINGS = TrainingSettings(epochs=2, batch_size=5, lr=0.1, drop_path=0.3)
JOBS = [
    Job("a", PUBLISHED["DARTS_V2"], SPEC, 1),
    Job("b", PUBLISHED["PDARTS"], SPEC, 2),
    Job("a-again", PUBLISHED["DARTS_V2"], DEEP, 3),
]
EPOCHS = [(job, epoch) for job in range(3) for epoch in range(2)]


class KilledError(Exception):
    pass


def batches(*, seed: int) -> Batches:
    return TinyBatches(seed=seed)


def batches_of_which_the_second_job_gets_no_numbers(*, seed: int) -> Batches:
    tiny = TinyBatches(seed=seed)
    if seed == JOBS[1].seed:
        tiny.images.fill_(torch.nan)
    return tiny


def valid() -> Batches:
    return TinyBatches(6, 6, seed=9, shuffled=False)


def states(results: list[Trained]) -> list[dict[str, Any]]:
    return [result.network.state_dict() for result in results]


def rows(results: list[Trained]) -> list[list[dict[str, Any]]]:
    """The rows without what differs from run to run."""
    return [[{**row, "seconds": None} for row in result.rows] for result in results]


def run(folder: Path | None = None, processes: int = 1, **hooks: Any) -> list[Trained]:
    results = run_all(batches, folder, processes, **hooks)
    whole = [result for result in results if isinstance(result, Trained)]
    assert len(whole) == len(results)
    return whole


def run_all(
    of: SeededBatches, folder: Path | None = None, processes: int = 1, where: str = PROCESSES, **hooks: Any
) -> list[Trained | DivergenceError]:
    return run_on(executor(processes, where=where), of, folder, **hooks)


def run_on(
    does: Executor, of: SeededBatches = batches, folder: Path | None = None, **hooks: Any
) -> list[Trained | DivergenceError]:
    checkpoints = CheckpointFolder(folder, "kendall_tau", "f") if folder else None
    return train_many(
        JOBS, SETTINGS, of, device=CPU, validation=valid, checkpoints=checkpoints, executor=does,
        hooks=ManyHooks(**hooks),
    )  # fmt: skip


def kill_at(index: int, epoch: int) -> Callable[[int, dict[str, Any]], None]:
    def kill(job: int, row: dict[str, Any]) -> None:
        if (job, row["epoch"]) == (index, epoch):
            raise KilledError

    return kill


@pytest.fixture(scope="module")
def alone() -> list[Trained]:
    return [
        finished(
            training_steps(
                job.genotype, job.spec, SETTINGS, batches(seed=job.seed), seed=job.seed, device=CPU, validation=valid()
            )
        )
        for job in JOBS
    ]


def test_many_are_trained_as_each_alone_from_its_own_seed(alone: list[Trained]) -> None:
    jobs: list[tuple[int, str]] = []
    epochs: list[tuple[int, int]] = []
    results = run(
        on_job=lambda index, job, _trained: jobs.append((index, job.name)),
        on_epoch=lambda index, row: epochs.append((index, row["epoch"])),
    )
    assert equal(states(results), states(alone))
    assert not equal(states(results)[0], states(results)[2])
    assert jobs == [(0, "a"), (1, "b"), (2, "a-again")]
    assert epochs == EPOCHS


def test_a_killed_stage_repeats_no_finished_epoch_and_ends_bit_identical(alone: list[Trained], tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, on_epoch=kill_at(1, 0))
    epochs: list[tuple[int, int]] = []
    finished: list[int] = []
    results = run(tmp_path, on_epoch=lambda index, row: epochs.append((index, row["epoch"])), on_resume=finished.append)
    assert finished == [1]
    assert epochs == EPOCHS[3:]
    assert equal(states(results), states(alone))


# --- side by side


def test_side_by_side_ends_bit_identical_and_takes_up_what_is_finished_and_what_is_begun(
    alone: list[Trained], tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, on_epoch=kill_at(1, 0))
    epochs: list[tuple[int, int]] = []
    jobs: list[tuple[int, str, bool]] = []
    finished: list[int] = []
    results = run(
        tmp_path,
        processes=2,
        on_resume=finished.append,
        on_epoch=lambda index, row: epochs.append((index, row["epoch"])),
        on_job=lambda index, job, trained: jobs.append((index, job.name, equal(trained.rows[-1]["epoch"], 1))),
    )
    assert finished == [1]
    assert sorted(epochs) == EPOCHS[3:]
    assert sorted(jobs) == [(0, "a", True), (1, "b", True), (2, "a-again", True)]
    assert equal(states(results), states(alone))
    assert equal(rows(results), rows(alone))
    assert [result.network.spec for result in results] == [job.spec for job in JOBS]
    assert all(result.peak_memory > 0 for result in results)
    assert [file.name for file in sorted(tmp_path.rglob("*.ckpt"))] == ["a-again.ckpt", "a.ckpt", "b.ckpt"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_diverges_is_reported_and_the_others_are_trained_as_ever(
    alone: list[Trained], tmp_path: Path, processes: int
) -> None:
    told: dict[str, bool] = {}
    results = run_all(
        batches_of_which_the_second_job_gets_no_numbers, tmp_path, processes,
        on_job=lambda _index, job, result: told.update({job.name: isinstance(result, Trained)}),
    )  # fmt: skip
    assert told == {"a": True, "b": False, "a-again": True}
    diverged = results[1]
    assert isinstance(diverged, DivergenceError)
    assert diverged.what == "diverged, train_loss is nan after epoch 1"
    for index in (0, 2):
        whole = results[index]
        assert isinstance(whole, Trained)
        assert equal(whole.network.state_dict(), alone[index].network.state_dict())


# --- a step of each in turn, in one process


def test_interleaved_trainings_end_bit_identical_and_take_up_what_is_finished_and_what_is_begun(
    alone: list[Trained], tmp_path: Path
) -> None:
    def until(job: int, row: dict[str, Any]) -> None:
        if (job, row["epoch"]) == (1, 1):
            raise KilledError

    with pytest.raises(KilledError):
        run_on(Interleaved(3, CPU), folder=tmp_path, on_epoch=until)
    epochs: list[tuple[int, int]] = []
    finished: list[int] = []
    results = run_on(
        Interleaved(2, CPU), folder=tmp_path, on_resume=finished.append,
        on_epoch=lambda index, row: epochs.append((index, row["epoch"])),
    )  # fmt: skip
    assert finished == [2], "the first in turn, and the one at whose end the stage was killed"
    assert epochs == [(2, 1)]
    whole = [result for result in results if isinstance(result, Trained)]
    assert equal(states(whole), states(alone))
    assert equal(rows(whole), rows(alone))


def test_of_interleaved_trainings_one_that_diverges_ends_alone(alone: list[Trained]) -> None:
    results = run_on(Interleaved(3, CPU), batches_of_which_the_second_job_gets_no_numbers)
    assert isinstance(results[1], DivergenceError)
    assert results[1].__traceback__ is None, "through its frames the network and its pictures would stay in memory"
    for index in (0, 2):
        whole = results[index]
        assert isinstance(whole, Trained)
        assert equal(whole.network.state_dict(), alone[index].network.state_dict())


# --- on Ray


class LostAfterAnEpoch(TinyBatches):
    """Batches with which a worker dies in its second epoch, once."""

    def __init__(self, mark: Path, seed: int) -> None:
        super().__init__(seed=seed)
        self.mark = mark

    def epoch(self, key: int, share: Share = WHOLE) -> Iterator[Batch]:
        if key == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().epoch(key, share)


def batches_of_which_the_second_job_loses_its_worker(mark: Path, *, seed: int) -> Batches:
    return LostAfterAnEpoch(mark, seed) if seed == JOBS[1].seed else TinyBatches(seed=seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a start of Ray that was too slow
def test_on_ray_a_lost_worker_s_job_goes_on_from_its_checkpoint_and_all_end_bit_identical(
    alone: list[Trained], tmp_path: Path
) -> None:
    epochs: list[tuple[int, int]] = []
    jobs: list[str] = []
    try:
        results = run_all(
            partial(batches_of_which_the_second_job_loses_its_worker, tmp_path / "lost"), tmp_path, 2, "ray",
            on_epoch=lambda index, row: epochs.append((index, row["epoch"])),
            on_job=lambda _index, job, _trained: jobs.append(job.name),
        )  # fmt: skip
    finally:
        ray_executor.connected("ray").shutdown()
    assert (tmp_path / "lost").exists()
    assert sorted(epochs) == EPOCHS  # none twice: the first epoch was not repeated
    assert sorted(jobs) == ["a", "a-again", "b"]
    whole = [result for result in results if isinstance(result, Trained)]
    assert equal(states(whole), states(alone))
    assert equal(rows(whole), rows(alone))


# --- how many at a time


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "count"),
    [("auto", 1, 8, 8), ("auto", 2, 8, 4), ("auto", 3, 8, 2), ("auto", 16, 8, 1), ("auto", None, 8, 1), (3, 1, 2, 3)],
)
def test_as_many_run_at_a_time_as_fill_the_cores(
    jobs: int | Literal["auto"], threads: int | None, cores: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "cores", lambda: cores)
    assert simultaneous(jobs, CPU, threads) == count


@pytest.mark.parametrize(
    ("threads", "processes", "torch_takes", "cores", "count"),
    [(None, 4, 8, 8, 2), (None, 3, 8, 8, 2), (None, 8, 4, 4, 1), (None, 2, 1, 8, 1), (2, 4, 8, 4, 2)],
)
def test_trainings_at_a_time_divide_the_cores_unless_told_otherwise(
    threads: int | None, processes: int, torch_takes: int, cores: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: torch_takes)
    assert threads_of_each(threads, processes) == count


def test_on_a_gpu_one_runs_after_the_other_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "cores", lambda: 16)
    assert simultaneous("auto", torch.device("cuda"), 1) == 1
    assert simultaneous(3, torch.device("cuda"), None) == 3
    assert simultaneous(40, torch.device("cuda"), None) == 15
    assert simultaneous(40, CPU, None) == 40

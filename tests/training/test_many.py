"""Several retrainings are alike to one by one, and a killed stage takes them up where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nascommon.data.batches import Batches
from nascommon.runtime.checkpoint import CheckpointFolder
from nascommon.space.network import NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.loop import Trained, train_network
from nascommon.training.many import Job, train_many
from nascommon.training.settings import TrainingSettings
from tests.search.small import CPU, TinyBatches, equal

SPEC = NetworkSpec(2, 3, 4, auxiliary=False)
SETTINGS = TrainingSettings(epochs=2, batch_size=5, lr=0.1, drop_path=0.3)
JOBS = [Job("a", PUBLISHED["DARTS_V2"], 1), Job("b", PUBLISHED["PDARTS"], 2), Job("a-again", PUBLISHED["DARTS_V2"], 3)]
VALID = TinyBatches(6, 6, seed=9, shuffled=False)


class KilledError(Exception):
    pass


def batches(seed: int) -> Batches:
    return TinyBatches(seed=seed)


def states(results: list[Trained]) -> list[dict[str, Any]]:
    return [result.network.state_dict() for result in results]


def run(checkpoints: CheckpointFolder | None = None, **hooks: Any) -> list[Trained]:
    return train_many(JOBS, SPEC, SETTINGS, batches, device=CPU, validation=VALID, checkpoints=checkpoints,
                      **{"on_job": lambda *_: None, "on_epoch": lambda *_: None, **hooks})  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> list[Trained]:
    return [
        train_network(job.genotype, SPEC, SETTINGS, batches(job.seed), seed=job.seed, device=CPU, validation=VALID)
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
    assert epochs == [(job, epoch) for job in range(3) for epoch in range(2)]


def test_a_killed_stage_repeats_no_finished_epoch_and_ends_bit_identical(alone: list[Trained], tmp_path: Path) -> None:
    def kill(index: int, row: dict[str, Any]) -> None:
        if (index, row["epoch"]) == (1, 0):
            raise KilledError

    with pytest.raises(KilledError):
        run(CheckpointFolder(tmp_path, "kendall_tau", "f"), on_epoch=kill)
    epochs: list[tuple[int, int]] = []
    results = run(
        CheckpointFolder(tmp_path, "kendall_tau", "f"),
        on_epoch=lambda index, row: epochs.append((index, row["epoch"])),
    )
    assert epochs == [(1, 1), (2, 0), (2, 1)]
    assert equal(states(results), states(alone))

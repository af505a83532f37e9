"""Retrain several architectures alike, each from its own seed and with its own checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nascommon.data.batches import Batches
from nascommon.runtime.checkpoint import CheckpointFolder
from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec
from nascommon.training.loop import Trained, TrainingHooks, train_network
from nascommon.training.settings import TrainingSettings


@dataclass(frozen=True)
class Job:
    """One retraining: the name of its checkpoint, the architecture and the seed."""

    name: str
    genotype: Genotype
    seed: int


def train_many(
    jobs: Sequence[Job],
    spec: NetworkSpec,
    settings: TrainingSettings,
    batches: Callable[[int], Batches],
    *,
    device: torch.device,
    validation: Batches | None,
    checkpoints: CheckpointFolder | None = None,
    on_job: Callable[[int, Job, Trained], None] = lambda *_: None,
    on_epoch: Callable[[int, dict[str, Any]], None] = lambda *_: None,
    on_resume: Callable[[int], None] = lambda _: None,
) -> list[Trained]:
    """Train the jobs one after the other; one that was finished or begun before a kill is taken up where it was.

    Args:
        jobs: what to train.
        spec: size of every network.
        settings: protocol of every training.
        batches: seed -> training batches.
        device: where to compute.
        validation: scores every network after every epoch.
        checkpoints: where the state of each job is kept until the stage is done.
        on_job: (index, job, result) after each job.
        on_epoch: (index of the job, row) after each epoch.
        on_resume: (jobs that an earlier process finished), before the first job, where there is something to take up.
    """
    begun = sum(checkpoints.file(job.name).path.is_file() for job in jobs) if checkpoints else 0
    if begun:
        on_resume(begun - 1)
    results = []
    for index, job in enumerate(jobs):
        trained = train_network(
            job.genotype,
            spec,
            settings,
            batches(job.seed),
            seed=job.seed,
            device=device,
            validation=validation,
            checkpoint=checkpoints.file(job.name) if checkpoints else None,
            hooks=TrainingHooks(on_epoch=lambda row, index=index: on_epoch(index, row)),  # type: ignore[misc]
        )
        on_job(index, job, trained)
        results.append(trained)
    return results

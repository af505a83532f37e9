"""Retrain several architectures alike, each from its own seed and with its own checkpoint, one by one or side by side.

Every job is a function of its own seed alone, so how many run at a time changes no bit of what comes out (on a CPU,
where every process computes with as many threads; on a GPU where all take the same kernels).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from nascommon.data.batches import Batches
from nascommon.runtime.checkpoint import Address, Checkpoint, CheckpointFolder
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.executor import IN_LINE, Executor, Piece, Tell
from nascommon.runtime.hardware import cores, tune
from nascommon.runtime.interleaved import MOST_STREAMS
from nascommon.runtime.steps import Steps
from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec, build_network
from nascommon.training.descent import TrainingHooks, ignore
from nascommon.training.loop import Trained, training_steps
from nascommon.training.settings import TrainingSettings


@dataclass(frozen=True)
class Job:
    """One retraining: the name of its checkpoint, the architecture, the size of the network and the seed."""

    name: str
    genotype: Genotype
    spec: NetworkSpec
    seed: int


class SeededBatches(Protocol):
    """Makes the training batches of a job."""

    def __call__(self, *, seed: int) -> Batches:
        """Return batches whose order and augmentation belong to the seed."""
        ...


@dataclass(frozen=True)
class SharedSetup:
    """All that jobs share; small, since it is sent with each job to a process that makes its own batches."""

    settings: TrainingSettings
    batches: SeededBatches
    validation: Callable[[], Batches] | None
    device: torch.device


@dataclass(frozen=True)
class ManyHooks:
    """Callbacks of the trainings; all are called in the process that called ``train_many``.

    Attributes:
        on_resume: (jobs that an earlier process finished), before the first job, where there is something to take up.
        on_epoch: (index of the job, row) after each epoch.
        on_job: (index, job, result or how it diverged) after each job, in the order in which they end.
    """

    on_resume: Callable[[int], None] = ignore
    on_epoch: Callable[[int, dict[str, Any]], None] = ignore
    on_job: Callable[[int, Job, Trained | DivergenceError], None] = ignore


def simultaneous(jobs: int | Literal["auto"], device: torch.device, threads: int | None) -> int:
    """Return how many trainings to run at a time where memory suffices.

    Args:
        jobs: the setting; a number is taken as it is, on a GPU up to its streams.
        device: ``auto`` on a CPU fills the cores. On a GPU it is one after the other: what several gain there has not
            been measured.
        threads: number for each training; None means all cores, so one training at a time.
    """
    if device.type == "cuda":
        return 1 if jobs == "auto" else min(jobs, MOST_STREAMS)
    if jobs != "auto":
        return jobs
    return max(1, cores() // (threads or cores()))


def threads_of_each(threads: int | None, processes: int) -> int:
    """Return the CPU threads of each of several trainings at a time.

    Args:
        threads: the setting; a number is taken as it is. None divides the cores, as far as torch would take them.
        processes: how many trainings run at a time.
    """
    return threads or max(1, min(torch.get_num_threads(), cores() // processes))


def train_many(
    jobs: Sequence[Job],
    settings: TrainingSettings,
    batches: SeededBatches,
    *,
    device: torch.device,
    validation: Callable[[], Batches] | None,
    checkpoints: CheckpointFolder | None = None,
    executor: Executor = IN_LINE,
    hooks: ManyHooks = ManyHooks(),
) -> list[Trained | DivergenceError]:
    """Train the jobs; one that was finished or begun before a kill is taken up where it was.

    Args:
        jobs: what to train.
        settings: protocol of every training.
        batches: seed -> training batches. Called where a job is trained, so it names the pictures instead of holding
            them, and so does ``validation``.
        device: where to compute.
        validation: makes the batches that score a network after every epoch.
        checkpoints: where the state of each job is kept until the stage is done.
        executor: trains them. ``peak_memory`` of a result is that of the process it was trained in: what several take
            together in one process, or a part of what they take in several.
        hooks: who is told.

    Returns:
        The results in the order of the jobs, networks on the CPU; of a job that diverged, how it did. The others go on.

    Raises:
        UserError: a process was killed, or memory ran out; the message names the job.
        RuntimeError: a job failed in a process of its own; the message names it.
    """
    course = SharedSetup(settings, batches, validation, device)
    files = [checkpoints.file(job.name) if checkpoints else None for job in jobs]
    _tell_resume(files, settings.epochs, hooks)
    results: dict[int, Trained | DivergenceError] = {}

    def on_message(index: int, told: dict[str, Any] | str) -> None:
        file = files[index]
        if not isinstance(told, str):
            hooks.on_epoch(index, told)
        elif file:
            file.report(told)

    def on_result(index: int, report: _Report | DivergenceError) -> None:
        job = jobs[index]
        results[index] = _trained(job, report) if isinstance(report, _Report) else report
        hooks.on_job(index, job, results[index])

    executor.run(
        [piece(course, job, file) for job, file in zip(jobs, files, strict=True)],
        on_message=on_message,
        on_result=on_result,
    )
    return [results[index] for index in range(len(jobs))]


def _tell_resume(files: Sequence[Checkpoint | None], epochs: int, hooks: ManyHooks) -> None:
    """Tell how many jobs are finished where any has been begun."""
    states = [file.load() for file in files if file]
    done = [len(json.loads(state["rows"])) for state in states if state]
    if done:
        hooks.on_resume(sum(count >= epochs for count in done))


@dataclass(frozen=True)
class _Report:
    """Result as it comes back: the weights as ``torch.save`` writes them, and the rest of ``Trained``."""

    weights: bytes
    rows: list[dict[str, Any]]
    peak_memory: int


def piece(course: SharedSetup, job: Job, file: Checkpoint | None) -> Piece[_Report | DivergenceError]:
    """Describe a job; it tells its rows, and as text what its checkpoint has to say."""
    return Piece(job.name, _train, (course, job, file.address if file else None))


def _train(course: SharedSetup, job: Job, address: Address | None, tell: Tell) -> Steps[_Report | DivergenceError]:
    """Train one job where the piece of work is done."""
    tune(course.device)
    try:
        trained = yield from training_steps(
            job.genotype,
            job.spec,
            course.settings,
            course.batches(seed=job.seed),
            seed=job.seed,
            device=course.device,
            validation=course.validation() if course.validation else None,
            checkpoint=Checkpoint(*address, tell) if address else None,
            hooks=TrainingHooks(on_epoch=tell),
        )
    except DivergenceError as diverged:
        return diverged.with_traceback(None)  # it would hold network, pictures and recorded steps until the stage ends
    buffer = io.BytesIO()
    torch.save(trained.network.state_dict(), buffer)
    return _Report(buffer.getvalue(), trained.rows, trained.peak_memory)


def _trained(job: Job, report: _Report) -> Trained:
    """Build the network again that a piece of work has trained."""
    network = build_network(job.genotype, job.spec).to(memory_format=torch.channels_last)
    network.load_state_dict(torch.load(io.BytesIO(report.weights), map_location="cpu", weights_only=True))
    return Trained(network, report.rows, report.peak_memory)

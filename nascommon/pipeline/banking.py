"""Random architectures are trained from scratch and tested, and each becomes a row of a bank."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from nascommon.config import Params
from nascommon.cost.complexity import network_complexity
from nascommon.data.loading import Data, open_data
from nascommon.pipeline.paths import BASELINE, ROOT
from nascommon.pipeline.retrain import Retraining
from nascommon.pipeline.run import prepare_device
from nascommon.pipeline.side_by_side import trainer_of
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.hardware import describe, resolve_precision
from nascommon.runtime.progress import epoch_figures, pieces
from nascommon.runtime.revision import revision
from nascommon.runtime.seeding import derive, generator
from nascommon.space.draws import random_genotype
from nascommon.space.precision import Precision
from nascommon.space.space import Space
from nascommon.training.loop import Trained, predict
from nascommon.training.many import Job, ManyHooks, train_many
from nascommon.truth.bank import Bank, Head, Row, add_rows, read_bank
from nascommon.truth.protocol import TrainingProtocol


@dataclass(frozen=True)
class Plan:
    """The architectures to train and how often.

    Attributes:
        architectures: how many are drawn.
        seeds: trainings of each.
        first: so many of them have all their trainings before the others have a second one.
    """

    architectures: int
    seeds: int
    first: int

    def pairs(self) -> list[tuple[int, int]]:
        """Return (architecture, seed) in the order of work: every architecture once, then the first ones again."""
        first = min(self.first, self.architectures)
        parts = [(0, self.architectures, 0, 1), (0, first, 1, self.seeds), (first, self.architectures, 1, self.seeds)]
        return [(i, seed) for low, high, begin, end in parts for seed in range(begin, end) for i in range(low, high)]


def fill_bank(params: Params, prepared: Path, bank: Path, plan: Plan, *, workers: int, command: str) -> None:
    """Train the architectures of a plan that the bank lacks, and add each to it as soon as it is tested.

    Killed at any moment, the next call goes on with the first training that has no row.

    Args:
        params: their section ``retrain`` is the protocol.
        prepared: folder of the prepared pictures of ``params.data``.
        bank: the file; made where there is none.
        plan: what to train.
        workers: trainings at a time.
        command: what made it, for the head of the file.

    Raises:
        UserError: the bank is torn, or of another protocol.
    """
    device = prepare_device(params)
    retraining = Retraining(params.retrain, open_data(prepared, params.seed, device), BASELINE)
    precision, space = resolve_precision(params.precision, device), params.search.chosen_space()
    manifest = retraining.data.prepared.manifest
    head = Head(command=command, protocol=TrainingProtocol.of(params.retrain, manifest, space, precision))
    add_rows(bank, head, [])  # refuses a bank of another protocol before anything is trained
    jobs = missing_jobs(retraining, plan, space, read_bank(bank) if bank.exists() else None, precision)
    training, certificate = params.retrain.training, birth_certificate(device)
    kept, _ = retraining.pictures()
    with pieces("bank", len(jobs), unit="network", at_a_time=workers) as bar:

        def on_job(index: int, job: Job, trained: Trained | DivergenceError) -> None:
            if isinstance(trained, DivergenceError):
                bar.say(f"warning: {job.name} {trained.what}; it is left out")
                bar.end(index, {})
                return
            row = row_of(trained, job, retraining.data, params.evaluate.batch_size, certificate)
            add_rows(bank, head, [row])
            bar.end(index, epoch_figures({"valid_accuracy": row.accuracy}))

        train_many(
            jobs,
            training,
            partial(kept.training, training.batch_size, "baseline", cutout=training.cutout),
            device=device,
            validation=None,
            executor=trainer_of(params, device, workers),
            hooks=ManyHooks(
                on_epoch=lambda index, row: bar.part(index, row["epoch"] + 1, training.epochs), on_job=on_job
            ),
        )


def missing_jobs(
    retraining: Retraining, plan: Plan, space: Space, bank: Bank | None, precision: Precision
) -> list[Job]:
    """Return the trainings of a plan that the bank lacks."""
    spec, seed = retraining.spec(precision), retraining.data.seed
    genotypes = [random_genotype(space, generator(seed, "baseline", index)) for index in range(plan.architectures)]
    jobs = [
        Job(f"random {index}, seed {number}", genotypes[index], spec, derive(number, "baseline", index))
        for index, number in plan.pairs()
    ]
    return [job for job in jobs if bank is None or not bank.has(job.genotype, job.seed)]


def row_of(trained: Trained, job: Job, data: Data, batch_size: int, certificate: tuple[str, str, str, str]) -> Row:
    """Test a network on the test pictures and return the row of a bank."""
    manifest = data.prepared.manifest
    network = trained.network.to(data.device)
    logits_NK, labels_N = predict(network, data.evaluation(data.prepared.part("test"), batch_size))
    accuracy = int((logits_NK.argmax(dim=1) == labels_N).sum()) / len(labels_N)
    params = network_complexity(job.genotype, network.spec, manifest.height, manifest.width).params
    return Row(job.genotype, job.seed, accuracy, params, trained.summary()["train_seconds"], certificate)


def birth_certificate(device: torch.device) -> tuple[str, str, str, str]:
    """Return commit, hardware, version of torch and date (UTC) of what is trained now."""
    return str(revision(ROOT)), describe(device), torch.__version__, datetime.now(UTC).strftime("%Y-%m-%d")

"""Baseline: random architectures of the same space, retrained exactly like the winner."""

from __future__ import annotations

import shutil
from functools import partial

from nascommon.config import Params
from nascommon.cost.complexity import network_complexity
from nascommon.pipeline.paths import BASELINE, SEARCH, TARGET_DATA
from nascommon.pipeline.retrain import Retraining
from nascommon.pipeline.run import Run, stage_run
from nascommon.pipeline.side_by_side import threads_of_trainings, trainer_of
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.progress import epoch_figures, pieces, summary
from nascommon.runtime.records import read_record
from nascommon.runtime.seeding import derive, generator
from nascommon.space.draws import random_genotype
from nascommon.space.record import FILE, SpaceRecord
from nascommon.training.artefact import SKIPPED, save_network
from nascommon.training.loop import Trained
from nascommon.training.many import Job, ManyHooks, train_many


def baseline(params: Params) -> None:
    """Train baseline.architectures random architectures by the protocol of retrain and write data/baseline.

    Each is trained baseline.seeds times; evaluate tests them and adds them to baseline.bank, if one is named.

    They depend on the space of the search, not on its method, so DVC trains them once for all methods of a space.
    Killed at any moment, the next run continues after the last finished epoch.
    """
    with stage_run("baseline", params) as run:
        retraining = Retraining(run.params.retrain, run.open(TARGET_DATA), BASELINE)
        # As DVC does: what a killed run left half written is none of the results.
        shutil.rmtree(BASELINE, ignore_errors=True)
        BASELINE.mkdir(parents=True)
        results = train_random(run, retraining)
        trained = [result for result in results if isinstance(result, Trained)]
        diverged = [result for result in results if isinstance(result, DivergenceError)]
        if diverged and not trained:
            raise diverged[0]
        if not results:
            write_json(BASELINE / SKIPPED, {"skipped": "baseline.architectures is 0"})
        seconds = sum(network.summary()["train_seconds"] for network in trained)
        architectures = len({folder.name.split("_")[1] for folder in BASELINE.glob("random_*")})
        run.write_metrics({"architectures": architectures, "diverged": len(diverged), "train_seconds": seconds})
        told = {"architectures": str(architectures), "trainings": str(len(trained))} | (
            {"diverged, left out": str(len(diverged))} if diverged else {}
        )
        if not results:
            told = {"architectures": "none (baseline.architectures is 0); evaluate takes those of a bank that applies"}
        summary("baseline: random architectures trained here", told, [BASELINE])


def train_random(run: Run, retraining: Retraining) -> list[Trained | DivergenceError]:
    """Train the random architectures like the winner and save each network that did not diverge."""
    seed, training = run.params.seed, retraining.settings.training
    space, settings = read_record(SEARCH / FILE, SpaceRecord, "search").open(), run.params.baseline
    genotypes = [random_genotype(space, generator(seed, "baseline", i)) for i in range(settings.architectures)]
    spec = retraining.spec(run.precision)
    jobs = [
        Job(f"random_{i:03d}{f'_{number}' if number else ''}", genotype, spec, derive(seed + number, "baseline", i))
        for number in range(settings.seeds)
        for i, genotype in enumerate(genotypes)
    ]
    kept, held_out = retraining.pictures()
    manifest = retraining.data.prepared.manifest
    at_a_time = retraining.at_a_time(run, len(jobs))
    provenance = run.provenance(threads=threads_of_trainings(run.params, run.device, at_a_time))
    with pieces("baseline", len(jobs), unit="network", at_a_time=at_a_time) as bar:

        def on_job(index: int, job: Job, trained: Trained | DivergenceError) -> None:
            if isinstance(trained, DivergenceError):
                bar.say(f"warning: {job.name} {trained.what}; it is left out")
                bar.end(index, {})
                return
            figures = trained.summary()
            bar.end(index, epoch_figures(figures))
            counts = network_complexity(job.genotype, trained.network.spec, manifest.height, manifest.width).as_dict()
            save_network(
                BASELINE / job.name,
                trained.network,
                job.genotype,
                seed=job.seed,
                provenance=provenance,
                metrics={**figures, **counts},
            )

        return train_many(
            jobs,
            training,
            partial(kept.training, training.batch_size, "baseline", cutout=training.cutout),
            device=run.device,
            validation=partial(held_out.evaluation, training.batch_size, training.pieces) if held_out else None,
            checkpoints=run.checkpoints,
            executor=trainer_of(run.params, run.device, at_a_time),
            hooks=ManyHooks(bar.resume, lambda index, row: bar.part(index, row["epoch"] + 1, training.epochs), on_job),
        )

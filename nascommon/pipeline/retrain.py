"""Retrain, and what transfer shares with it: one genotype, trained from scratch, counted, saved and logged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nascommon.config import Params
from nascommon.cost.complexity import network_complexity
from nascommon.cost.footprint import prepared_shape
from nascommon.data.batches import Batches
from nascommon.data.loading import Data, NamedPart
from nascommon.export.graphs import Graph
from nascommon.export.logged import example_of, packaging_of
from nascommon.export.trained import load_trained
from nascommon.pipeline.memory_limit import require_trainings
from nascommon.pipeline.paths import DISCRETIZE, METRICS, PLOTS, RETRAIN, TARGET_DATA, TRANSFER
from nascommon.pipeline.run import Run, stage_run, write_seconds
from nascommon.runtime import ranks
from nascommon.runtime.artefacts import read_json, write_json, write_table, write_text
from nascommon.runtime.progress import epoch_figures, progress, summary
from nascommon.runtime.seeding import derive
from nascommon.runtime.steps import finished
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.space.network import AUXILIARY_MAP, NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.skeleton import SKELETONS, Skeleton
from nascommon.statistics.intervals import summarise
from nascommon.training.artefact import SKIPPED, PicturesRecord, save_network
from nascommon.training.descent import TrainingHooks
from nascommon.training.loop import Trained, training_steps
from nascommon.training.settings import FromScratchSettings

GENOTYPE = DISCRETIZE / "genotype.json"
CURVES = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate", "seconds")


@dataclass(frozen=True)
class Retraining:
    """One training: the genotype, the data, and the folder of the result."""

    settings: FromScratchSettings
    data: Data
    folder: Path

    def spec(self, precision: Precision) -> NetworkSpec:
        """Return the network's size on this data."""
        manifest = self.data.prepared.manifest
        spec = self.settings.network.spec(classes=len(manifest.classes), image_channels=manifest.channels)
        return replace(spec, precision=precision)

    def pictures(self) -> tuple[NamedPart, NamedPart | None]:
        """Return what is trained on, and what is held out and watched, if anything is."""
        return self.data.named("train", self.settings.holdout)

    def at_a_time(self, run: Run, networks: int = 1) -> int:
        """Return how many of so many networks are trained at a time; ranks on GPUs share the batch of one.

        Raises:
            UserError: a step does not fit into the free memory.
        """
        key = f"{'transfer' if self.folder == TRANSFER else 'retrain'}.training.pieces"
        spec, shape, training = self.spec(run.precision), prepared_shape(self.data.prepared), self.settings.training
        if run.device.type == "cuda":
            training = training.model_copy(update={"batch_size": ranks.share().largest(training.batch_size)})
        return require_trainings(
            key, training, [spec], shape, run.params, run.device, networks, scored=self.settings.holdout > 0
        )


def retrain(params: Params) -> None:
    """Write data/retrain: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch. With retrain.skip
    nothing is trained.
    """
    if params.retrain.skip:
        skip("retrain", RETRAIN, "retrain.skip is true")
        return
    with stage_run("retrain", params) as run:
        data = run.open(TARGET_DATA)
        train_genotype(run, Retraining(run.params.retrain, data, RETRAIN), run.params.retrain.seeds)


def train_genotype(run: Run, retraining: Retraining, seeds: int = 1) -> None:
    """Train the searched genotype from scratch; write networks, curves and metrics; log them and the first model.

    Args:
        run: of the stage.
        retraining: what is trained, and where it lies in the end; further trainings lie in folders inside.
        seeds: number of trainings.
    """
    genotype = genotype_from_json(read_json(GENOTYPE), str(GENOTYPE))
    retraining.at_a_time(run)
    manifest = retraining.data.prepared.manifest
    say_auxiliary(retraining.spec(run.precision), SKELETONS[genotype.skeleton], manifest.height, manifest.width)
    data, part = retraining.pictures()[0].open()
    trained = [train_one(run, retraining, genotype, partial(data.training, part), (i, seeds)) for i in range(seeds)]
    write_trained(run, retraining, genotype, trained, len(part))


def train_one(
    run: Run, retraining: Retraining, genotype: Genotype, batches: Callable[..., Batches], which: tuple[int, int]
) -> Trained:
    """Train the genotype once; the first training is the same however many follow, and is the one that is logged.

    Args:
        run: of the stage.
        retraining: what is trained.
        genotype: the architecture.
        batches: makes training batches, as ``Data.training`` of the pictures.
        which: the training, counted from 0, and how many there are.
    """
    training, held_out, (index, seeds) = retraining.settings.training, retraining.pictures()[1], which
    number = None if index == 0 else derive(run.params.seed, run.stage, index)
    title = run.stage if seeds == 1 else f"{run.stage} {index + 1} of {seeds}"
    with progress(title, training.epochs) as bar:

        def on_epoch(row: dict[str, Any]) -> None:
            bar.step(row["epoch"], epoch_figures(row))
            if index == 0:
                run.tracker.epoch(row["epoch"], {name: row[name] for name in CURVES[1:] if name in row})

        return finished(
            training_steps(
                genotype,
                retraining.spec(run.precision),
                training,
                batches(training.batch_size, run.stage, seed=number, cutout=training.cutout),
                seed=derive(run.params.seed, run.stage) if number is None else number,
                device=run.device,
                validation=held_out.evaluation(training.batch_size, training.pieces) if held_out else None,
                checkpoint=run.checkpoints.file("state" if index == 0 else f"state_{index}"),
                hooks=TrainingHooks(bar.resume, bar.batch, on_epoch),
            )
        )


@ranks.first_only
def write_trained(run: Run, retraining: Retraining, genotype: Genotype, trained: list[Trained], images: int) -> None:
    """Write what came out and log it."""
    manifest, spec = retraining.data.prepared.manifest, trained[0].network.spec
    held_out = retraining.pictures()[1]
    counts = {
        **network_complexity(genotype, spec, manifest.height, manifest.width).as_dict(),
        **({"valid_images": len(held_out.open()[1])} if held_out else {}),
    }
    for old in retraining.folder.glob("seed_*"):
        shutil.rmtree(old)
    for index, one in enumerate(trained):
        save_network(
            retraining.folder / f"seed_{index:03d}" if index else retraining.folder,
            one.network,
            genotype,
            provenance=run.provenance(),
            pictures=PicturesRecord.of(manifest),
            metrics={**one.summary(), **counts},
        )
    metrics = {**over_seeds([one.summary() for one in trained]), **counts}
    write_table(PLOTS / f"{run.stage}.csv", pd.DataFrame(trained[0].rows, columns=list(CURVES)))
    run.write_metrics(metrics)
    run.tracker.artefact(retraining.folder / "network.json", run.stage)
    if run.tracker.active:
        log_classifier(run, retraining)
    summary(
        f"{run.stage}: {spec.cells} cells, {spec.channels} channels on {images} images of {manifest.source}",
        {
            "parameters": f"{counts['params']:,}",
            "mult-adds": f"{counts['mult_adds']:,} (paper_flops {counts['paper_flops']:,})",
            **({"trainings": f"{len(trained)}, of which these are means"} if len(trained) > 1 else {}),
            **epoch_figures(metrics),
            "speed": f"{metrics['images_per_second']:.0f} images/s, {metrics['train_seconds']:.0f} s in all",
        },
        [retraining.folder / "network.safetensors", retraining.folder / "network.json", PLOTS / f"{run.stage}.csv"],
    )


def log_classifier(run: Run, retraining: Retraining) -> None:
    """Give the first training to MLflow, as what takes pictures as they are."""
    kept = load_trained(retraining.folder, run.stage)
    run.tracker.model(Graph(kept.classifier), example_of(retraining.data), kept.name, packaging_of(kept))


def over_seeds(summaries: list[dict[str, float]]) -> dict[str, float]:
    """Return the figures of one training as they are; of several the mean, and under longer names sd and each.

    Seconds are those of all trainings together, memory is the largest.
    """
    if len(summaries) == 1:
        return summaries[0]
    figures: dict[str, float] = {"trainings": len(summaries)}
    for name in summaries[0]:
        values = [each[name] for each in summaries]
        found = summarise(values)
        figures |= {name: found.mean, f"{name}_sd": found.sd or 0.0}
        figures |= {f"{name}_{index}": value for index, value in enumerate(values)}
    total, largest = "train_seconds", "peak_memory_mib"
    return figures | {total: sum(each[total] for each in summaries), largest: max(each[largest] for each in summaries)}


@ranks.first_only
def skip(stage: str, folder: Path, why: str) -> None:
    """Leave outputs that say that nothing was trained."""
    print(f"{stage}: skipped, {why}")
    # As DVC does: what an earlier run left is none of the results.
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / SKIPPED, {"skipped": why})
    write_json(METRICS / f"{stage}.json", {"skipped": 1})
    write_seconds(stage, 0)
    write_text(PLOTS / f"{stage}.csv", ",".join(CURVES) + "\n")


def say_auxiliary(spec: NetworkSpec, skeleton: Skeleton, height: int, width: int) -> None:
    """Say when the auxiliary head meets a map that the published one is not made for."""
    stride = spec.auxiliary_stride(skeleton)
    rows, columns = height // stride, width // stride
    published = AUXILIARY_MAP[spec.stem]
    if spec.auxiliary and (rows, columns) != (published, published):
        print(
            f"auxiliary head: its map is {rows} x {columns}, not {published} x {published} as published; "
            "it is pooled adaptively to 2 x 2"
        )

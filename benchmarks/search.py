"""Time of a whole search, part by part, and how long the paper's own would take at this pace.

    python -m benchmarks.search --method darts --steps 5 --batch 8
    python -m benchmarks.search --params presets/cifar10.yaml --data data/prepared/target --epochs 1

The search is ``run_search`` itself. A part does not count what another part does inside of it. On a GPU every part
waits for the device, which costs the whole a little.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import nascommon.methods  # noqa: F401 -- fills the registry
from benchmarks.clock import REST, Clock, TimedBatches, watched
from benchmarks.images import HALF, random_part
from nascommon.config import Params, load_params
from nascommon.data.batches import evaluation_batches, training_batches
from nascommon.data.prepared import Part, open_prepared
from nascommon.data.settings import Augment
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.hardware import describe, resolve_device, resolve_precision, tune
from nascommon.runtime.revision import revision
from nascommon.search.loop import run_search
from nascommon.search.passes import SearchData, architecture_step, weight_step
from nascommon.search.settings import SearchSettings
from nascommon.search.state import new_state, supernet_spec
from nascommon.settings import UserError
from nascommon.space.supernet import SupernetSpec


@dataclass(frozen=True)
class Plan:
    """A search to be timed.

    Attributes:
        name: of the method.
        method: as it is timed, with few epochs.
        full: with the epochs of its settings, whose time is predicted.
        settings: size of the supernet, and how often the signs of collapse are measured.
        halves: pictures of the weight and of the architecture half.
        images: of either half in the search whose time is predicted.
        augment: how training pictures vary.
    """

    name: str
    method: Method
    full: Method
    settings: SearchSettings
    halves: tuple[Part, Part]
    images: int
    augment: Augment
    device: torch.device


def shortened(method: Method, epochs: int) -> Method:
    """Return the method with so many epochs in every phase, the last of them with architecture steps."""
    phases = [replace(phase, epochs=epochs, warmup=min(phase.warmup, epochs - 1)) for phase in method.phases]
    return replace(method, phases=tuple(phases), stop=None)


def run(plan: Plan, folder: Path) -> dict[str, float]:
    """Search, and return the seconds of every part."""
    method, search, manifest = plan.method, plan.settings, plan.halves[0].manifest
    space = method.searched(search.chosen_space())
    classes, channels = len(manifest.classes), manifest.channels
    precision = resolve_precision("auto", plan.device)
    base = SupernetSpec(
        search.channels, search.cells, classes, space, channels, precision=precision, affine=search.affine
    )
    clock = Clock(plan.device)
    data = search_data(plan, clock)
    warm_up(plan, base, data)
    checkpoint = Checkpoint(folder / "state.ckpt", "benchmark")
    with watched(clock):
        run_search(method, base, data, seed=0, device=plan.device, checkpoint=checkpoint, watch_every=watch_every(plan))
    return dict(clock.seconds)


def warm_up(plan: Plan, base: SupernetSpec, data: SearchData) -> None:
    """Take a step whose supernet is thrown away: the first of a process is slower than all others."""
    method = plan.method
    spec = supernet_spec(method.phases[0], base.space, base, method)
    state = new_state(method, spec, seed=0, phase=0, device=plan.device)
    train, valid = (next(iter(batches.epoch(0))) for batches in (data.weights, data.architecture))
    architecture_step(state, train, valid)
    weight_step(state, train)


def search_data(plan: Plan, clock: Clock) -> SearchData:
    """Return the batches that a search reads, each with a clock."""
    size = plan.method.batch_size
    weights, architecture = (
        TimedBatches(training_batches(part, size, plan.augment, seed=seed, device=plan.device), clock)
        for seed, part in enumerate(plan.halves)
    )
    validation = evaluation_batches(plan.halves[1], size, device=plan.device)
    return SearchData(weights, architecture, TimedBatches(validation, clock))


def watch_every(plan: Plan) -> int:
    """Return when the signs of collapse are measured: as set, but at least once in the few epochs."""
    return min(plan.settings.watch_every, plan.method.epochs)


def factors(plan: Plan) -> dict[str, float]:
    """Return by which number each part's seconds grow in the full search."""
    full, short, every = plan.full, plan.method, watch_every(plan)
    epochs = full.epochs / short.epochs
    learning = [sum(phase.epochs - phase.warmup for phase in method.phases) for method in (full, short)]
    pictures = max(plan.images // full.batch_size, 1) / max(len(plan.halves[0]) // short.batch_size, 1)
    watches = (full.epochs // plan.settings.watch_every) / (short.epochs // every) if every else 0.0
    return {
        "supernet construction": 1.0,
        "weight steps": pictures * epochs,
        "architecture steps": pictures * learning[0] / learning[1],
        "validation": pictures * epochs,
        "data": pictures * epochs,
        "watch, gap": pictures * watches,
        "watch, eigenvalue": watches,
        "history": epochs,
        "checkpoints": epochs,
        REST: pictures * epochs,
    }


def report(plan: Plan, seconds: dict[str, float]) -> dict[str, Any]:
    """Return what was measured and what it predicts."""
    total, grow = sum(seconds.values()), factors(plan)
    parts = {
        name: {"seconds": spent, "share": spent / total, "predicted_seconds": spent * grow[name]}
        for name, spent in sorted(seconds.items(), key=lambda pair: -pair[1])
    }
    return {
        "case": f"search, {plan.name}",
        "seconds": total,
        "predicted_seconds": sum(part["predicted_seconds"] for part in parts.values()),
        "parts": parts,
        "epochs": plan.method.epochs,
        "full_epochs": plan.full.epochs,
        "images": len(plan.halves[0]),
        "full_images": plan.images,
        "batch": plan.method.batch_size,
        "size": plan.settings.model_dump(mode="json", include={"channels", "cells", "nodes"}),
        "device": describe(plan.device),
        "commit": str(revision(Path(__file__).parent)),
        "torch": torch.__version__,
    }


def as_text(tree: dict[str, Any]) -> str:
    """Write a report for people."""
    lines = [f"{'part':24} {'seconds':>9} {'share':>6} {'in full':>10}"]
    for name, part in tree["parts"].items():
        lines.append(f"{name:24} {part['seconds']:9.2f} {part['share']:6.1%} {part['predicted_seconds']:9.0f} s")
    lines.append(f"{'all':24} {tree['seconds']:9.2f} {1:6.1%} {tree['predicted_seconds']:9.0f} s")
    lines.append(
        f"{tree['case']}: {tree['epochs']} epochs of {tree['images']} images, batch {tree['batch']}, {tree['device']}; "
        f"in full {tree['full_epochs']} epochs of {tree['full_images']} images"
    )
    return "\n".join(lines)


def main(
    method: Annotated[str | None, typer.Option(help="Default: search.method of --params, or darts.")] = None,
    params: Annotated[Path | None, typer.Option(help="Takes sizes and settings from a params file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Prepared folder; default random pictures like CIFAR-10.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="To run, of each phase.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="To run in an epoch; default all.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a step; default the method's.")] = None,
    channels: Annotated[int | None, typer.Option(help="Of the supernet.")] = None,
    cells: Annotated[int | None, typer.Option(min=3, help="Of the supernet.")] = None,
    device: str = "auto",
    json: Annotated[Path | None, typer.Option(help="Where to write the report.")] = None,
) -> None:
    """Time a whole search and its parts, and predict the time of the full one."""
    try:
        loaded = None if params is None else load_params(params)
        settings = SearchSettings(method="darts") if loaded is None else loaded.search
        changes = {"method": method, "channels": channels, "cells": cells}
        settings = settings.model_copy(update={name: value for name, value in changes.items() if value is not None})
        full = full_method(settings, loaded, batch)
        halves, images = pictures(data, None if steps is None else steps * full.batch_size)
        augment = Augment() if loaded is None else loaded.data.augment
        where = resolve_device(device)
        tune(where)
        plan = Plan(settings.method, shortened(full, epochs), full, settings, halves, images, augment, where)
    except UserError as error:
        raise typer.BadParameter(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        tree = report(plan, run(plan, Path(folder)))
    typer.echo(as_text(tree))
    if json is not None:
        write_json(json, tree)


def full_method(settings: SearchSettings, params: Params | None, batch: int | None) -> Method:
    """Return the selected method with its own epochs, as the params file has it or by its defaults.

    Raises:
        typer.BadParameter: the method is unknown or learns nothing.
    """
    known = [name for name in REGISTRY if name != "random"]
    if settings.method not in known:
        raise typer.BadParameter(f"--method: unknown {settings.method}; known are {', '.join(known)}")
    entry = REGISTRY[settings.method]
    chosen = entry.settings() if params is None else getattr(params.methods, settings.method)
    method = entry.recipe(chosen, SearchSize(settings.channels, settings.cells, settings.chosen_space()))
    return replace(method, batch_size=batch or method.batch_size)


def pictures(prepared: Path | None, most: int | None) -> tuple[tuple[Part, Part], int]:
    """Return the two halves, cut down to ``most`` pictures each, and how many one of them would have in full."""
    if prepared is None:
        return (random_part(most or HALF), random_part(most or HALF)), HALF
    opened = open_prepared(prepared)
    weights, architecture = opened.part("weights"), opened.part("architecture")
    count = len(weights)
    if most is not None:
        weights, architecture = (part.subset(range(min(most, len(part)))) for part in (weights, architecture))
    return (weights, architecture), count


if __name__ == "__main__":
    typer.run(main)

"""Discretize: from the mixing weights to one genotype, and what the supernet loses by it."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import torch

from nascommon.config import Params
from nascommon.data.batch import Batch
from nascommon.data.batches import Again
from nascommon.data.loading import Data
from nascommon.gaps.discretization import discretization_gap, gap_by_kept_edges
from nascommon.gaps.operation import OperationGap, count_removals, operation_gap
from nascommon.pipeline.given import given_genotype
from nascommon.pipeline.paths import DISCRETIZE, SEARCH, TARGET_DATA
from nascommon.pipeline.run import stage_run
from nascommon.report.drawing import save_drawing
from nascommon.runtime.artefacts import write_json, write_table
from nascommon.runtime.progress import points, progress, summary
from nascommon.search.artefact import load_search
from nascommon.search.choose import choose_genotype, inherited_accuracy
from nascommon.search.state import SearchState
from nascommon.space.genotype import format_cell

REMOVAL_COLUMNS = ["cell", "edge", "operation", "weight", "accuracy_drop", "loss_rise"]


def discretize(params: Params) -> None:
    """Write data/discretize: genotype.json, its drawing as SVG and PNG, and the discretization gap.

    The gap is the validation accuracy of the supernet with its mixing weights minus that with the kept operations
    alone, same network weights, before and after batch norm is recalibrated.
    """
    with stage_run("discretize", params) as run:
        settings, seed = run.params.discretize, run.params.seed
        given = given_genotype(run.params)
        started = time.perf_counter()
        search = load_search(SEARCH)
        state = search.final.load(run.params.method(), run.device)
        data = run.open(TARGET_DATA)
        calibration = data.calibration("calibration", settings.batch_size, settings.calibration_batches)
        size = settings.batch_size, run.params.search.pieces
        valid = Again(data.evaluation(data.prepared.part("architecture"), *size))
        genotype, samples = choose_genotype(
            state, lambda genotype: inherited_accuracy(state, genotype, calibration, valid), seed=seed
        )
        selection_seconds = time.perf_counter() - started
        gap = discretization_gap(state, genotype, calibration, valid).as_dict()
        operations = measured_gap(state, removal_batches(data, settings.worth_images, size), seed)
        skips = {f"skips_{kind}": cell.skips for kind, cell in genotype.items()}
        metrics = {**gap, **operations.as_dict(), **skips, "selection_seconds": selection_seconds}
        # Only what follows from the settings: a genotype that comes out the same must not make retraining run again.
        origin = {"method": run.params.search.method, "seed": seed, "search_epochs": search.final.epoch + 1}
        title = f"{run.params.search.method}, seed {seed}"
        gaps = {**metrics, "policies": gap_by_kept_edges(state, calibration, valid), "last_epoch": last_epoch(state)}
        searched = {**gaps, "samples": samples, "searched": genotype.to_json()}
        write_json(
            DISCRETIZE / "discretize.json", {**searched, "provenance": run.provenance(precision=state.spec.precision)}
        )
        if given is not None:
            genotype, origin, title = given, {"given": settings.genotype}, f"given: {settings.genotype}"
            print(f"discretize: {settings.genotype} will be retrained; the gaps are those of the search's own genotype")
        write_json(DISCRETIZE / "genotype.json", {**genotype.to_json(), "provenance": origin})
        write_table(DISCRETIZE / "worth.csv", pd.DataFrame(operations.table, columns=REMOVAL_COLUMNS))
        run.write_metrics(metrics)
        for suffix in (".svg", ".png"):
            save_drawing(genotype, DISCRETIZE / f"genotype{suffix}", title)
            run.tracker.artefact(DISCRETIZE / f"genotype{suffix}", "genotype")
        run.tracker.artefact(DISCRETIZE / "genotype.json", "genotype")
        summary(
            "genotype",
            {
                **{kind: format_cell(cell) for kind, cell in genotype.items()},
                f"gap{' of the search' if given else ''}": gap_in_words(gap, "_recalibrated"),
                "… old batch norm": gap_in_words(gap, ""),
            },
            [DISCRETIZE / "genotype.json", DISCRETIZE / "genotype.svg"],
        )


def gap_in_words(gap: dict[str, float], suffix: str) -> str:
    """Write one of the discretization gaps with its interval."""
    value, low, high = (gap[f"discretization_gap{suffix}{end}"] for end in ("", "_low", "_high"))
    return f"{points(value)} of accuracy lost (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


def measured_gap(state: SearchState, valid: list[Batch] | None, seed: int) -> OperationGap:
    """Measure the operation gap and tell how far it is: every candidate costs an evaluation of the supernet."""
    if valid is None:
        return operation_gap(state, None, seed=seed)
    with progress("discretize", 1, unit="measurement") as bar:
        gap = operation_gap(state, valid, seed=seed, on_removed=bar.batch)
        bar.step(0, {"removed in turn": f"{count_removals(state.spec.space)} candidates"})
    return gap


def removal_batches(data: Data, images: int, size: tuple[int, int]) -> list[Batch] | None:
    """Return so many images, evenly spaced over the architecture half; None for none.

    Args:
        data: prepared pictures.
        images: how many.
        size: images of a batch, and pieces that it is cut into.
    """
    part = data.prepared.part("architecture")
    if images == 0:
        return None
    rows = torch.linspace(0, len(part) - 1, min(images, len(part))).long()
    return list(data.evaluation(part.subset(rows), *size).epoch(0))


def last_epoch(state: SearchState) -> dict[str, Any] | None:
    """Return the genotype of the last epoch where the method takes that of its best induced model instead."""
    return state.genotype().to_json() if state.induced is not None else None

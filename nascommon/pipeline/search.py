"""Search: train the supernet and, on the other half of the images, the architecture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nascommon.config import Params
from nascommon.cost.footprint import prepared_shape
from nascommon.data.loading import Data, open_data
from nascommon.pipeline.given import given_genotype
from nascommon.pipeline.memory_limit import require_searches
from nascommon.pipeline.paths import PLOTS, SEARCH, TARGET_DATA
from nascommon.pipeline.rankable import refuse_unrankable
from nascommon.pipeline.run import Run, stage_run
from nascommon.report.figures import save_figure
from nascommon.report.plots import edge_names, plot_alphas
from nascommon.runtime import ranks
from nascommon.runtime.artefacts import write_json, write_table
from nascommon.runtime.checkpoint import Address, Checkpoint
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.executor import Tell
from nascommon.runtime.hardware import peak_memory_bytes, resolve_precision, tune
from nascommon.runtime.progress import epoch_figures, progress, summary
from nascommon.search.artefact import HISTORY, describe_state, save_history, save_state, save_summary
from nascommon.search.history import History
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.setup import base_spec, search_data
from nascommon.search.snapshots import Snapshots
from nascommon.space.genotype import genotype_from_json
from nascommon.space.kinds import cell_of
from nascommon.space.record import FILE, SpaceRecord
from nascommon.space.space import Space


def search(params: Params) -> None:
    """Run the method of search.method on the prepared data and write data/search.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch.
    """
    with stage_run("search", params) as run:
        method, data = run.params.method(), run.open(TARGET_DATA)
        given_genotype(run.params)  # refused now, not after the search
        refuse_unrankable(run.params, data.prepared.manifest, run.precision)
        searches_at_a_time(run.params, data)
        snapshots = Snapshots(run.checkpoints.folder / "snapshots", method.epochs, run.params.search.snapshots)
        with progress("search", method.epochs) as bar:

            def on_epoch(row: dict[str, Any]) -> None:
                bar.step(row["epoch"], epoch_figures(row))
                for warning in row.get("warnings", []):
                    bar.say(f"warning: {warning}")
                run.tracker.epoch(row["epoch"], {k: v for k, v in row.items() if isinstance(v, int | float)})

            hooks = Hooks(bar.resume, bar.batch, on_epoch, snapshots.keep)
            outcome = search_on(
                run.params, data, seed=run.params.seed, checkpoint=run.checkpoints.file("state"), hooks=hooks
            )
        write_outcome(run, outcome, snapshots)


def search_on(params: Params, data: Data, *, seed: int, checkpoint: Checkpoint, hooks: Hooks) -> Outcome:
    """Run a search as the settings say, or take up what is left of it; where nothing is, its end is read."""
    method, settings = params.method(), params.search
    precision, shape = resolve_precision(params.precision, data.device), prepared_shape(data.prepared)
    return run_search(
        method,
        base_spec(settings, method, shape.classes, shape.channels, precision),
        search_data(data, method.batch_size, seed, settings.pieces),
        seed=seed,
        device=data.device,
        checkpoint=checkpoint,
        hooks=hooks,
        watch_every=settings.watch_every,
        pieces=settings.pieces,
    )


def searches_at_a_time(params: Params, data: Data, searches: int = 1) -> int:
    """Return how many of so many searches run at a time; ranks on GPUs share the batch of one.

    Raises:
        UserError: not even the steps of one fit into the free memory.
    """
    method, precision = params.method(), resolve_precision(params.precision, data.device)
    shape = prepared_shape(data.prepared)
    base = base_spec(params.search, method, shape.classes, shape.channels, precision)
    if data.device.type == "cuda":
        method = replace(method, batch_size=ranks.share().largest(method.batch_size))
    return require_searches(method, base, shape, params, data.device, searches)


@dataclass(frozen=True)
class FurtherSearch:
    """A search like that of the stage, with another seed; small enough to be sent to another process."""

    params: Params
    folder: Path
    device: torch.device
    seed: int
    address: Address

    def run(self, tell: Tell) -> float | DivergenceError:
        """Search to the end, whose state stays in the checkpoint; tell every row, and as text what the checkpoint says.

        Returns:
            Validation accuracy of the supernet at the end, or how the search diverged.
        """
        tune(self.device)
        try:
            history = self.outcome(tell, Hooks(on_epoch=tell)).history
        except DivergenceError as diverged:
            return diverged
        return float(history.rows[-1]["valid_accuracy"])

    def outcome(self, report: Callable[[str], None], hooks: Hooks) -> Outcome:
        """Open the pictures and go on with the search; one that has ended is only read."""
        data = open_data(self.folder, self.params.seed, self.device)
        return search_on(self.params, data, seed=self.seed, checkpoint=Checkpoint(*self.address, report), hooks=hooks)


@ranks.first_only
def write_outcome(run: Run, outcome: Outcome, snapshots: Snapshots) -> None:
    """Write data/search, log what a person looks at, and say where it lies."""
    state, history = outcome.state, outcome.history
    row = history.rows[-1] if history.rows else {"epoch": -1, "phase": 0, "valid_accuracy": None}
    metrics = {
        "valid_accuracy": row["valid_accuracy"],
        "epochs": len(history.rows),
        "search_seconds": history.seconds,
        "peak_memory_mib": peak_memory_bytes(run.device) / 2**20,
    }
    space = SpaceRecord.for_baseline(run.params.search.chosen_space())
    write_json(SEARCH / FILE, space.model_dump(mode="json", by_alias=True))
    save_state(SEARCH / "final.safetensors", state)
    save_history(SEARCH, history, state.spec.space)
    kept = snapshots.move_to(SEARCH / "snapshots")
    warned = [row["warnings"] for row in history.rows if "warnings" in row]
    save_summary(
        SEARCH,
        {
            **run.provenance(),
            **metrics,
            "warnings": warned[-1] if warned else [],
            "final": describe_state("final.safetensors", state, row),
            "snapshots": kept,
        },
    )
    write_table(PLOTS / "search.csv", history.table().drop(columns=["genotype", "warnings"]))
    run.write_metrics(metrics)
    for path in draw_alphas(history, state.spec.space):
        run.tracker.artefact(path, "search")
    run.tracker.artefact(SEARCH / HISTORY, "search")
    summary(
        f"search with {run.params.search.method}: {len(history.rows)} epochs in {history.seconds:.0f} s",
        epoch_figures(metrics),
        [SEARCH / "search.json", SEARCH / "history.parquet", SEARCH / "architecture.parquet"],
    )


def draw_alphas(history: History, space: Space) -> list[Path]:
    """Draw the mixing weights of the last phase over its epochs, a panel per edge, one picture per kind of cell."""
    phase = len(history.candidates) - 1
    epochs = [tensors for row, tensors in zip(history.rows, history.architecture, strict=True) if row["phase"] == phase]
    paths: list[Path] = []
    if not epochs:
        return paths
    kept = genotype_from_json(json.loads(history.rows[-1]["genotype"]))
    for kind, names in history.candidates[phase].items():
        weights_TEO = np.stack([tensors[f"{kind}.weights_EO"].numpy() for tensors in epochs])
        edges = space.cells[kind].topology.edges
        chosen = {(one.source, state): one.operation for state, node in kept[kind].by_state for one in node}
        figure = plot_alphas(
            weights_TEO, names, edge_names(edges), f"Mixing weights of the {cell_of(kind)}",
            [chosen.get(edge) for edge in edges],
        )  # fmt: skip
        paths.append(SEARCH / f"weights_{kind}.png")
        save_figure(figure, paths[-1])
    return paths

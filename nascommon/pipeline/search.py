"""Search: train the supernet and, on the other half of the images, the architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nascommon.config import Params
from nascommon.cost.footprint import shape_of
from nascommon.data.loading import Data
from nascommon.method import Method
from nascommon.pipeline.given import given_genotype
from nascommon.pipeline.memory_limit import require_search
from nascommon.pipeline.paths import METRICS, PLOTS, SEARCH, TARGET
from nascommon.pipeline.run import Run, stage_run
from nascommon.report.figures import save_figure
from nascommon.report.plots import plot_alphas
from nascommon.runtime.artefacts import write_json, write_table
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.hardware import peak_memory_bytes
from nascommon.runtime.progress import epoch_figures, progress, summary
from nascommon.search.artefact import HISTORY, describe_state, save_history, save_state, save_summary
from nascommon.search.history import History
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.setup import base_spec, search_data
from nascommon.search.snapshots import Snapshots
from nascommon.space.discrete import FILE, DiscreteSpace
from nascommon.space.topology import Topology


def search(params: Params) -> None:
    """Run the method of search.method on the prepared data and write data/search.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch.
    """
    with stage_run("search", params) as run:
        method, data = run.params.method(), run.open(TARGET)
        given_genotype(run.params)  # refused now, not after the search
        snapshots = Snapshots(run.checkpoints.folder / "snapshots", method.epochs, run.params.search.snapshots)
        with progress("search", method.epochs) as bar:

            def on_epoch(row: dict[str, Any]) -> None:
                bar.step(row["epoch"], epoch_figures(row))
                for warning in row.get("warnings", []):
                    bar.say(f"warning: {warning}")
                run.tracker.epoch(row["epoch"], {k: v for k, v in row.items() if isinstance(v, int | float)})

            hooks = Hooks(bar.resume, bar.batch, on_epoch, snapshots.keep)
            outcome = search_on(
                run, data, method, seed=run.params.seed, checkpoint=run.checkpoints.file("state"), hooks=hooks
            )
        write_outcome(run, outcome, snapshots)


def search_on(run: Run, data: Data, method: Method, *, seed: int, checkpoint: Checkpoint, hooks: Hooks) -> Outcome:
    """Run a search as the settings say.

    Raises:
        UserError: its steps do not fit into the free memory.
    """
    base, settings = base_spec(run.params.search, data.prepared.manifest, method, run.precision), run.params.search
    require_search(method, base, shape_of(data.prepared), settings, run.device)
    return run_search(
        method,
        base,
        search_data(data, method.batch_size, seed),
        seed=seed,
        device=run.device,
        checkpoint=checkpoint,
        hooks=hooks,
        watch_every=settings.watch_every,
        pieces=settings.pieces,
    )


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
    space = DiscreteSpace.of(run.params.method().candidates, run.params.search.nodes)
    write_json(SEARCH / FILE, space.model_dump(mode="json", by_alias=True))
    save_state(SEARCH / "final.safetensors", state)
    save_history(SEARCH, history, state.spec.topology)
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
    write_json(METRICS / "search.json", metrics)
    for path in draw_alphas(history, state.spec.topology):
        run.tracker.artefact(path, "search")
    run.tracker.artefact(SEARCH / HISTORY, "search")
    run.tracker.headline({name: value for name, value in metrics.items() if value is not None})
    summary(
        f"search with {run.params.search.method}: {len(history.rows)} epochs in {history.seconds:.0f} s",
        epoch_figures(metrics),
        [SEARCH / "search.json", SEARCH / "history.parquet", SEARCH / "architecture.parquet"],
    )


def draw_alphas(history: History, topology: Topology) -> list[Path]:
    """Draw the mixing weights of the last phase over its epochs, a panel per edge, one picture per kind of cell."""
    phase = len(history.candidates) - 1
    epochs = [tensors for row, tensors in zip(history.rows, history.architecture, strict=True) if row["phase"] == phase]
    edges = [f"{edge.source} to {edge.node}" for edge in topology.edges]
    paths = []
    for kind, names in history.candidates[phase].items() if epochs else ():
        weights_TEO = np.stack([tensors[f"{kind}.weights_EO"].numpy() for tensors in epochs])
        figure = plot_alphas(weights_TEO, names, edges, f"Mixing weights of the {kind} cell")
        paths.append(SEARCH / f"weights_{kind}.png")
        save_figure(figure, paths[-1])
    return paths

"""Search: train the supernet and, on the other half of the images, the architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nascommon.cost.footprint import shape_of
from nascommon.method import Method
from nascommon.pipeline.memory_limit import require_search
from nascommon.pipeline.run import (
    METRICS,
    PLOTS,
    SEARCH,
    TARGET,
    Data,
    ParamsFile,
    Run,
    epoch_figures,
    given_genotype,
    open_data,
    stage_run,
)
from nascommon.report.figures import save_figure
from nascommon.report.plots import plot_alphas
from nascommon.runtime.artefacts import write_json, write_table
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.hardware import peak_memory_bytes
from nascommon.runtime.progress import progress, summary
from nascommon.search.artefact import HISTORY, describe_state, save_history, save_state, save_summary
from nascommon.search.history import History
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import SearchData
from nascommon.search.snapshots import Snapshots
from nascommon.space.discrete import FILE, DiscreteSpace
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import uniform_candidates
from nascommon.space.network import check_image_size
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from stages.cli import run_stage


def main(params: ParamsFile = Path("params.yaml")) -> None:
    """Run the method of search.method on the prepared data and write data/search.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch.
    """
    inputs = [TARGET / "manifest.json"]
    with stage_run("search", params, lambda p: [p.search, p.method_settings()], inputs) as run:
        method, data = run.params.method(), open_data(run, TARGET)
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


def base_spec(run: Run, data: Data, method: Method) -> SupernetSpec:
    """Return what the data and the search section say of the supernet."""
    manifest, search = data.prepared.manifest, run.params.search
    check_image_size(manifest.height, manifest.width, method.stem, "data.size")
    topology = Topology(search.nodes)
    candidates = uniform_candidates(method.candidates, topology)
    return SupernetSpec(
        search.channels,
        search.cells,
        len(manifest.classes),
        candidates,
        topology,
        manifest.channels,
        precision=run.precision,
    )


def search_on(run: Run, data: Data, method: Method, *, seed: int, checkpoint: Checkpoint, hooks: Hooks) -> Outcome:
    """Run a search as the settings say.

    Raises:
        UserError: its steps do not fit into the free memory.
    """
    base, settings = base_spec(run, data, method), run.params.search
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


def search_data(data: Data, batch_size: int, seed: int) -> SearchData:
    """Return the batches of both halves; the test set is not among them."""
    weights, architecture = data.prepared.part("weights"), data.prepared.part("architecture")
    return SearchData(
        weights=data.training(weights, batch_size, "weights", seed=seed),
        architecture=data.training(architecture, batch_size, "architecture", seed=seed),
        validation=data.evaluation(architecture, batch_size),
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
    for kind in CELL_KINDS if epochs else ():
        weights_TEO = np.stack([tensors[f"{kind}.weights_EO"].numpy() for tensors in epochs])
        figure = plot_alphas(
            weights_TEO, history.candidates[phase].cell(kind), edges, f"Mixing weights of the {kind} cell"
        )
        paths.append(SEARCH / f"weights_{kind}.png")
        save_figure(figure, paths[-1])
    return paths


if __name__ == "__main__":
    run_stage(main)

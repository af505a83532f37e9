"""Search the space of NAS-Bench-201 with methods over seeds: `python study.py OUT FOLDER METHOD:SEED ...`.

Runs the pipeline of params.yaml (a copy of presets/nasbench201-cpu.yaml) for each method and seed in a folder of its
own under FOLDER, and appends one line of JSON per run to OUT: the found cell and what the table knows of it, the
accuracy of the cell of every epoch, and tau of the supernet's scores. A run whose line is there is left out; one that
was killed goes on from its checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from nascommon.config import Params, load_params
from nascommon.pipeline.baseline import baseline
from nascommon.pipeline.discretize import discretize
from nascommon.pipeline.evaluate import evaluate
from nascommon.pipeline.inventory import write_inventory
from nascommon.pipeline.kendall_tau import kendall_tau
from nascommon.pipeline.paths import DISCRETIZE, EVALUATE, KENDALL, METRICS, SEARCH
from nascommon.pipeline.prepare import prepare
from nascommon.pipeline.retrain import retrain
from nascommon.pipeline.search import search
from nascommon.pipeline.transfer import transfer
from nascommon.search.artefact import HISTORY
from nascommon.space.genotype import genotype_from_json
from nascommon.space.nasbench201_text import to_string
from nascommon.truth.table import table_truth

PARAMS = Path("params.yaml")
STAGES = (prepare, search, discretize, retrain, transfer, kendall_tau, baseline, evaluate)
MEASURED = ("search", "discretize", "kendall_tau", "evaluate")


def main(out: Path, folder: Path, runs: list[str]) -> None:
    """Do the runs that have no line yet."""
    preset = load_params(PARAMS)
    for run in runs:
        method, seed = run.split(":")
        if (method, int(seed)) in finished(out):
            continue
        place = folder / f"{method}-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(place):
            row = one(preset.changed({"search.method": method, "seed": int(seed), "tracking": "none"}))
        with FileLock(out.with_suffix(".lock")), out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(method, seed, row["cell"], row["evaluate"].get("truth_accuracy"), flush=True)


def finished(out: Path) -> set[tuple[str, int]]:
    """Return the method and seed of every line."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return {(row["method"], row["seed"]) for row in map(json.loads, lines)}


def one(params: Params) -> dict[str, Any]:
    """Run the stages that have not run, and gather what they found."""
    started, done = time.perf_counter(), Path("done")
    write_inventory(params.file)
    for stage in STAGES:
        if stage.__name__ not in (done.read_text(encoding="utf-8").split() if done.exists() else []):
            stage(params)
            with done.open("a", encoding="utf-8") as file:
                file.write(f"{stage.__name__}\n")
    metrics = {stage: json.loads((METRICS / f"{stage}.json").read_text(encoding="utf-8")) for stage in MEASURED}
    results = json.loads((EVALUATE / "results.json").read_text(encoding="utf-8"))
    cell = genotype_from_json(json.loads((DISCRETIZE / "genotype.json").read_text(encoding="utf-8")))
    return {
        "method": params.search.method,
        "seed": params.seed,
        "cell": to_string(cell),
        "by_epoch": by_epoch(),
        "ranking": json.loads((KENDALL / "ranking.json").read_text(encoding="utf-8")),
        **metrics,
        "wall": time.perf_counter() - started,
        "birth": results["provenance"],
    }


def by_epoch() -> list[dict[str, Any]]:
    """Return the cell of every epoch with its test accuracy."""
    truth, history = table_truth(), pd.read_parquet(SEARCH / HISTORY)
    cells = [genotype_from_json(json.loads(text)) for text in history["genotype"]]
    accuracies = [known.mean for cell in cells if (known := truth.known(cell))]
    rows = zip(history["epoch"].tolist(), map(to_string, cells), accuracies, strict=True)
    return [{"epoch": epoch, "cell": cell, "accuracy": accuracy} for epoch, cell, accuracy in rows]


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), sys.argv[3:])

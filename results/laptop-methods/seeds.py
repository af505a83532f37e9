"""Search, discretize, retrain and test methods over seeds in one process: `python seeds.py OUT METHOD:SEED ...`.

Runs the pipeline on params.yaml in the current folder, without tracking, transfer, Kendall tau and random
architectures, and appends one line of JSON per run to OUT.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from nascommon.config import Params, load_params
from nascommon.pipeline.discretize import discretize
from nascommon.pipeline.inventory import write_inventory
from nascommon.pipeline.paths import DISCRETIZE, METRICS, RETRAIN, SEARCH, TARGET_DATA
from nascommon.pipeline.prepare import prepare
from nascommon.pipeline.retrain import retrain
from nascommon.pipeline.run import stage_run
from nascommon.pipeline.search import search
from nascommon.pipeline.tested import tested

PARAMS = Path("params.yaml")
STAGES = {SEARCH: search, DISCRETIZE: discretize, RETRAIN: retrain}


def main(out: Path, runs: list[str]) -> None:
    """Do the runs, seed by seed."""
    write_inventory(PARAMS)
    preset, prepared = load_params(PARAMS), None
    for run in runs:
        method, seed = run.split(":")
        params = shortened(preset, method, int(seed))
        if prepared != seed:
            prepare(params)
            prepared = seed
        row = one(params)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def shortened(preset: Params, method: str, seed: int) -> Params:
    """Return the preset for a method and seed without what takes time and no part in the result."""
    return preset.model_copy(
        update={
            "seed": seed,
            "tracking": "none",
            "search": preset.search.model_copy(update={"method": method, "watch_every": 0, "snapshots": 0}),
            "discretize": preset.discretize.model_copy(update={"worth_images": 0}),
            "transfer": preset.transfer.model_copy(update={"data": None}),
        }
    )


def one(params: Params) -> dict[str, Any]:
    """Run one search to its test accuracy."""
    started = time.perf_counter()
    for folder, stage in STAGES.items():
        shutil.rmtree(folder, ignore_errors=True)
        stage(params)
    with stage_run("retrain", params) as run:
        accuracy = tested(run, run.open(TARGET_DATA), [RETRAIN], "retrain").accuracy
        birth = run.provenance()
    metrics = {
        f"{folder.name}/{key}": value
        for folder in STAGES
        for key, value in json.loads((METRICS / f"{folder.name}.json").read_text(encoding="utf-8")).items()
    }
    wall, method = time.perf_counter() - started, params.search.method
    return {"method": method, "seed": params.seed, "test_accuracy": accuracy, "wall": wall, **metrics, "birth": birth}


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])

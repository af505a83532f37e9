"""Search, discretize, retrain and test methods over seeds in one process: `python seeds.py OUT METHOD:SEED ...`.

Runs the pipeline's own stages on the default preset in the current folder, without transfer, Kendall tau and random
architectures, and appends one line of JSON per run to OUT.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from nascommon.pipeline.run import METRICS, RETRAIN, TARGET, open_data, stage_run
from stages import discretize, evaluate, prepare, retrain, search

PARAMS = Path("params.yaml")
CHANGES = {
    r"^tracking: .*": "tracking: none",
    r"^  watch_every: \S+": "  watch_every: 0",
    r"^  snapshots: \S+": "  snapshots: 0",
    r"^  worth_images: \S+": "  worth_images: 0",
    r"^transfer:\n(  .*\n)+": "transfer: {data: null}\n",
}


def main(out: Path, runs: list[str]) -> None:
    """Do the runs, seed by seed."""
    preset = PARAMS.read_text(encoding="utf-8")
    for pattern, text in CHANGES.items():
        preset, found = re.subn(pattern, text, preset, flags=re.MULTILINE)
        assert found == 1, pattern
    prepared = None
    for run in runs:
        method, seed = run.split(":")
        text = re.sub(r"^  method: \S+", f"  method: {method}", preset, flags=re.MULTILINE)
        PARAMS.write_text(re.sub(r"^seed: \d+", f"seed: {seed}", text, flags=re.MULTILINE), encoding="utf-8")
        if prepared != seed:
            prepare.main(PARAMS)
            prepared = seed
        row = one(method, int(seed))
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def one(method: str, seed: int) -> dict[str, Any]:
    """Run one search to its test accuracy."""
    started = time.perf_counter()
    for stage in (search, discretize, retrain):
        shutil.rmtree(f"data/{stage.__name__.split('.')[1]}", ignore_errors=True)
        stage.main(PARAMS)
    with stage_run("evaluate", PARAMS, lambda p: [p.evaluate], []) as run:
        accuracy = evaluate.tested(run, open_data(run, TARGET), RETRAIN, "retrain").accuracy
        birth = run.provenance()
    metrics = {
        f"{name}/{key}": value
        for name in ("search", "discretize", "retrain")
        for key, value in json.loads((METRICS / f"{name}.json").read_text(encoding="utf-8")).items()
    }
    wall = time.perf_counter() - started
    return {"method": method, "seed": seed, "test_accuracy": accuracy, "wall": wall, **metrics, "birth": birth}


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])

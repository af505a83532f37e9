"""Rank 1,000 cells by every second snapshot of a search: `python trajectory.py OUT FOLDER COUNT METHOD:SEED ...`.

Takes up finished runs of study.py, which ranks 30 cells by each snapshot, and appends one line of JSON per run to OUT:
tau by epoch with COUNT cells, drawn uniformly and the same for every snapshot and every run of a seed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from nascommon.config import Params, load_params
from nascommon.pipeline.known_ranking import drawn, epoch_of
from nascommon.pipeline.known_scores import Scorer
from nascommon.pipeline.ranked import RankingSetup
from nascommon.pipeline.run import stage_run
from nascommon.pipeline.truths import find_truth
from nascommon.statistics.ranking import trajectory


def main(out: Path, folder: Path, count: int, runs: list[str]) -> None:
    """Do the runs that have no line yet."""
    preset = load_params(Path("params.yaml"))
    for run in runs:
        method, seed = run.split(":")
        lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
        if any((row["method"], row["seed"]) == (method, int(seed)) for row in map(json.loads, lines)):
            continue
        changes = {"search.method": method, "seed": int(seed), "tracking": "none", "kendall_tau.known_by_epoch": count}
        with contextlib.chdir(folder / f"{method}-{seed}"):
            row = {"method": method, "seed": int(seed), **one(preset.changed(changes))}
        with FileLock(out.with_suffix(".lock")), out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def one(params: Params) -> dict[str, Any]:
    """Rank cells that the table knows by every snapshot."""
    started = time.perf_counter()
    with stage_run("kendall_tau", params) as run:
        ranked = RankingSetup.open(run)
        source = find_truth(run.params, ranked.data.prepared.manifest, run.precision)
        assert not isinstance(source, str), source
        cells = drawn(source, ranked.final().open(), params.kendall_tau.known_by_epoch, params.seed)
        known_N = np.array([known.mean for cell in cells if (known := source.scores.known(cell))])
        scorer, snapshots = Scorer(ranked), ranked.snapshots()[1::2]
        scores_TN = []
        for snapshot in snapshots:
            scores_TN.append(list(scorer.scores(snapshot.open(), cells)))
            print(f"{params.search.method} {params.seed}: {snapshot.name}", flush=True)
        table = trajectory(scores_TN, known_N, epochs=[epoch_of(snapshot) for snapshot in snapshots])
        return {
            "n": len(cells),
            "trajectory": json.loads(table.to_json(orient="records")),
            "seconds": time.perf_counter() - started,
            "birth": {**run.provenance(), "command": "python results/nasbench201/trajectory.py"},
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute(), int(sys.argv[3]), sys.argv[4:])

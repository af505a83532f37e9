"""Retrain: the genotype as a stand-alone network, from scratch, on the data of the search."""

from __future__ import annotations

from pathlib import Path

from nascommon.pipeline.retrain import GENOTYPE, Task, train_genotype
from nascommon.pipeline.run import RETRAIN, TARGET, ParamsFile, open_data, stage_run
from stages.cli import run_stage


def main(params: ParamsFile = Path("params.yaml")) -> None:
    """Write data/retrain: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch.
    """
    inputs = [GENOTYPE, TARGET / "manifest.json"]
    with stage_run("retrain", params, lambda p: [p.retrain], inputs) as run:
        data = open_data(run, TARGET)
        train_genotype(run, Task(run.params.retrain, data, RETRAIN))


if __name__ == "__main__":
    run_stage(main)

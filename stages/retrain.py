"""Retrain: the genotype as a stand-alone network, from scratch, on the data of the search."""

from __future__ import annotations

from pathlib import Path

from stages.command import run_stage
from stages.shell import RETRAIN, TARGET, ParamsFile, open_data, stage_run
from stages.training import GENOTYPE, Task, train_genotype


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

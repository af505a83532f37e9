"""Transfer: the genotype as an ImageNet network, from scratch, on larger images."""

from __future__ import annotations

from pathlib import Path

from nascommon.config import load_params
from nascommon.pipeline.retrain import CURVES, GENOTYPE, Task, train_genotype
from nascommon.pipeline.run import METRICS, PLOTS, TRANSFER, TRANSFERRED, ParamsFile, open_data, stage_run
from nascommon.runtime.artefacts import write_json, write_text
from stages.cli import run_stage


def main(params: ParamsFile = Path("params.yaml")) -> None:
    """Write data/transfer: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch. With
    transfer.data null nothing is trained.
    """
    if load_params(params).transfer.data is None:
        skip()
        return
    inputs = [GENOTYPE, TRANSFER / "manifest.json"]
    with stage_run("transfer", params, lambda p: [p.transfer], inputs) as run:
        settings = run.params.transfer
        assert settings.data is not None
        data = open_data(run, TRANSFER)
        if settings.data.source != "imagenet":
            print(
                f"transfer: the ImageNet network and its training run on {settings.data.source} at "
                f"{settings.data.size} pixels, not on ImageNet; set transfer.data.source: imagenet for the real thing"
            )
        train_genotype(run, Task(settings, data, TRANSFERRED))


def skip() -> None:
    """Leave outputs that say that nothing was trained."""
    print("transfer: skipped, transfer.data is null")
    TRANSFERRED.mkdir(parents=True, exist_ok=True)
    write_json(METRICS / "transfer.json", {"skipped": 1})
    write_text(PLOTS / "transfer.csv", ",".join(CURVES) + "\n")


if __name__ == "__main__":
    run_stage(main)

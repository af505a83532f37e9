"""Transfer: the genotype as an ImageNet network, from scratch, on larger images."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.pipeline.paths import METRICS, PLOTS, TRANSFER, TRANSFER_DATA
from nascommon.pipeline.retrain import CURVES, Retraining, train_genotype
from nascommon.pipeline.run import stage_run
from nascommon.runtime.artefacts import write_json, write_text


def transfer(params: Params) -> None:
    """Write data/transfer: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch. With
    transfer.data null nothing is trained.
    """
    if params.transfer.data is None:
        skip()
        return
    with stage_run("transfer", params) as run:
        settings = run.params.transfer
        assert settings.data is not None
        data = run.open(TRANSFER_DATA)
        if settings.data.source != "imagenet":
            print(
                f"transfer: the ImageNet network and its training run on {settings.data.source} at "
                f"{settings.data.size} pixels, not on ImageNet; set transfer.data.source: imagenet for the real thing"
            )
        train_genotype(run, Retraining(settings, data, TRANSFER))


def skip() -> None:
    """Leave outputs that say that nothing was trained."""
    print("transfer: skipped, transfer.data is null")
    TRANSFER.mkdir(parents=True, exist_ok=True)
    write_json(METRICS / "transfer.json", {"skipped": 1})
    write_text(PLOTS / "transfer.csv", ",".join(CURVES) + "\n")

"""Transfer: the genotype as an ImageNet network, from scratch, on larger images."""

from __future__ import annotations

from nascommon.config import Params
from nascommon.pipeline.paths import TRANSFER, TRANSFER_DATA
from nascommon.pipeline.retrain import Retraining, skip, train_genotype
from nascommon.pipeline.run import stage_run


def transfer(params: Params) -> None:
    """Write data/transfer: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch. With
    transfer.data null nothing is trained.
    """
    if params.transfer.data is None:
        skip("transfer", TRANSFER, "transfer.data is null")
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

"""Transfer: the genotype as an ImageNet network, from scratch, on larger images."""

from __future__ import annotations

from functools import partial

from nascommon.config import load_params
from nascommon.pipeline.run import shared_settings
from nascommon.pipeline.transfer import transfer
from nascommon.runtime.launching import on_ranks
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Write data/transfer: weights, network.json, curves and metrics; the last epoch is the result.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch. With
    transfer.data null nothing is trained.
    """
    loaded = load_params(params)
    on_ranks(loaded.launch, partial(transfer, loaded), shared_settings(loaded))


if __name__ == "__main__":
    run_stage(main)

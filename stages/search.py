"""Search: train the supernet and, on the other half of the images, the architecture."""

from __future__ import annotations

from functools import partial

from nascommon.config import load_params
from nascommon.pipeline.run import shared_settings
from nascommon.pipeline.search import search
from nascommon.runtime.launching import on_ranks
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Run the method of search.method on the prepared data and write data/search.

    One line per epoch. Killed at any moment, the next run continues after the last finished epoch.
    """
    loaded = load_params(params)
    on_ranks(loaded.launch, partial(search, loaded), shared_settings(loaded))


if __name__ == "__main__":
    run_stage(main)

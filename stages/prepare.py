"""Read, check and split the images of the search and of the transfer."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.prepare import prepare
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Write data/prepared: images, manifest with counts per class and content hash, and the seeded, stratified split.

    The training images fall into the half that trains network weights and the half that trains the architecture. Test
    images lie in a folder of their own that only the stage ``evaluate`` reads.
    """
    prepare(load_params(params))


if __name__ == "__main__":
    run_stage(main)

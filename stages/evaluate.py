"""Evaluate: the test images, read for the first time, and the final table."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.evaluate import evaluate
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Test the last-epoch networks of retrain, transfer and baseline, and write data/evaluate.

    This is the only stage that reads test images. The report compares the searched network with random architectures
    of the same protocol, with a linear classifier and with published results, and adds up what it all cost.
    """
    evaluate(load_params(params))


if __name__ == "__main__":
    run_stage(main)

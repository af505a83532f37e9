"""Baseline: random architectures of the same space, retrained exactly like the winner."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.baseline import baseline
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Train baseline.architectures random architectures by the protocol of retrain and write data/baseline.

    Each is trained baseline.seeds times; evaluate tests them and adds them to baseline.bank, if one is named. They
    depend on the space of the search, not on its method, so DVC trains them once for all methods of a space.
    Killed at any moment, the next run continues after the last finished epoch.
    """
    baseline(load_params(params))


if __name__ == "__main__":
    run_stage(main)

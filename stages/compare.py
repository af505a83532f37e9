"""Compare: all runs under the settings of params.yaml beside each other, from the tracking store."""

from __future__ import annotations

from nascommon.pipeline.compare import comparison
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Print the headline figures of every tracked run, a row each, and the gaps of every method.

    Only runs whose settings differ from the file's in nothing but method and seed are compared; how many others are
    tracked is said.
    """
    print(comparison(params))


if __name__ == "__main__":
    run_stage(main)

"""Print the result that lies in data/evaluate: verdict, figures, time, and what to try next."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.closing import print_closing
from nascommon.pipeline.recording import record_pipeline
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Print what `evaluate` printed last, about ten lines, also where all of it came from DVC's cache.

    The time of a stage is that of the run that made what lies here. MLflow gets what it does not have of it.
    """
    print_closing()
    record_pipeline(load_params(params))


if __name__ == "__main__":
    run_stage(main)

"""Print the result that lies in data/evaluate: verdict, figures, time, and what to try next."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.birth import change
from nascommon.pipeline.closing import STAGES, last_lines, print_closing
from nascommon.pipeline.recording import record_pipeline
from nascommon.pipeline.result_rows import title_of
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Print what `evaluate` printed last, about ten lines, also where all of it came from DVC's cache.

    The time of a stage is that of the run that made what lies here. MLflow gets what it does not have of it, unless
    settings, code or files have changed since, which is said first.
    """
    last_lines()  # without a result nothing else matters
    settings = load_params(params)
    changed = change(settings, STAGES)
    print_closing(changed, title_of(settings))
    if not changed:
        record_pipeline(settings)


if __name__ == "__main__":
    run_stage(main)

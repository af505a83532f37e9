"""Print the gaps of every method that was run under the protocol of params.yaml, from the tracking store."""

from __future__ import annotations

from nascommon.config import load_params
from nascommon.pipeline.paths import ROOT
from nascommon.pipeline.run import protocol
from nascommon.report.gap_table import gap_table, to_markdown
from nascommon.tracking.tracker import finished_runs
from stages.cli import PARAMS, ParamsFile, run_stage


def main(params: ParamsFile = PARAMS) -> None:
    """Compare all methods, variants and seeds with equal settings otherwise; `evaluate` reports its own run alone."""
    settings = load_params(params)
    runs = finished_runs(settings.tracking, ROOT, "evaluate", protocol(settings))
    if not runs:
        print("no finished pipeline with these settings is tracked; run `dvc repro` with tracking on")
        return
    kind = settings.search.chosen_space().cells.main_kind
    print(to_markdown(gap_table([(run.method, run.settings, run.metrics) for run in runs], kind), kind))


if __name__ == "__main__":
    run_stage(main)

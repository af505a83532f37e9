"""Compare: which tracked runs may stand beside each other, and how they do."""

from __future__ import annotations

from pathlib import Path

from nascommon.config import load_params
from nascommon.pipeline.paths import ROOT
from nascommon.pipeline.run import protocol
from nascommon.report.compared import Row, compared
from nascommon.report.gap_table import gap_table, named_variants, to_markdown
from nascommon.tracking.tracker import finished_runs


def comparison(params: Path) -> str:
    """Return tables of the runs that differ from a params file in nothing but method and seed.

    Raises:
        UserError: the file is not valid.
    """
    settings = load_params(params)
    if settings.tracking == "none":
        return f"{params} says `tracking: none`, so no run is known; `dvc exp show` knows those that DVC keeps"
    tracked = finished_runs(settings.tracking, ROOT, "evaluate")
    runs = [run for run in tracked if run.protocol == protocol(settings)]
    if not runs:
        return f"no run with the settings of {params} is tracked{_others(len(tracked))}; `dvc repro` makes one"
    kind = settings.search.chosen_space().cells.main_kind
    named = named_variants([(run.method, run.settings) for run in runs])
    rows = [Row(name, run.seed, run.metrics) for name, run in zip(named, runs, strict=True)]
    gaps = gap_table([(run.method, run.settings, run.metrics) for run in runs], kind)
    return "\n".join(
        (
            f"Runs with the settings of {params}, all but method and seed the same{_others(len(tracked) - len(runs))}.",
            "`make study` runs methods over seeds, and tests whether they differ.",
            "",
            compared(rows),
            "",
            "Their gaps, by method: one run with its interval, several with mean ± standard deviation.",
            "",
            to_markdown(gaps, kind, column_per_method=True),
        )
    ).rstrip()


def _others(count: int) -> str:
    return f" ({count} with other settings {'is' if count == 1 else 'are'} not shown)" if count else ""

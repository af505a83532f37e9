"""The report of a study: a table, a page and Markdown in data/study, one run in MLflow, and last words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tabulate import tabulate

from nascommon.pipeline import experiments
from nascommon.pipeline.paths import ROOT
from nascommon.pipeline.study_facts import facts
from nascommon.pipeline.study_plan import Plan
from nascommon.report.study import ACCURACY, StudyRun, study_table
from nascommon.report.study_page import to_html, to_markdown, told
from nascommon.report.study_tables import ranked_table
from nascommon.runtime.artefacts import write_table, write_text
from nascommon.runtime.progress import percent, summary
from nascommon.settings import UserError
from nascommon.tracking.tracker import track_study

FOLDER: Final = Path("data/study")
KEPT: Final = FOLDER / "runs"


def report(plan: Plan, failed: Sequence[str]) -> None:
    """Write the table as Markdown, CSV and a page, log it, and say where it lies.

    Raises:
        UserError: no run has finished.
    """
    done = plan.done()
    runs = [
        StudyRun(cell.method, cell.seed, experiments.results_at(rev, KEPT), rev, experiments.ended_at(rev))
        for cell, rev in sorted(done.items())
    ]
    if not runs:
        raise UserError(f"no run of the study has finished: {'; '.join(failed) or 'see `dvc queue status`'}")
    missing = [str(cell) for cell in plan.cells if cell not in done]
    table, known = study_table(runs), facts(plan.methods, plan.seeds, len(plan.cells), runs)
    files = {name: FOLDER / name for name in ("report.md", "table.csv", "report.html")}
    write_text(files["report.md"], to_markdown(plan.title, runs, known, missing))
    write_text(files["report.html"], to_html(plan.title, runs, known, missing))
    write_table(files["table.csv"], table)
    accuracies = table.set_index("method")[ACCURACY].dropna() / 100
    track_study(
        plan.params.tracking, ROOT, plan.key, plan.title,
        {f"accuracy/{method}": value for method, value in accuracies.items()}, list(files.values()),
    )  # fmt: skip
    ranked = ranked_table(table)
    print(f"\n{tabulate([list(row) for row in ranked.rows], list(ranked.head), disable_numparse=True)}")
    rows = {str(number): sentence for number, sentence in enumerate(told(runs, missing), 1)}
    summary(plan.title, {**rows, **known.same, "commit": known.birth["commit"]}, list(files.values()))
    if known.step is not None:  # on a line of its own, however long: to be pasted
        print(f"\ntry next: {known.step.why}\n  {known.step.command}", flush=True)


def accuracy_at(rev: str) -> str:
    """Return the test accuracy of a finished run, as a person reads it."""
    metrics = experiments.results_at(rev, KEPT)["metrics"]
    known = [metrics.get(name) for name in ("test_accuracy", "truth_accuracy")]
    return next((percent(value) for value in known if value is not None), "not retrained")

"""A study: methods over seeds, each a run of the whole pipeline in DVC's queue, and one ranked table of them all.

A run is known by its settings, code and pictures, never by its name or place: what has ever finished is not run again,
a seed more only adds its own runs, and runs that were killed are queued anew and go on from their checkpoints.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nascommon.config import Params
from nascommon.method import REGISTRY
from nascommon.pipeline import experiments
from nascommon.pipeline.experiments import Task
from nascommon.pipeline.inventory import GIVEN, INVENTORY, given, present
from nascommon.pipeline.paths import ROOT
from nascommon.pipeline.run import method_hash, protocol
from nascommon.pipeline.study_on_ray import run_all
from nascommon.report.study import StudyRun, findings, study_table, to_markdown, written
from nascommon.report.study_page import to_html
from nascommon.runtime.artefacts import digest, write_table, write_text
from nascommon.runtime.executor import PROCESSES
from nascommon.runtime.progress import Progress, percent, progress, summary
from nascommon.settings import UserError
from nascommon.tracking.tracker import track_study

FOLDER: Final = Path("data/study")
KEPT: Final = FOLDER / "runs"
LOOK: Final = 15.0
"""Seconds between two looks at the queue; a look is a second of CPU time."""
STARTS: Final = 5
"""Workers that may end in a row without any run having ended before the study gives up."""
STAGES: Final = 9
OPEN: Final = ("Queued", "Running")
ALL: Final = "all"
"""In the place of methods: every one there is."""


@dataclass(frozen=True, order=True)
class Cell:
    """One run of the study."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a study is of.

    Attributes:
        params: settings of all runs but for method and seed.
        cells: every method with every seed.
        pictures: MD5 of what the inventory says of pictures and a given genotype, by file.
    """

    params: Params
    cells: tuple[Cell, ...]
    pictures: Mapping[Path, str]

    @property
    def title(self) -> str:
        """What a person calls it."""
        methods, seeds = (len({getattr(cell, name) for cell in self.cells}) for name in ("method", "seed"))
        space = self.params.search.space
        where = self.params.data.source + ("" if space == "darts" else f", space {space}")
        return f"Study of {methods} method{'s' * (methods > 1)} with {seeds} seed{'s' * (seeds > 1)} on {where}"

    @property
    def key(self) -> str:
        """Hash of the settings, which seeds that are added do not change."""
        return digest(protocol(self.params))

    def cell_of(self, rev: str) -> Cell | None:
        """Return the run that a commit of DVC's is of; None where it is none of these settings and this code."""
        settings = experiments.settings_at(rev)
        if settings is None or not experiments.code_is_that_of(rev) or protocol(settings) != protocol(self.params):
            return None
        cell = Cell(settings.search.method, settings.seed)
        if cell not in self.cells or method_hash(settings) != method_hash(settings_of(self.params, cell)):
            return None
        return cell

    def done(self) -> dict[Cell, str]:
        """Return the commits of the runs that have finished with these pictures, the newest of each."""
        found: dict[Cell, str] = {}
        for rev in experiments.finished():
            cell = self.cell_of(rev)
            same = all(experiments.recorded(rev, file) == md5 for file, md5 in self.pictures.items())
            if cell is not None and same:
                found.setdefault(cell, rev)
        return found

    def tasks(self) -> dict[Task, Cell]:
        """Return the tasks of DVC's queue that are runs of this study."""
        return {task: cell for task in experiments.tasks() if (cell := self.cell_of(task.rev)) is not None}


def plan_of(params: Params, methods: Sequence[str], seeds: Sequence[int]) -> Plan:
    """Check every run before any is queued.

    Raises:
        UserError: a method is unknown, a seed is none, the settings of a method do not fit, or git lacks code.
    """
    methods = sorted(REGISTRY) if list(methods) == [ALL] else methods
    if unknown := sorted(set(methods) - REGISTRY.keys()):
        raise UserError(f"--methods: unknown: {', '.join(unknown)}; known are {', '.join(sorted(REGISTRY))}, or {ALL}")
    cells = tuple(dict.fromkeys(Cell(method, seed) for method in methods for seed in seeds))
    if not cells:
        raise UserError("--methods and --seeds: at least one of each is needed")
    for cell in cells:
        settings_of(params, cell)
    if untracked := experiments.untracked_code():
        raise UserError(f"{', '.join(untracked[:3])}: not in git, so that queued runs lack it; `git add` it")
    seen = {INVENTORY: present(params.file), GIVEN: given(params.file)}
    return Plan(params, cells, {file: hashlib.md5(text.encode()).hexdigest() for file, text in seen.items()})  # noqa: S324


def settings_of(params: Params, cell: Cell) -> Params:
    """Return the settings of a run."""
    return params.changed({"search.method": cell.method, "seed": cell.seed})


def study(params: Params, methods: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Run what has not finished, and write data/study; return the runs that failed, in words."""
    plan = plan_of(params, methods, seeds)
    if params.executor == PROCESSES:
        queue_missing(plan)
        failed = watch(plan)
    else:
        failed = run_on_ray(plan)
    report(plan, failed)
    return failed


def queue_missing(plan: Plan) -> None:
    """Queue the runs that have neither finished nor wait; those that failed or whose worker has died, once more."""
    lives, ours = experiments.worker_lives(), plan.tasks()
    done = plan.done()  # last: a run that ends meanwhile is then in both, and not in neither
    over = [task for task in ours if task.state == "Failed"] + ([] if lives else running(ours))
    forget(over, ours)
    waiting = {cell for task, cell in ours.items() if task not in over and task.state in OPEN}
    missing = [cell for cell in plan.cells if cell not in done and cell not in waiting]
    add(plan, missing)
    counts = f"{len(done)} have finished, {len(waiting)} waited, {len(missing)} were queued"
    print(f"study: {len(plan.cells)} runs: {counts}", flush=True)


def running(ours: Mapping[Task, Cell]) -> list[Task]:
    """Return the tasks that DVC calls running; without a worker these are dead."""
    return [task for task in ours if task.state == "Running"]


def forget(over: Sequence[Task], ours: Mapping[Task, Cell]) -> None:
    """Take tasks out of the queue."""
    if over:
        experiments.drop(over)
        print(f"study: again, from checkpoints where there are any: {', '.join(str(ours[task]) for task in over)}")


def add(plan: Plan, cells: Sequence[Cell]) -> None:
    """Queue runs, in grids."""
    with experiments.in_place(plan.params.file):
        for methods, seeds in grids(cells):
            experiments.add_grid(methods, seeds)


def grids(cells: Sequence[Cell]) -> list[tuple[list[str], list[int]]]:
    """Return cells as grids of methods and seeds: methods that lack the same seeds are one."""
    lacking: dict[str, list[int]] = {}
    for cell in cells:
        lacking.setdefault(cell.method, []).append(cell.seed)
    found: dict[tuple[int, ...], list[str]] = {}
    for method, seeds in lacking.items():
        found.setdefault(tuple(sorted(seeds)), []).append(method)
    return [(methods, list(seeds)) for seeds, methods in found.items()]


def watch(plan: Plan) -> list[str]:
    """Follow the queue until no run of the study waits; return those that failed, in words."""
    done, starts = plan.done(), 0
    with progress("study", len(plan.cells), unit="run") as shown:
        if done:
            shown.resume(len(done))
        while True:
            lives, ours = experiments.worker_lives(), plan.tasks()
            new = {cell: rev for cell, rev in plan.done().items() if cell not in done}
            for cell, rev in new.items():
                done[cell] = rev
                shown.step(len(done) - 1, {str(cell): accuracy_at(rev)})
            if all(cell in done for task, cell in ours.items() if task.state in OPEN):
                return failures(ours, done)
            if not lives:
                forget(dead := running(ours), ours)
                add(plan, [ours[task] for task in dead])
                starts = start(0 if new else starts)
            show_running(shown, ours)
            time.sleep(LOOK)


def run_on_ray(plan: Plan) -> list[str]:
    """Let Ray do what is missing; return the runs that failed, in words."""
    done, failed = plan.done(), list[str]()
    missing = [(cell.method, cell.seed) for cell in plan.cells if cell not in done]
    with progress("study", len(plan.cells), unit="run") as shown:
        if done:
            shown.resume(len(done))

        def on_run(pair: tuple[str, int], words: str) -> None:
            cell, found = Cell(*pair), plan.done()
            if cell not in found:
                failed.append(f"{cell}: {words or 'it left no experiment'}")
                return
            done[cell] = found[cell]
            shown.step(len(done) - 1, {str(cell): accuracy_at(found[cell])})

        run_all(plan.params, missing, {cell.seed for cell in done}, on_run)
    return failed


def failures(ours: Mapping[Task, Cell], done: Mapping[Cell, str]) -> list[str]:
    """Return the runs that failed, with their last words."""
    failed = {cell: task for task, cell in ours.items() if task.state == "Failed" and cell not in done}
    return [f"{cell}: {experiments.last_words(task.rev)}" for cell, task in failed.items()]


def start(starts: int) -> int:
    """Start a worker; return how many were started since a run has ended.

    Raises:
        UserError: workers end without a run having ended, again and again.
    """
    if starts == STARTS:
        raise UserError(f"DVC's worker ended {STARTS} times and left runs; see `dvc queue status` and `dvc queue logs`")
    experiments.start_worker()
    return starts + 1


def show_running(shown: Progress, ours: Mapping[Task, Cell]) -> None:
    """Show how far the run under way is, where somebody may look."""
    for task in running(ours) if sys.stdout.isatty() else []:
        shown.batch(experiments.stages_of(task.rev), STAGES)


def accuracy_at(rev: str) -> str:
    """Return the test accuracy of a finished run, as a person reads it."""
    metrics = experiments.results_at(rev, KEPT)["metrics"]
    known = [metrics.get(name) for name in ("test_accuracy", "truth_accuracy")]
    return next((percent(value) for value in known if value is not None), "not retrained")


def report(plan: Plan, failed: Sequence[str]) -> None:
    """Write the table as Markdown, CSV and a page, log it, and say where it lies.

    Raises:
        UserError: no run has finished.
    """
    done = plan.done()
    runs = [StudyRun(cell.method, cell.seed, experiments.results_at(done[cell], KEPT)) for cell in sorted(done)]
    if not runs:
        raise UserError(f"no run of the study has finished: {'; '.join(failed) or 'see `dvc queue status`'}")
    missing = [str(cell) for cell in plan.cells if cell not in done]
    table = study_table(runs)
    files = {name: FOLDER / name for name in ("report.md", "table.csv", "report.html")}
    write_text(files["report.md"], to_markdown(plan.title, runs, missing))
    write_text(files["report.html"], to_html(plan.title, runs, missing))
    write_table(files["table.csv"], table)
    accuracies = table.set_index("method")["accuracy %"].dropna() / 100
    track_study(
        plan.params.tracking, ROOT, plan.key, plan.title,
        {f"accuracy/{method}": value for method, value in accuracies.items()}, list(files.values()),
    )  # fmt: skip
    print(f"\n{written(table).to_string(index=False)}")
    rows = {str(number): sentence for number, sentence in enumerate(findings(runs), 1)}
    summary(plan.title, rows | ({"missing": ", ".join(missing)} if missing else {}), list(files.values()))

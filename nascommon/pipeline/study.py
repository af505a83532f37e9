"""A study: methods over seeds, each a run of the whole pipeline in DVC's queue, and one ranked table of them all.

A run is known by its settings, code and pictures, never by its name or place: what has ever finished is not run again,
a seed more only adds its own runs, and runs that were killed are queued anew and go on from their checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from nascommon.config import Params
from nascommon.pipeline import experiments
from nascommon.pipeline.copies import Ended
from nascommon.pipeline.experiments import STAGES, Task
from nascommon.pipeline.study_on_ray import run_all
from nascommon.pipeline.study_plan import Cell, Plan, plan_of
from nascommon.pipeline.study_report import accuracy_at, report
from nascommon.runtime.executor import PROCESSES
from nascommon.runtime.progress import Progress, fastest_to_slowest, progress
from nascommon.settings import UserError

LOOK: Final = 15.0
"""Seconds between two looks at the queue; a look is a second of CPU time."""
STARTS: Final = 5
"""Workers that may end in a row without any run having ended before the study gives up."""
OPEN: Final = ("Queued", "Running")


def study(params: Params, methods: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Run what has not finished, and write data/study; return the runs that failed, in words."""
    plan = plan_of(params, methods, seeds)
    print(f"study: {plan.in_words}", flush=True)
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
    counts = f"{len(done)} finished before, {len(waiting)} waiting, {len(missing)} queued now"
    print(f"study: {plan.size}: {counts}", flush=True)
    if waiting or missing:
        print("study: one runs at a time, and goes on after Ctrl-C; `dvc queue status` lists them", flush=True)
    if missing:
        print("study: what `dvc repro` has done of these already comes from DVC's cache", flush=True)


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
    with progress("study", len(plan.cells), unit="run", each=fastest_to_slowest) as shown:
        if done:
            shown.resume(len(done))
        told = Told(shown)
        if running(plan.tasks()):
            shown.tells_nothing()
        while True:
            lives, ours = experiments.worker_lives(), plan.tasks()
            new = {cell: rev for cell, rev in plan.done().items() if cell not in done}
            for cell, rev in new.items():
                done[cell] = rev
                if len(new) > 1:  # of several that ended between two looks the time of none is known
                    shown.tells_nothing()
                tell(shown, len(done), (cell, rev), cached=from_cache(cell, ours))
            told.changes(ours)
            if all(cell in done for task, cell in ours.items() if task.state in OPEN):
                return failures(ours, done)
            if not lives:
                forget(dead := running(ours), ours)
                add(plan, [ours[task] for task in dead])
                starts = start(0 if new else starts)
            told.course(ours)
            time.sleep(LOOK)


def tell(shown: Progress, number: int, ended: tuple[Cell, str], *, cached: bool) -> None:
    """Show a run that has ended, the ``number``-th; the time of one whose stages were there already gives no ETA."""
    cell, rev = ended
    if cached:
        shown.tells_nothing()
    shown.step(number - 1, {str(cell): accuracy_at(rev)}, "from DVC's cache" if cached else "")


def from_cache(cell: Cell, ours: Mapping[Task, Cell]) -> bool:
    """Return whether most stages of a run of the queue that has ended were in DVC's cache."""
    revs = [task.rev for task, of in ours.items() if of == cell and task.state != "Failed"]
    return all(experiments.mostly_cached(experiments.stages_of(rev, run_alone=True)) for rev in revs)


@dataclass
class Told:
    """What a person has been told of the queue, each thing once.

    Attributes:
        shown: where it is told.
        begun: commits of the runs that were said to be under way.
        failed: the same of those that were said to have failed.
    """

    shown: Progress
    begun: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def changes(self, ours: Mapping[Task, Cell]) -> None:
        """Say which run is under way and how to read along, and which has failed."""
        for task, cell in ours.items():
            if task.state == "Running" and task.rev not in self.begun:
                self.begun.add(task.rev)
                self.shown.say(f"study: {cell} is under way; to read along: dvc queue logs {task.rev} --follow")
            if task.state == "Failed" and task.rev not in self.failed:
                self.failed.add(task.rev)
                self.shown.say(f"study: {cell} has failed: {experiments.last_words(task.rev)}")

    def course(self, ours: Mapping[Task, Cell]) -> None:
        """Show now and then what the run under way is at."""
        for task in running(ours):
            self.shown.under_way(partial(course_of, task, ours[task]))


def course_of(task: Task, cell: Cell) -> str:
    """Return which run a task is and at which stage, in words."""
    begun = experiments.stages_of(task.rev)
    return f"{cell}, stage {len(begun)} of {STAGES}: {begun[-1]}" if begun else f"{cell}, starting"


def run_on_ray(plan: Plan) -> list[str]:
    """Let Ray do what is missing; return the runs that failed, in words."""
    done, failed = plan.done(), list[str]()
    missing = [(cell.method, cell.seed) for cell in plan.cells if cell not in done]
    print(f"study: {plan.size}: {len(done)} finished before, {len(missing)} left for Ray", flush=True)
    with progress("study", len(plan.cells), unit="run") as shown:
        if done:
            shown.resume(len(done))

        def on_run(pair: tuple[str, int], ended: Ended) -> None:
            cell, found = Cell(*pair), plan.done()
            if cell not in found:
                failed.append(f"{cell}: {ended.words or 'it left no experiment'}")
                return
            done[cell] = found[cell]
            tell(shown, len(done), (cell, found[cell]), cached=ended.cached)

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

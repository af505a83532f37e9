"""A study runs what has not run, goes on after a kill, and never takes a run of other settings for its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nascommon.config import Params, load_params
from nascommon.method import REGISTRY
from nascommon.pipeline import experiments
from nascommon.pipeline import study as module
from nascommon.pipeline.copies import Ended
from nascommon.pipeline.experiments import Task
from nascommon.pipeline.study import grids, study
from nascommon.pipeline.study_plan import Cell, plan_of
from nascommon.settings import UserError
from tests.report.results import results
from tests.stages.project import SMOKE

PARAMS = load_params(SMOKE)


@dataclass
class World:
    """DVC and git as a study sees them; every look at the queue lets a run end, if a worker is there."""

    settings: dict[str, Params] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    queue: dict[str, str] = field(default_factory=dict)
    workers: int = 0
    other_code: set[str] = field(default_factory=set)
    pictures: dict[str, str] = field(default_factory=dict)
    fails: set[Cell] = field(default_factory=set)
    grids: list[tuple[list[str], list[int]]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    dies: set[Cell] = field(default_factory=set)
    slow: set[Cell] = field(default_factory=set)
    cached: set[str] = field(default_factory=set)

    def tasks(self) -> list[Task]:
        if self.workers and (running := next((r for r, s in self.queue.items() if s in ("Queued", "Running")), None)):
            settings = self.settings[running]
            cell = Cell(settings.search.method, settings.seed)
            if cell in self.slow:
                self.slow.discard(cell)
                self.queue[running] = "Running"
                return [Task(rev, state) for rev, state in self.queue.items()]  # type: ignore[arg-type]
            self.queue[running] = "Running" if cell in self.dies else "Failed" if cell in self.fails else "Success"
            self.ended += [running] if self.queue[running] == "Success" else []
            self.workers = 0 if cell in self.dies else self.workers
            self.dies.discard(cell)
        return [Task(rev, state) for rev, state in self.queue.items()]  # type: ignore[arg-type]

    def worker_lives(self) -> bool:
        return bool(self.workers)

    def finished(self) -> list[str]:
        return self.ended[::-1]

    def add_grid(self, methods: Sequence[str], seeds: Sequence[int]) -> None:
        self.grids.append((list(methods), list(seeds)))
        for method in methods:
            for seed in seeds:
                self.add(PARAMS.changed({"search.method": method, "seed": seed}))

    def add(self, params: Params, state: str = "Queued") -> str:
        rev = f"{len(self.settings):07x}"
        self.settings[rev], self.queue[rev] = params, state
        return rev

    def start_worker(self) -> None:
        self.workers = 1

    def drop(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self.dropped.append(task.rev)
            del self.queue[task.rev]

    def settings_at(self, rev: str) -> Params | None:
        return self.settings[rev]

    def code_is_that_of(self, rev: str) -> bool:
        return rev not in self.other_code

    def recorded(self, rev: str, file: Path) -> str | None:
        return self.pictures.get(rev, PICTURES[file])

    def results_at(self, rev: str, kept: Path) -> dict[str, Any]:
        settings = self.settings[rev]
        accuracy = 0.9 + settings.seed / 100 + 0.01 * (settings.search.method == "da2s")
        return results(random=[90.0] * 40, accuracies=(accuracy,))

    def untracked_code(self) -> list[str]:
        return self.untracked

    def stages_of(self, rev: str, *, run_alone: bool = False) -> list[str]:
        if not run_alone:
            return ["inventory", "prepare", "search"]
        return ["evaluate"] if self.settings[rev].search.method in self.cached else ["a stage"] * experiments.STAGES

    def ended_at(self, rev: str) -> str:
        return "2026-11-27 09:50"

    def last_words(self, rev: str) -> str:
        return "error: the disk is full"

    @contextmanager
    def in_place(self, preset: Path | None) -> Iterator[None]:
        yield


PICTURES = plan_of(PARAMS, ["darts"], [0]).pictures


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    for name in vars(World):
        if not name.startswith("_") and hasattr(experiments, name):
            monkeypatch.setattr(experiments, name, getattr(made, name))
    monkeypatch.setattr(module, "LOOK", 0.0)
    monkeypatch.chdir(tmp_path)
    return made


def ran(world: World) -> list[str]:
    return [f"{world.settings[rev].search.method} {world.settings[rev].seed}" for rev in world.ended]


def test_a_study_runs_the_grid_and_writes_table_page_and_words(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(PARAMS, ["darts", "da2s"], [0, 1]) == []
    assert world.grids == [(["darts", "da2s"], [0, 1])]
    assert sorted(ran(world)) == ["da2s 0", "da2s 1", "darts 0", "darts 1"]
    table = pd.read_csv(tmp_path / "data/study/table.csv")
    assert list(table["method"]) == ["da2s", "darts"]
    assert list(table["seeds"]) == ["0, 1", "0, 1"]
    assert table["accuracy %"].tolist() == pytest.approx([91.5, 90.5])
    for name in ("report.md", "report.html"):
        text = (tmp_path / "data/study" / name).read_text(encoding="utf-8")
        assert "da2s has the highest mean, 91.50 %" in text
        assert "presets/smoke.yaml" in text
        assert "digits: 10 classes, 8 x 8 pixels, 1 channel" in text
        assert "160; the search takes 80 for the weights and 80 for the architecture" in text
        assert "space darts, 3 cells, 2 channels, 2 nodes, 3 epochs" in text
        assert "3 cells, 4 channels, 3 epochs of 144 pictures in batches of 40; once in every run" in text
        assert "09:50" in text
    said = capsys.readouterr().out
    assert said.startswith("study: darts, da2s with seeds 0, 1, settings of ")
    assert "study: 4 runs: 0 finished before, 0 waiting, 4 queued now" in said
    assert "study: what `dvc repro` has done of these already comes from DVC's cache" in said
    step = next(number for number, line in enumerate(said.splitlines()) if line.startswith("try next: "))
    assert said.splitlines()[step + 1].startswith(
        '  make study METHODS="darts da2s random" SEEDS="0 1 2 3 4 5 6" PRESET='
    )
    assert "3 cells, 2 channels" in said.rpartition("Study of 2 methods")[2]
    assert "study run 4/4" in said
    assert "eta" in said


def test_again_it_runs_nothing_and_a_seed_more_runs_its_own_runs_alone(world: World) -> None:
    study(PARAMS, ["darts", "da2s"], [0, 1])
    study(PARAMS, ["da2s", "darts"], [1, 0])
    assert len(world.grids) == 1
    study(PARAMS, ["darts", "da2s"], [0, 1, 2])
    assert world.grids[1:] == [(["darts", "da2s"], [2])]
    assert len(world.ended) == 6


def test_runs_of_other_settings_code_or_pictures_are_none_of_it(world: World) -> None:
    study(PARAMS, ["darts"], [0])
    world.other_code = {world.ended[-1]}
    study(PARAMS, ["darts"], [0])
    assert len(world.ended) == 2
    world.pictures[world.ended[-1]] = "other"
    study(PARAMS, ["darts"], [0])
    assert len(world.ended) == 3
    for key in ("retrain.training.epochs", "methods.darts.epochs"):
        world.ended.append(rev := world.add(PARAMS.changed({key: 2}), "Success"))
        assert plan_of(PARAMS, ["darts"], [0]).cell_of(rev) is None


def test_what_was_killed_is_queued_again_and_what_waits_is_not(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = world.add(PARAMS.changed({"search.method": "darts", "seed": 0}), "Running")
    world.add(PARAMS.changed({"search.method": "darts", "seed": 1}), "Queued")
    foreign = world.add(PARAMS.changed({"retrain.training.epochs": 2}), "Running")
    study(PARAMS, ["darts"], [0, 1])
    assert world.dropped == [dead]
    assert world.grids == [(["darts"], [0])]
    assert foreign in world.queue
    assert "study: again, from checkpoints where there are any: darts seed 0" in capsys.readouterr().out


def test_a_worker_that_dies_meanwhile_is_replaced_and_its_run_done_again(world: World) -> None:
    world.dies = {Cell("darts", 1)}
    assert study(PARAMS, ["darts"], [0, 1, 2]) == []
    assert sorted(ran(world)) == ["darts 0", "darts 1", "darts 2"]
    assert world.grids == [(["darts"], [0, 1, 2]), (["darts"], [1])]
    assert len(world.dropped) == 1


def test_a_run_under_way_is_followed(world: World) -> None:
    world.add(PARAMS.changed({"search.method": "darts", "seed": 0}), "Running")
    world.workers = 1
    study(PARAMS, ["darts"], [0])
    assert world.grids == []
    assert world.dropped == []


def test_a_run_under_way_is_named_with_the_command_that_shows_its_words_and_how_far_it_is(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slow = {Cell("darts", 0)}
    monkeypatch.setattr("nascommon.runtime.progress._MINUTE", 0.0)
    monkeypatch.setattr("nascommon.runtime.progress._RARER", 0.0)
    study(PARAMS, ["darts"], [0])
    (rev,) = world.ended
    lines = capsys.readouterr().out.splitlines()
    begun = f"study: darts seed 0 is under way; to read along: dvc queue logs {rev} --follow"
    assert lines.count(begun) == 1
    assert re.search(
        r"study run 1/1  darts seed 0, stage 3 of 9: search  [\d.]+s so far$", "\n".join(lines), re.MULTILINE
    )


def test_the_time_of_a_run_that_came_from_the_cache_gives_no_eta(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.cached = {"darts"}
    study(PARAMS, ["darts", "da2s"], [0, 1])
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"study run \d/4  d\w+ seed", line)]
    assert [line.endswith("%  from DVC's cache") for line in lines] == [True, True, False, False]
    assert ["eta" in line for line in lines] == [False, False, True, False]


def test_on_ray_such_a_run_gives_no_eta_either(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_all(params: Params, missing: Sequence[tuple[str, int]], _begun: Any, on_run: Any) -> None:
        for method, seed in missing:
            world.ended.append(world.add(params.changed({"search.method": method, "seed": seed}), "Success"))
            on_run((method, seed), Ended(cached=method == "darts"))

    monkeypatch.setattr(module, "run_all", run_all)
    assert study(PARAMS.changed({"executor": "ray"}), ["darts", "da2s"], [0, 1]) == []
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"study run \d/4  d\w+ seed", line)]
    assert [line.endswith("%  from DVC's cache") for line in lines] == [True, True, False, False]
    assert ["eta" in line for line in lines] == [False, False, True, False]


def test_a_run_that_fails_is_told_with_its_words_and_tried_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.fails = {Cell("da2s", 1)}
    assert study(PARAMS, ["darts", "da2s"], [0, 1]) == ["da2s seed 1: error: the disk is full"]
    assert capsys.readouterr().out.count("study: da2s seed 1 has failed: error: the disk is full\n") == 1
    assert "Not finished: da2s seed 1." in (tmp_path / "data/study/report.md").read_text(encoding="utf-8")
    world.fails = set()
    assert study(PARAMS, ["darts", "da2s"], [0, 1]) == []
    assert world.grids[-1] == (["da2s"], [1])


def test_without_any_result_it_ends_in_one_line(world: World) -> None:
    world.fails = {Cell("darts", 0)}
    with pytest.raises(UserError, match=r"no run of the study has finished: darts seed 0: error: the disk is full"):
        study(PARAMS, ["darts"], [0])


def test_a_worker_that_ends_at_once_is_started_a_few_times_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "start_worker", lambda: None)
    with pytest.raises(UserError, match="DVC's worker ended 5 times"):
        study(PARAMS, ["darts"], [0])


@pytest.mark.parametrize(
    ("methods", "seeds", "said"),
    [
        (["dart"], [0], "--methods: unknown: dart; known are betadarts"),
        ([], [0], "at least one of each"),
        (["darts"], [], "at least one of each"),
        (["darts"], [2**70], "seed"),
    ],
)
def test_mistakes_are_told_before_anything_is_queued(
    methods: list[str], seeds: list[int], said: str, world: World
) -> None:
    with pytest.raises(UserError, match=said):
        study(PARAMS, methods, seeds)
    assert world.grids == []


def test_all_is_every_method() -> None:
    assert {cell.method for cell in plan_of(PARAMS, ["all"], [0]).cells} == set(REGISTRY)


def test_code_that_git_lacks_is_named(world: World) -> None:
    world.untracked = ["nascommon/methods/mine.py"]
    with pytest.raises(UserError, match=r"nascommon/methods/mine.py: not in git"):
        study(PARAMS, ["darts"], [0])


def test_missing_cells_are_as_few_grids_as_their_seeds_allow() -> None:
    cells = [Cell("a", 0), Cell("a", 1), Cell("b", 1), Cell("c", 0), Cell("c", 1)]
    assert grids(cells) == [(["a", "c"], [0, 1]), (["b"], [1])]

"""What a study was run with is said of all its methods, and what is not retrained has no training."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.config import Params, load_params
from nascommon.pipeline.study_facts import facts, next_study, search_epochs
from nascommon.report.study import StudyRun
from tests.report.results import results
from tests.stages.project import ROOT, SMOKE

PARAMS = load_params(SMOKE)
METHODS = {name: PARAMS.changed({"search.method": name}) for name in ("darts", "random")}
RUNS = [
    StudyRun("darts", 0, results(), "f00d", "2026-11-27 09:50"),
    StudyRun("random", 0, results(), "beef", "2026-11-27 09:40"),
]


def with_epochs(count: int) -> dict[str, Params]:
    return {name: params.changed({"methods.darts.epochs": count}) for name, params in METHODS.items()}


def test_epochs_are_said_once_where_all_methods_have_as_many() -> None:
    assert search_epochs(METHODS) == "3"
    assert search_epochs(with_epochs(7)) == "darts 7, random 3"
    found = {name: (value, words) for name, value, words in facts(with_epochs(7), [0], 2, RUNS).figures}
    assert found["search"] == ("3 to 7 epochs", "3 cells, 2 channels")
    assert found["training"] == ("3 epochs", "3 cells, 4 channels")
    assert found["runs"] == ("2 of 2", "darts, random; seed 0")


def test_settings_are_those_of_all_runs_and_a_methods_own_stand_apart() -> None:
    known = facts(METHODS, [0], 2, RUNS)
    assert not [row for row in known.changed if row[0].startswith("methods.")]
    assert ("search.cells", "3", "8") in known.changed
    assert ("methods.darts.epochs", "3", "50") in known.own
    assert ("methods.random.samples", "3", "1") in known.own


def test_nothing_is_said_of_a_training_that_does_not_take_place() -> None:
    skipped = {
        name: params.changed({"retrain.skip": True, "baseline.architectures": 0}) for name, params in METHODS.items()
    }
    known = facts(skipped, [0], 2, RUNS)
    assert known.same["training"] == "none: retrain.skip is true"
    assert known.same["random architectures"] == "none trained beside it"


@pytest.mark.parametrize(
    ("methods", "seeds", "asked"),
    [
        (["darts", "random"], [0, 1], ("darts random", "0 1 2 3 4 5")),
        (["random", "darts"], [7], ("random darts", "7 0 1 2 3 4")),
        (["darts"], [0, 1, 2, 3, 4, 5], ("darts random", "0 1 2 3 4 5")),
        (["darts", "gdas", "random"], [0, 1, 2, 3, 4, 5], ("darts gdas random", "0 1 2 3 4 5 6")),
        (["random"], [0], ("da2s random", "0 1 2 3 4 5")),
        (["darts", "random"], [0, 1, 2, 3, 4, 5], None),
    ],
)
def test_what_to_try_next_is_the_fewest_runs_that_can_show_a_difference(
    methods: list[str], seeds: list[int], asked: tuple[str, str] | None
) -> None:
    step = next_study({name: PARAMS.changed({"search.method": name}) for name in methods}, seeds)
    command = None if asked is None else f'make study METHODS="{asked[0]}" SEEDS="{asked[1]}" PRESET={SMOKE}'
    assert (None if step is None else step.command) == command


def test_what_to_try_next_names_no_preset_where_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    step = next_study({"random": load_params(Path("params.yaml")).changed({"search.method": "random"})}, [0])
    assert step is not None
    assert step.command == 'make study METHODS="da2s random" SEEDS="0 1 2 3 4 5"'


def test_where_figures_come_from_is_named_with_the_command_that_makes_them_again() -> None:
    known = facts(METHODS, [0, 1], 4, RUNS)
    assert known.birth["command"] == f"python -m stages.study --methods 'darts random' --seeds '0 1' --params {SMOKE}"
    assert known.birth["hardware"] == "a computer"
    assert known.birth["runs ended"] == "2026-11-27 09:40 to 2026-11-27 09:50"

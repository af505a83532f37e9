"""Figures have short, grouped names in MLflow, and each is found again by its own."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from nascommon.tracking.names import SHOWN, original, shown
from tests.stages.project import Project

LONGEST = 24
"""Characters that the title of a small chart shows."""
STAGES = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")


def test_every_figure_of_a_run_is_grouped_and_fits_into_a_title(finished_once: Project) -> None:
    names = {name for stage in STAGES for name in finished_once.json(f"data/metrics/{stage}.json")}
    names |= set((finished_once.folder / "data/plots/search.csv").read_text().splitlines()[0].split(","))
    names -= {"epoch", "skipped"}
    assert len(names) > 60
    for name in names:
        group, _, title = shown(name).partition("/")
        assert group, name
        assert 0 < len(title) <= LONGEST, name


def test_no_two_figures_share_a_name() -> None:
    assert len(set(SHOWN.values())) == len(SHOWN)
    assert (shown("discretization_gap_low"), shown("train_accuracy_2")) == ("gap/cut low", "accuracy/train 2")
    assert (shown("sampled_tau_b_low"), shown("loss")) == ("sampled/tau_b_low", "loss")


def test_mlflow_takes_every_name() -> None:
    allowed = re.compile(r"[/\w.\- :]+")  # as its message says; one other character, and the whole batch is refused
    assert [name for name in SHOWN.values() if not allowed.fullmatch(name)] == []


@given(st.sampled_from([*SHOWN, "skips_normal", "truth_accuracy", "sampled_mean", "loss"]),
       st.sampled_from(["", "_low", "_high", "_sd", "_0", "_12"]))  # fmt: skip
def test_a_figure_is_found_again_by_its_own_name(name: str, ending: str) -> None:
    assert original(shown(name + ending)) == name + ending

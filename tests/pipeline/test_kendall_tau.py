"""Architectures are ranked by mode, and where too few are left to rank the stage says so and the pipeline goes on."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.pipeline.tiny_bank import with_bank
from tests.stages.project import Project

STILL = {"methods__darts__architecture__lr": 1e-12, "kendall_tau__source": "epochs", "kendall_tau__truth": "retrain"}
"""A search whose cells never change."""


def test_snapshots_of_one_cell_leave_a_report_that_says_so(finished: Project) -> None:
    said = finished.change(**STILL).stages("search", "kendall_tau", "evaluate")
    why = (
        "the 3 snapshots of the search hold only 1 different genotype, and a ranking needs 3; "
        "set kendall_tau.source: sampled, or more search.snapshots"
    )
    assert f"kendall_tau: skipped, {why}" in said
    assert finished.json("data/metrics/kendall_tau.json") == {"n": 1, "tau_b": None}
    assert finished.json("data/kendall_tau/ranking.json") == {"skipped": why}
    assert finished.json("data/metrics/summary.json")["tau"] is None
    for report in ("report.md", "report.html"):
        assert f"No ranking (n = 1): {why}." in (finished.folder / "data/evaluate" / report).read_text(encoding="utf-8")


@pytest.mark.parametrize("fits", [0, 2])
def test_known_architectures_that_the_supernet_does_not_hold_end_no_pipeline(
    searched: Project, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    held = iter([True] * fits)
    monkeypatch.setattr("nascommon.pipeline.known_ranking.fits", lambda *_: next(held, False))
    with_bank(searched, [(0.5 + index / 100,) * 2 for index in range(12)]).change(kendall_tau__truth="bank")
    why = f"the final supernet holds {fits} of the known architectures, and a ranking needs 3"
    assert f"kendall_tau: skipped, {why}; set kendall_tau.truth: retrain\n" in searched.stage("kendall_tau")
    assert searched.json("data/metrics/kendall_tau.json") == {"n": fits, "tau_b": None}


def test_a_ranking_of_too_few_that_did_not_diverge_is_refused(searched: Project) -> None:
    searched.change(kendall_tau__training__lr=1e6)
    result = searched.command("kendall_tau")
    assert result.status == 2
    assert "Traceback" not in result.err
    assert "architectures could be ranked and 3 are needed; lower kendall_tau.training.lr (got 1e+06)" in result.err
    assert not (searched.folder / "data/kendall_tau/ranking.json").exists()


@pytest.mark.slow
def test_multi_run_ranks_the_results_of_searches_with_other_seeds(searched: Project) -> None:
    searched.change(kendall_tau__mode="multi_run", kendall_tau__retest=False).stage("kendall_tau")
    table = pd.read_csv(searched.folder / "data/kendall_tau/architectures.csv")
    assert list(table["architecture"]) == ["seed of this run", "other seed 1", "other seed 2"]
    assert searched.json("data/kendall_tau/ranking.json")["mode"] == "multi_run"
    assert searched.json("data/metrics/kendall_tau.json")["retest_tau_b"] is None


@pytest.mark.slow
def test_trajectory_follows_tau_over_the_snapshots_into_the_report(finished: Project) -> None:
    finished.change(kendall_tau__mode="trajectory").stages("kendall_tau", "evaluate")
    rows = finished.json("data/kendall_tau/ranking.json")["trajectory"]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    report = (finished.folder / "data/evaluate/report.html").read_text(encoding="utf-8")
    assert "The same 3 architectures, ranked by each snapshot." in report


@pytest.mark.slow
@pytest.mark.parametrize("score", ["inherited_val", "supernet_val"])
def test_epochs_of_one_search_are_ranked(prepared: Project, score: str) -> None:
    prepared.change(
        methods__darts__epochs=6, search__snapshots=6, kendall_tau__source="epochs", kendall_tau__search_score=score,
        kendall_tau__retest=False,
    ).stages("search", "kendall_tau")  # fmt: skip
    table = pd.read_csv(prepared.folder / "data/kendall_tau/architectures.csv")
    assert 3 <= len(table) <= 6
    assert table["architecture"].str.fullmatch(r"epoch \d").all()
    assert table["genotype"].is_unique
    if score == "supernet_val":
        plots = pd.read_csv(prepared.folder / "data/plots/search.csv").set_index("epoch")["valid_accuracy"]
        expected = [plots[int(name.removeprefix("epoch "))] for name in table["architecture"]]
        assert list(table["search_score"]) == pytest.approx(expected)

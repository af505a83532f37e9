"""Where the search leaves too few architectures to rank, the stage says so and the pipeline goes on to its report."""

from __future__ import annotations

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

"""Where accuracies are known the search is ranked by them, and nothing is trained."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nascommon.config import load_params
from nascommon.pipeline.known_ranking import agreement, drawn
from nascommon.pipeline.known_scores import Scored, Scorer
from nascommon.pipeline.ranked import RankingSetup
from nascommon.pipeline.ranking_outputs import headline
from nascommon.pipeline.run import stage_run
from nascommon.pipeline.truths import Source, find_truth
from nascommon.report.words import retest_sentences
from nascommon.search.choose import inherited_accuracies, inherited_accuracy
from nascommon.settings import UserError
from nascommon.statistics.ranking import rank_correlation
from nascommon.statistics.variance import attainable_tau, intraclass_correlation
from tests.pipeline.tiny_bank import with_bank
from tests.search.small import equal
from tests.stages.project import Project

ACCURACIES = [(0.5 + index / 100, 0.5 + index % 7 / 50) for index in range(12)]


def test_a_bank_is_ranked_by_without_training(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nascommon.pipeline.kendall_tau.train_many", lambda *_, **__: pytest.fail("it trains"))
    with_bank(searched, ACCURACIES).change(kendall_tau__truth="bank", kendall_tau__known_by_epoch=5)
    said = searched.stage("kendall_tau")
    table = pd.read_csv(searched.folder / "data/kendall_tau/architectures.csv")
    assert sorted(table["known"]) == pytest.approx(sorted(np.mean(ACCURACIES, axis=1)))
    assert {(row.known_0, row.known_1) for row in table.itertuples()} == set(ACCURACIES)
    found = searched.json("data/kendall_tau/ranking.json")
    expected = rank_correlation(table["search_score"], table["known"], top=(1, 5, 10, 50))
    assert found["ranking"] == expected.as_dict()
    assert found["retest"] == rank_correlation(table["known_0"], table["known_1"]).as_dict()
    assert found["ceiling_tau_b"] == attainable_tau(found["retest"]["tau_b"], 2)
    correlation = intraclass_correlation(ACCURACIES)
    assert correlation is not None
    assert found["icc"]["value"] == pytest.approx(correlation.value)
    assert [(row["epoch"], row["n"]) for row in found["trajectory"]] == [(0, 5), (1, 5), (2, 5)]
    metrics = searched.json("data/metrics/kendall_tau.json")
    assert (metrics["n"], metrics["known"], metrics["known_trainings"]) == (12, 12, 2)
    assert metrics["known_repeats"] == 2
    assert metrics["icc"] == found["icc"]["value"]
    assert "trained from scratch on" in said
    assert "scored 12 of 12 architectures" in said
    assert re.findall(r"of epoch (\d)$", said, re.MULTILINE) == ["1", "2", "3"]
    assert re.search(r"by epoch +1: \S+, 2: \S+, 3: ", said)


def test_fewer_are_drawn_uniformly_and_a_trajectory_scores_all_of_them(searched: Project) -> None:
    with_bank(searched, ACCURACIES).change(
        kendall_tau__truth="bank", kendall_tau__known_architectures=6, kendall_tau__mode="trajectory"
    ).stage("kendall_tau")
    table = pd.read_csv(searched.folder / "data/kendall_tau/architectures.csv")
    assert len(set(table["genotype"])) == 6
    assert list(table["known"]) != sorted(table["known"])
    assert [row["n"] for row in searched.json("data/kendall_tau/ranking.json")["trajectory"]] == [6] * 3


@pytest.mark.parametrize(("wanted", "images"), [(None, 80), (12, 12), (1000, 80)])
def test_known_architectures_are_scored_on_so_many_images(searched: Project, wanted: int | None, images: int) -> None:
    searched.change(kendall_tau__known_images=wanted)
    with contextlib.chdir(searched.folder), stage_run("kendall_tau", load_params(Path("params.yaml"))) as run:
        labels = [batch.labels for batch in Scorer(RankingSetup.open(run)).valid]
    counts = torch.cat(labels).bincount()
    assert counts.sum() == images
    assert counts.max() - counts.min() <= 1


@pytest.mark.slow
def test_without_a_bank_that_applies_architectures_are_trained_and_the_reason_is_said(searched: Project) -> None:
    said = with_bank(searched, ACCURACIES).stage("kendall_tau")
    assert "kendall_tau: the bank knows 12 architectures, and 39 are needed, so architectures are trained now" in said
    assert searched.json("data/metrics/kendall_tau.json")["n"] == 3
    searched.change(retrain__training__epochs=4, kendall_tau__truth="bank")
    with pytest.raises(
        UserError,
        match=r"params.yaml: kendall_tau.truth: the bank own.csv does not apply: training.epochs differs "
        r"\(3 there, 4 here\); set it to auto or retrain",
    ):
        searched.stage("kendall_tau")
    searched.change(kendall_tau__truth="table")
    with pytest.raises(UserError, match=r"kendall_tau\.truth: there is no table of space darts on digits"):
        searched.stage("kendall_tau")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kendall_tau__truth": "table"},
            "kendall_tau.truth: there is no table of space darts on digits; set it to auto",
        ),
        ({"kendall_tau__truth": "bank"}, "kendall_tau.truth: the bank digits.csv does not apply: "),
        (
            {"kendall_tau__source": "epochs", "search__snapshots": 2},
            "kendall_tau.source: epochs ranks ",
        ),
        ({"kendall_tau__mode": "trajectory", "search__snapshots": 0}, "search.snapshots: must be at least 1 where "),
    ],
    ids=str,
)
def test_what_nothing_could_be_ranked_by_is_refused_before_the_search(
    prepared: Project, changes: dict[str, Any], said: str
) -> None:
    result = prepared.change(**changes).command("search")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: params.yaml: {said}")
    assert len(result.err.splitlines()) == 1


def test_a_truth_asked_for_and_a_ranking_of_other_searches_do_not_go_together(searched: Project) -> None:
    with pytest.raises(UserError, match="truth: bank knows architectures that no other search has found"):
        load_params(searched.params).changed({"kendall_tau.mode": "multi_run", "kendall_tau.truth": "bank"})


def test_many_are_scored_as_one_and_the_supernet_is_left_as_it_was(searched: Project) -> None:
    with_bank(searched, ACCURACIES).change(kendall_tau__truth="bank")
    with contextlib.chdir(searched.folder), stage_run("kendall_tau", load_params(Path("params.yaml"))) as run:
        ranked = RankingSetup.open(run)
        source = find_truth(run.params, ranked.data.prepared.manifest, run.precision)
        assert isinstance(source, Source)
        state, scorer = ranked.final().open(), Scorer(ranked)
        before = {name: tensor.clone() for name, tensor in state.supernet.state_dict().items()}
        genotypes = drawn(source, state, 4, seed=1)
        many = list(inherited_accuracies(state, genotypes, scorer.calibration, scorer.valid))
        assert many == [inherited_accuracy(state, one, scorer.calibration, scorer.valid) for one in genotypes]
        assert len(set(many)) > 1
        assert equal(dict(state.supernet.state_dict()), before)
        assert drawn(source, state, 4, seed=1) == genotypes != drawn(source, state, 4, seed=2)


def test_the_best_tenth_is_ranked_by_itself_and_single_trainings_tell_no_noise() -> None:
    known = np.arange(40) / 40
    score = np.where(known > 0.89, -known, known)
    scored = Scored([None] * 40, known, score, [(one,) for one in known])  # type: ignore[list-item]
    tree = agreement(scored, seed=0)
    assert (tree["top_tenth"]["n"], tree["top_tenth"]["tau_b"]) == (4, -1)
    assert tree["ranking"]["tau_b"] > 0.5
    assert tree["icc"] is None
    assert "retest" not in tree


def test_agreement_of_trainings_is_told_of_as_many_architectures_as_have_two() -> None:
    known = np.linspace(0.5, 0.9, 40)
    twice: list[tuple[float, ...]] = [(one, one) if index < 3 else (one,) for index, one in enumerate(known)]
    scored = Scored([None] * 40, known, known, twice)  # type: ignore[list-item]
    sizes = {"architectures": 40, "trainings": 43 / 40, "repeats": 1}
    agreement_sentence, *_ = retest_sentences(headline({"known": sizes, **agreement(scored, seed=0)}))
    assert "no interval: 3 architectures are too few" in agreement_sentence

"""The figures that stages write and print are what their labels say."""

from __future__ import annotations

import re

import pytest
import torch

from nascommon.cost.complexity import network_complexity
from nascommon.cost.footprint import Shape, prepared_shape
from nascommon.data.prepared import open_prepared
from nascommon.report.words import ranking_sentence, retest_sentences
from nascommon.statistics.variance import attainable_tau
from nascommon.training.artefact import load_network
from tests.stages.bad_projects import picture
from tests.stages.project import Project

# --- pictures that are higher than wide, or wider than high


def test_height_and_width_of_rectangular_pictures_are_counted(searched: Project) -> None:
    for number in range(40):
        picture(searched.folder / f"pictures/{('cat', 'dog')[number % 2]}/{number:02d}.png", 8, 16, number=number)
    searched.change(
        data={"source": "image_folder", "path": "pictures", "channels": 1},
        retrain__training__epochs=1,
        retrain__training__batch_size=8,
        baseline__architectures=1,
    )
    assert "its map is 2 x 4, not 8 x 8" in searched.stages("prepare", "retrain", "baseline")
    assert prepared_shape(open_prepared(searched.folder / "data/prepared/target")) == Shape(32, 1, 8, 16, 2)
    for folder in ("retrain", "baseline/random_000"):
        network, genotype, _ = load_network(searched.folder / "data" / folder, torch.device("cpu"), "retrain")
        counts = network_complexity(genotype, network.spec, 8, 16).as_dict()
        told = searched.json(f"data/{folder}/network.json")["metrics"]
        assert {name: told[name] for name in counts} == counts


# --- what the report says of the ranking


def test_the_report_gives_retest_agreement_the_ceiling_and_why_there_is_no_interval(finished_once: Project) -> None:
    written = (finished_once.folder / "data/evaluate/report.md").read_text(encoding="utf-8")
    assert "no interval: 3 architectures are too few, 5 are needed" in written
    figures = finished_once.json("data/metrics/kendall_tau.json")
    assert (figures["tau_b_low"], figures["retest_tau_b_high"], figures["depth_tau_b_low"]) == (None, None, None)
    if figures["retest_tau_b"] is None:
        assert figures["ceiling_tau_b"] is None
    else:
        assert figures["ceiling_tau_b"] == attainable_tau(figures["retest_tau_b"])
        assert f"A perfect score would reach {figures['ceiling_tau_b']:.2f}" in written


RANKED = {
    "n": 6, "tau_b": 0.2, "tau_b_low": -1.0, "tau_b_high": 1.0, "p_value": 0.0028,
    "retest_tau_b": 0.339, "retest_tau_b_low": -0.5, "retest_tau_b_high": 0.9, "ceiling_tau_b": 0.506,
}  # fmt: skip


def test_the_ranking_is_told_with_intervals_and_a_p_value_that_is_not_rounded_to_nothing() -> None:
    assert ranking_sentence(RANKED) == (
        "Search score against retraining: Kendall tau-b 0.20 (95 % interval -1.00 to 1.00), p = 0.0028, n = 6."
    )
    (agreement,) = retest_sentences(RANKED)
    assert "Kendall tau-b 0.34 (95 % interval -0.50 to 0.90). A perfect score would reach 0.51 against" in agreement
    alike = {"n": 3, "tau_b": None, "p_value": None, "retest_tau_b": None}
    words = "tau-b undefined, since one of the two is the same for all 3 architectures."
    assert ranking_sentence(alike).endswith(words)
    assert retest_sentences(alike) == []


# --- what a stage prints


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "repeated"), [("search", ["valid acc"]), ("retrain", ["train acc", "valid acc", "train loss"])]
)
def test_the_summary_of_a_stage_repeats_the_line_of_its_last_epoch(
    searched: Project, stage: str, repeated: list[str]
) -> None:
    epochs, told = searched.stage(stage).rsplit("\n\n", 1)
    last = dict(re.findall(r"(train acc|valid acc|train loss) ([\d.]+(?: %)?)", epochs.splitlines()[-1]))
    assert set(last) == {"train acc", "valid acc", "train loss"}
    assert last["valid acc"].endswith(" %")
    for name in repeated:
        assert re.search(rf"  {name} +{re.escape(last[name])}\n", told)


def test_what_is_lost_by_discretization_is_told_in_points(searched: Project) -> None:
    told = searched.stage("discretize")
    gap = 100 * searched.json("data/metrics/discretize.json")["discretization_gap"]
    assert f"{gap:+.1f} points of accuracy lost (95 % interval " in told

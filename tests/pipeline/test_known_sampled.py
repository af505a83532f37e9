"""What the final mixing weights draw is ranked by itself, and held against chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from nascommon.config import load_params
from nascommon.pipeline.known_sampled import Sampled, may_come_up
from nascommon.pipeline.known_scores import Scored
from nascommon.pipeline.truths import Source
from nascommon.report.sampled import sampled_sentences
from nascommon.runtime.seeding import generator
from nascommon.search.state import SearchState
from nascommon.space.draws import random_genotype
from nascommon.space.genotype import Genotype
from nascommon.space.nasbench201_text import from_digits
from nascommon.space.space import find_space
from nascommon.statistics.ranking import rank_correlation
from nascommon.truth.known import Known
from tests.pipeline.tiny_bank import with_bank
from tests.stages.project import Project

CELLS = find_space("nasbench201", None, None, False)
"""Cells of the benchmark, in which ``none`` wins no edge."""
NONE, *OTHERS = "000000", "111111", "222222", "333333", "444444", "123412"


class Counted:
    """A made-up truth that knows every architecture by its separable convolutions."""

    protocol = "made up"

    def __init__(self, project: Project) -> None:
        self.space = load_params(project.params).search.chosen_space()

    def known(self, genotype: Genotype) -> Known:
        names = [choice.operation for _, cell in genotype.items() for _, node in cell.by_state for choice in node]
        return Known((0.5 + 0.02 * sum(name.startswith("sep") for name in names),))

    def genotypes(self) -> Sequence[Genotype]:
        return [random_genotype(self.space, generator(0, "made up", index)) for index in range(30)]


def scored(digits: Sequence[str], known: Sequence[float], score: Sequence[float]) -> Scored:
    return Scored([from_digits(one) for one in digits], np.array(known), np.array(score), [()] * len(digits))


def unwrapped(said: str) -> str:
    return " ".join(said.split())


def ranked_by(truth: Counted, project: Project, monkeypatch: pytest.MonkeyPatch, wanted: int = 8) -> str:
    monkeypatch.setattr("nascommon.pipeline.kendall_tau.find_truth", lambda *_: Source("table", truth, None))
    project.change(kendall_tau__known_architectures=20, kendall_tau__known_by_epoch=0, kendall_tau__known_images=20)
    return project.change(kendall_tau__known_sampled=wanted).stage("kendall_tau")


def test_the_mean_is_held_against_those_that_could_come_up() -> None:
    own = Sampled(5, 5, 5, scored(OTHERS, [0.9, 0.92, 0.94, 0.93, 0.91], [1, 3, 5, 4, 2]), CELLS)
    uniform = scored([NONE, "100000", *OTHERS], [0.1, 0.1, 0.8, 0.82, 0.84, 0.83, 0.81], range(7))
    tree = own.against(uniform, seed=0)
    assert (tree["wanted"], tree["different"], tree["known"], tree["ranking"]["tau_b"]) == (5, 5, 5, 1)
    assert tree["mean"] == pytest.approx(0.92)
    assert tree["uniform"]["n"] == 5
    assert (tree["uniform"]["mean"], tree["uniform"]["difference"]) == (pytest.approx(0.82), pytest.approx(0.1))
    low, high = tree["uniform"]["interval"]
    assert 0.08 < low < 0.1 < high < 0.12
    assert "uniform" not in own.against(scored([NONE] * 9, [0.1] * 9, range(9)), seed=0)


def test_none_comes_up_only_where_it_may_win() -> None:
    assert [may_come_up(from_digits(one), CELLS) for one in ("111111", "111110", NONE)] == [True, False, False]
    assert may_come_up(from_digits(NONE), find_space("nasbench201", None, None, True))


@pytest.mark.parametrize(
    ("different", "known", "reason"),
    [
        (2, 2, "the final mixing weights are so sharp that only 2 came up"),
        (8, 1, "only 1 of the 8 that came up are known"),
    ],
)
def test_too_few_have_a_reason(different: int, known: int, reason: str) -> None:
    tree = Sampled(8, different, known, None, CELLS).against(scored(OTHERS, [0.5] * 5, range(5)), seed=0)
    assert tree == {"wanted": 8, "different": different, "known": known, "reason": reason}


def test_the_stage_ranks_what_the_weights_draw(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ranked_by(Counted(searched), searched, monkeypatch)
    table = pd.read_csv(searched.folder / "data/kendall_tau/sampled.csv")
    assert len(set(table["genotype"])) == len(table) == 8
    found = searched.json("data/kendall_tau/ranking.json")["sampled"]
    assert found["ranking"] == rank_correlation(table["search_score"], table["known"], top=(1, 5, 10, 50)).as_dict()
    assert found["mean"] == pytest.approx(table["known"].mean())
    uniform = pd.read_csv(searched.folder / "data/kendall_tau/architectures.csv")
    assert found["uniform"]["n"] == len(uniform) == 20
    assert found["uniform"]["difference"] == pytest.approx(table["known"].mean() - uniform["known"].mean())
    figures = searched.json("data/metrics/kendall_tau.json")
    assert figures["sampled_difference"] == found["uniform"]["difference"]
    (sentence,) = sampled_sentences(figures)
    assert sentence in unwrapped(said)
    again = table["known"].tolist()
    ranked_by(Counted(searched), searched, monkeypatch)
    assert pd.read_csv(searched.folder / "data/kendall_tau/sampled.csv")["known"].tolist() == again


@pytest.mark.slow
def test_a_bank_knows_hardly_any_and_0_draws_none(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_bank(searched, [(0.5 + index / 100,) for index in range(12)])
    searched.change(kendall_tau__truth="bank", kendall_tau__known_by_epoch=0, kendall_tau__known_sampled=8)
    said = searched.stage("kendall_tau")
    assert "The final mixing weights drew 8 different architectures, 0 of them known: too few to rank." in " ".join(
        said.split()
    )
    assert searched.json("data/kendall_tau/ranking.json")["sampled"] == {
        "wanted": 8, "different": 8, "known": 0, "reason": "only 0 of the 8 that came up are known",
    }  # fmt: skip
    assert not (searched.folder / "data/kendall_tau/sampled.csv").exists()
    monkeypatch.setattr(SearchState, "mixing", lambda _: pytest.fail("it draws"))
    assert "The final mixing weights" not in searched.change(kendall_tau__known_sampled=0).stage("kendall_tau")


def test_sharp_weights_are_no_error(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Counted(searched).genotypes()[0]
    monkeypatch.setattr("nascommon.gaps.architectures.sample_genotype", lambda *_: one)
    said = ranked_by(Counted(searched), searched, monkeypatch)
    assert "The final mixing weights drew one architecture (8 wanted)" in unwrapped(said)

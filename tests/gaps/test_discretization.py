"""The discretization gap compares one supernet under its soft and its kept weights."""

from __future__ import annotations

import copy

import pytest
import torch

from nascommon.data.batch import Batch
from nascommon.gaps.discretization import Difference, DiscretizationGap, discretization_gap, weighted_mixing
from nascommon.search.passes import weight_step
from nascommon.search.scores import recalibrated_scores, supernet_scores
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import one_hot
from tests.search.small import TinyBatches, double_state, equal

CALIBRATION = list(TinyBatches(12, 6, seed=7, dtype=torch.float64).epoch(0))
VALID = list(TinyBatches(60, 20, seed=8, dtype=torch.float64).epoch(0))


@pytest.fixture(scope="module")
def state() -> SearchState:
    state = double_state()
    for sweep in range(10):
        for images, labels in TinyBatches(40, 20, seed=9, dtype=torch.float64).epoch(sweep):
            weight_step(state, Batch(images, labels))
    return state


def kept(state: SearchState) -> Genotype:
    return state.genotype()


def test_each_accuracy_is_that_of_its_weights_and_statistics(state: SearchState) -> None:
    genotype = kept(state)
    hard = one_hot(genotype, state.spec.space, like=state.logits["normal"].alpha_EO)
    gap = discretization_gap(state, genotype, CALIBRATION, VALID)
    assert gap.soft == supernet_scores(state.supernet, state.mixing(), VALID)[1]
    assert gap.kept == supernet_scores(state.supernet, hard, VALID)[1]
    assert gap.soft_recalibrated == recalibrated_scores(state.supernet, state.mixing(), CALIBRATION, VALID)[1]
    assert gap.kept_recalibrated == recalibrated_scores(state.supernet, hard, CALIBRATION, VALID)[1]
    weighted = weighted_mixing(state, genotype)
    assert gap.kept_weighted == supernet_scores(state.supernet, weighted, VALID)[1]
    assert len({gap.soft, gap.kept, gap.kept_weighted}) == 3  # or the test would see nothing
    assert gap.weighted.value == pytest.approx(gap.soft - gap.kept_weighted)
    assert gap.raw.value == pytest.approx(gap.soft - gap.kept)
    assert gap.recalibrated.value == pytest.approx(gap.soft_recalibrated - gap.kept_recalibrated)
    for difference in (gap.raw, gap.weighted, gap.recalibrated):
        assert difference.low <= difference.value <= difference.high


def test_the_supernet_is_left_as_it_was(state: SearchState) -> None:
    before = copy.deepcopy(state.state_dict())
    discretization_gap(state, kept(state), CALIBRATION, VALID)
    assert equal(before, state.state_dict())


def test_a_supernet_that_is_already_discrete_has_no_recalibrated_gap(
    state: SearchState, monkeypatch: pytest.MonkeyPatch
) -> None:
    genotype = kept(state)
    discrete = copy.deepcopy(state)
    hard = one_hot(genotype, state.spec.space, like=state.logits["normal"].alpha_EO)
    monkeypatch.setattr(discrete, "draw", lambda *_use: hard)
    gap = discretization_gap(discrete, genotype, CALIBRATION, VALID)
    assert gap.raw == gap.recalibrated
    assert gap.raw.value == 0
    assert gap.raw.low == -gap.raw.high


def test_gaps_are_named() -> None:
    gap = DiscretizationGap(
        soft=0.9, kept=0.2, soft_recalibrated=0.8, kept_recalibrated=0.7,
        kept_weighted=0.5, raw=Difference(0.7, 0.6, 0.8), weighted=Difference(0.4, 0.3, 0.5),
        recalibrated=Difference(0.1, 0.0, 0.2),
    )  # fmt: skip
    assert gap.as_dict() == pytest.approx(
        {
            "soft": 0.9,
            "kept": 0.2,
            "kept_weighted": 0.5,
            "discretization_gap_weighted": 0.4,
            "discretization_gap_weighted_low": 0.3,
            "discretization_gap_weighted_high": 0.5,
            "soft_recalibrated": 0.8,
            "kept_recalibrated": 0.7,
            "discretization_gap": 0.7,
            "discretization_gap_low": 0.6,
            "discretization_gap_high": 0.8,
            "discretization_gap_recalibrated": 0.1,
            "discretization_gap_recalibrated_low": 0.0,
            "discretization_gap_recalibrated_high": 0.2,
        }
    )

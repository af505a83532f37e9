"""A search ends in one genotype: discretized, drawn, or the best of several draws."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import torch

from nascommon.data.loading import calibration_batches
from nascommon.method import SearchSize
from nascommon.methods.random import RandomSettings, random
from nascommon.parts.choices import Drawn
from nascommon.search.choose import choose_genotype, inherited_accuracy
from nascommon.search.scores import recalibrated_scores
from nascommon.search.state import InducedModel, SearchState
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.space.mixing import one_hot
from nascommon.space.topology import Topology
from tests.search.small import SOME, TinyBatches, double_state, equal, tiny_method
from tests.space.kinds import space_of


def never(_genotype: Genotype) -> float:
    raise AssertionError("no score is needed")


def sampling(samples: int) -> SearchState:
    return double_state(random(RandomSettings(samples=samples), SearchSize(4, 3, space_of(SOME, Topology(2)))))


def test_a_method_without_samples_is_discretized() -> None:
    state = double_state()
    genotype, samples = choose_genotype(state, never, seed=0)
    assert genotype == tiny_method().discretize(state.mixing(), state.spec.space)
    assert samples == []


def test_the_best_induced_model_is_the_result_where_there_is_one() -> None:
    state = double_state()
    other = choose_genotype(sampling(1), never, seed=4)[0]
    assert other != state.genotype()
    state.induced = InducedModel(0.5, other, epoch=0)
    assert choose_genotype(state, never, seed=0) == (other, [])


def test_one_sample_is_drawn_unscored_and_by_the_seed() -> None:
    drawn = [choose_genotype(sampling(1), never, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]
    assert drawn[0][1] == []


def test_of_several_samples_the_best_is_chosen_and_all_are_reported_best_first() -> None:
    scores, scored = iter([0.3, 0.9, 0.1, 0.9]), []

    def score(genotype: Genotype) -> float:
        scored.append(genotype)
        return next(scores)

    genotype, samples = choose_genotype(sampling(4), score, seed=3)
    assert len(set(scored)) == 4
    assert genotype == scored[1]  # the first of equals
    assert [sample["inherited_valid"] for sample in samples] == [0.9, 0.9, 0.3, 0.1]
    order = [scored[i] for i in (1, 3, 0, 2)]
    assert [genotype_from_json(sample["genotype"]) for sample in samples] == order


def test_more_samples_extend_fewer() -> None:
    few, many = (choose_genotype(sampling(samples), lambda _genotype: 0.5, seed=5)[1] for samples in (2, 5))
    assert [sample["genotype"] for sample in many[:2]] == [sample["genotype"] for sample in few]


def test_samples_follow_the_mixing_weights_of_a_learned_state() -> None:
    state = double_state(replace(tiny_method(), select=Drawn()))
    with torch.no_grad():
        for tensor in state.logits.tensors():
            tensor.fill_(-50)[:, SOME.index("sep_conv_3x3")] = 50
    genotype, _ = choose_genotype(state, never, seed=0)
    assert {choice.operation for node in genotype["normal"].nodes for choice in node} == {"sep_conv_3x3"}


def test_inherited_accuracy_is_that_of_the_one_hot_supernet_recalibrated() -> None:
    state = sampling(1)
    genotype, _ = choose_genotype(state, never, seed=0)
    calibration = list(TinyBatches(dtype=torch.float64).epoch(0))
    valid = list(TinyBatches(40, 10, seed=3, dtype=torch.float64).epoch(0))
    spec = state.spec
    mixing = one_hot(genotype, spec.space, like=state.logits["normal"].alpha_EO)
    expected = recalibrated_scores(state.supernet, mixing, calibration, valid)[1]
    assert inherited_accuracy(state, genotype, calibration, valid) == expected


@pytest.mark.parametrize("wanted", [1, 3, 99])
def test_calibration_batches_are_the_first_of_one_sweep_and_always_the_same(wanted: int) -> None:
    batches = TinyBatches(20, 5)
    once, again, other = (list(calibration_batches(batches, wanted, seed)) for seed in (0, 0, 1))
    assert len(once) == min(wanted, 4)
    assert equal(once, again)
    assert not equal(once, other)
    pixels = [float(image.sum()) for images, _ in once for image in images]
    assert len(set(pixels)) == len(pixels)


def test_scores_are_asked_once_per_sample() -> None:
    calls = count()
    choose_genotype(sampling(3), lambda _genotype: float(next(calls)), seed=0)
    assert next(calls) == 3

"""Is weight what an operation is worth: by removal, and by the share of candidates without parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nascommon.gaps.discretization import gap_by_kept_edges, kept_mixing, weighted_mixing
from nascommon.gaps.operation import count_removals, operation_gap, removals, without_candidate
from nascommon.parts.logits import CellLogits, Logits
from nascommon.search.scores import recalibrated_scores, supernet_scores
from nascommon.search.state import SearchState
from nascommon.space.genotype import DARTS_KINDS, genotype_from_json
from nascommon.space.operations import PARAMETER_FREE
from nascommon.statistics.intervals import bootstrap_mean, paired_difference
from tests.search.small import SOME, double_state, tiny_data
from tests.space.kinds import two

VALID = list(tiny_data(torch.float64).validation.epoch(0))


def favouring(operation: str, strength: float) -> SearchState:
    """Return a state whose every edge prefers one operation by so much."""
    state = double_state()
    alpha_EO = torch.zeros_like(state.logits["normal"].alpha_EO)
    alpha_EO[:, SOME.index(operation)] = strength
    state.logits = two(Logits, CellLogits(alpha_EO), CellLogits(alpha_EO))
    return state


def test_equal_weights_have_no_excess() -> None:
    assert operation_gap(favouring("none", 0.0), None, seed=0).excess.value == pytest.approx(0)


def test_all_weight_on_skips_is_the_largest_excess_and_on_convolutions_the_smallest() -> None:
    real = [name for name in SOME if name != "none"]
    uniform = sum(name in PARAMETER_FREE for name in real) / len(real)
    assert operation_gap(favouring("skip_connect", 50), None, seed=0).excess.value == pytest.approx(1 - uniform)
    assert operation_gap(favouring("sep_conv_3x3", 50), None, seed=0).excess.value == pytest.approx(-uniform)


def test_none_has_no_part_in_the_excess() -> None:
    assert operation_gap(favouring("none", 30), None, seed=0).excess.value == pytest.approx(0, abs=1e-9)


def test_every_candidate_but_none_is_removed_once_and_only_it() -> None:
    state = double_state()
    rows = list(removals(state, VALID))
    edges = len(state.spec.space.cells.main.topology.edges)
    assert len(rows) == 2 * edges * (len(SOME) - 1)
    assert {row["operation"] for row in rows} == set(SOME) - {"none"}
    mixing = state.mixing().detach()
    without = without_candidate(mixing, "reduction", 2, 3)
    assert torch.equal(without["normal"].weights_EO, mixing["normal"].weights_EO)
    changed = (without["reduction"].weights_EO != mixing["reduction"].weights_EO).nonzero().tolist()
    assert changed == [[2, 3]]
    assert float(without["reduction"].weights_EO[2, 3]) == 0


def test_worth_is_what_the_supernet_loses_without_the_candidate() -> None:
    state = double_state()
    mixing = state.mixing().detach()
    loss, accuracy = supernet_scores(state.supernet, mixing, VALID)
    row = next(r for r in removals(state, VALID) if (r["cell"], r["edge"], r["operation"]) == ("normal", 1, SOME[3]))
    without = without_candidate(mixing, "normal", 1, 3)
    new_loss, new_accuracy = supernet_scores(state.supernet, without, VALID)
    assert (row["accuracy_drop"], row["loss_rise"]) == (accuracy - new_accuracy, new_loss - loss)
    assert row["weight"] == pytest.approx(float(mixing["normal"].weights_EO[1, 3]))


def test_the_gap_correlates_weight_and_worth_over_all_candidates() -> None:
    gap = operation_gap(double_state(), VALID, seed=0)
    assert gap.worth is not None
    assert gap.loss_worth is not None
    assert gap.loss_worth.n == len(gap.table)
    assert {"operation_gap_excess_low", "weight_loss_worth_tau", "weight_worth_tau_high"} <= set(gap.as_dict())
    assert operation_gap(double_state(), None, seed=0).as_dict()["weight_worth_tau"] is None


def test_learned_weights_on_what_is_kept_carry_the_mass_that_entered_each_node() -> None:
    state = double_state()
    genotype = state.genotype()
    mixing, weighted, one = state.mixing().detach(), weighted_mixing(state, genotype), kept_mixing(state, genotype)
    for kind in DARTS_KINDS:
        real = torch.tensor([[name != "none" for name in row] for row in state.spec.space.candidates[kind]])
        for incoming in state.spec.space.cells.main.topology.incoming.values():
            mine = slice(incoming.start, incoming.stop)
            before = (mixing[kind].products() * real)[mine].sum()
            assert float(weighted[kind].weights_EO[mine].sum()) == pytest.approx(float(before))
        kept = one[kind].weights_EO > 0
        assert torch.equal(weighted[kind].weights_EO > 0, kept)
        assert weighted[kind].active == one[kind].active


def test_one_supernet_is_cut_to_every_target_of_the_table() -> None:
    state = double_state(nodes=4)
    rows = gap_by_kept_edges(state, VALID, VALID)
    assert [row["kept_edges"] for row in rows] == [8, 6, 5, 4, 3]
    for row in rows:
        assert sum(len(node) for node in row["genotype"]["normal"]["nodes"]) == row["kept_edges"]
        genotype = genotype_from_json(row["genotype"])
        one, weighted = kept_mixing(state, genotype), weighted_mixing(state, genotype)
        assert row["soft"] == supernet_scores(state.supernet, state.scored(), VALID)[1]
        assert row["kept"] == supernet_scores(state.supernet, one, VALID)[1]
        assert row["kept_weighted"] == supernet_scores(state.supernet, weighted, VALID)[1]
        assert row["kept_recalibrated"] == recalibrated_scores(state.supernet, one, VALID, VALID)[1]
    assert any(row["kept"] != row["kept_weighted"] for row in rows)  # or the test would see nothing
    assert gap_by_kept_edges(double_state(nodes=2), VALID, VALID) == []


def test_a_supernet_that_is_discrete_already_loses_nothing_by_any_measure_of_its_own_target() -> None:
    state = double_state(nodes=4)
    genotype = state.genotype()
    hard = kept_mixing(state, genotype)
    method = replace(
        state.method,
        relax=lambda logits, _space, _t: hard["normal"] if logits is state.logits["normal"] else hard["reduction"],
    )
    state.method = method
    assert torch.equal(weighted_mixing(state, genotype)["normal"].weights_EO, hard["normal"].weights_EO)
    assert gap_by_kept_edges(state, VALID, VALID)[0]["kept"] == gap_by_kept_edges(state, VALID, VALID)[0]["soft"]


def test_a_paired_difference_is_narrower_than_two_separate_ones_and_covers_its_mean() -> None:
    draws = torch.Generator().manual_seed(0)
    hard = torch.rand(400, generator=draws)
    first, second = (hard < 0.8).double().numpy(), (hard < 0.7).double().numpy()
    mean, low, high = paired_difference(first, second)
    assert low < mean < high
    separate = 1.96 * ((first.var() + second.var()) / 400) ** 0.5
    assert (high - low) / 2 < 0.8 * separate


@pytest.mark.parametrize(("images", "half"), [(40, 0.066), (500, 0.0055)])
def test_what_differs_on_no_image_may_still_differ_a_little(images: int, half: float) -> None:
    hits = np.arange(images, dtype=np.float64) % 2
    assert paired_difference(hits, hits) == pytest.approx((0, -half, half), rel=0.01)


@pytest.mark.parametrize("lost", [0.01, 0.1])
def test_nine_of_ten_intervals_of_a_small_difference_cover_it(lost: float) -> None:
    draw, covered = np.random.default_rng(0), 0
    for _ in range(400):
        first = (draw.random(40) < 0.7).astype(np.float64)
        second = first * (draw.random(40) >= lost / 0.7)
        _, low, high = paired_difference(first, second)
        covered += low <= lost <= high
    assert covered / 400 >= 0.9  # 0.31 at lost = 0.01 with the interval that needs a difference to have a width


def test_the_bootstrap_of_a_mean_is_seeded_and_shrinks_with_the_sample() -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(1)).tolist()
    mean, low, high = bootstrap_mean(values, seed=0)
    assert bootstrap_mean(values, seed=0) == (mean, low, high)
    _, few_low, few_high = bootstrap_mean(values[:20], seed=0)
    assert high - low < few_high - few_low
    assert mean == pytest.approx(sum(values) / 200)
    assert bootstrap_mean([0.25], seed=0) == (0.25, 0.25, 0.25)
    assert bootstrap_mean([0.25, 0.25], seed=0) == (0.25, 0.25, 0.25)


def test_every_removal_is_told() -> None:
    state, told = double_state(), list[tuple[int, int]]()
    gap = operation_gap(state, VALID, seed=0, on_removed=lambda *done: told.append(done))
    assert told == [(done, len(gap.table)) for done in range(1, len(gap.table) + 1)]
    assert count_removals(state.spec.space) == len(gap.table)

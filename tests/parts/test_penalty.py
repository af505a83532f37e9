"""Penalties are the papers' formulas, in value and in gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, SearchSize
from nascommon.parts.control import PLAIN, constant, linear, scaled
from nascommon.parts.discretizer import Keep
from nascommon.parts.logits import CellLogits, Logits
from nascommon.parts.penalty import (
    Penalty,
    beta_decay_penalty,
    discretization_penalty,
    edge_entropy,
    no_penalty,
    operation_entropy,
    zero_one_penalty,
)
from nascommon.parts.relaxation import identity, sharpened
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import SPACES
from nascommon.space.topology import Topology
from tests.oracles.rules import sinusoid
from tests.space.kinds import cell_space, two

EDGES, OPERATIONS = 14, 7
SPACE = SPACES["darts"].without_none()


def logits(seed: int = 0, scale: float = 1.0) -> Logits:
    """Draw alphas and betas in float64 that require gradients."""
    draws = torch.Generator().manual_seed(seed)

    def cell() -> CellLogits:
        alpha = scale * torch.randn(EDGES, OPERATIONS, generator=draws, dtype=torch.float64)
        beta = scale * torch.randn(EDGES, generator=draws, dtype=torch.float64)
        return CellLogits(alpha.requires_grad_(), beta.requires_grad_())

    return two(Logits, cell(), cell())


def slow_entropy(row: list[float]) -> float:
    total = sum(math.exp(x) for x in row)
    return -sum(math.exp(x) / total * math.log(math.exp(x) / total) for x in row)


def slow_edge_part(beta: list[float], kept: tuple[int, ...], weight: float) -> float:
    total, start = 0.0, 0
    for n, k in enumerate(kept, start=2):
        node = [min(b, 1.0) for b in beta[start : start + n]]
        start += n
        if k < n:
            total += slow_entropy(node) + weight * (sum(b for b in node if b > 0) - k) ** 2
    return total


def da2s_penalty(**settings: object) -> Penalty:
    entry = REGISTRY["da2s"]
    return entry.recipe(entry.settings.model_validate(settings), SearchSize(16, 8, SPACES["darts"])).penalty


# -- DA2S --


def test_the_operations_part_is_the_entropy_in_nats_summed_over_the_edges() -> None:
    cell = logits()["normal"]
    expected = sum(slow_entropy(row) for row in cell.alpha_EO.tolist())
    assert float(operation_entropy(cell, identity).detach()) == pytest.approx(expected)


def test_the_operations_part_reads_alpha_through_the_transform_of_the_relaxation() -> None:
    cell = logits()["normal"]
    expected = sum(slow_entropy(row) for row in sharpened(cell.alpha_EO).tolist())
    assert float(operation_entropy(cell, sharpened).detach()) == pytest.approx(expected)


@pytest.mark.parametrize("kept", [(2, 2, 2, 2), (1, 1, 2, 2), (1, 1, 1, 2), (1, 1, 1, 1)])
@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_the_edges_part_is_entropy_plus_squared_distance_of_the_positive_sum_from_the_target(
    kept: tuple[int, ...], weight: float
) -> None:
    cell = logits()["normal"]
    beta = cell.betas().tolist()
    assert min(beta) < 0  # every branch is taken
    assert max(beta) > 1
    expected = slow_edge_part(beta, kept, weight)
    assert float(edge_entropy(cell, SPACE.cells.main, Keep(kept), weight).detach()) == pytest.approx(expected)


def test_a_node_that_keeps_all_its_edges_has_no_part_in_the_penalty() -> None:
    cell = logits()["normal"]
    (slope,) = torch.autograd.grad(edge_entropy(cell, SPACE.cells.main, Keep((2, 2, 2, 2)), 0.2), cell.betas())
    assert torch.equal(slope[:2], torch.zeros(2, dtype=torch.float64))
    assert (slope[2:] != 0).any()


def test_an_edge_logit_above_one_gets_no_gradient() -> None:
    beta = torch.tensor([0.5] * 2 + [1.5, 0.4, 0.3] + [0.5] * 9, requires_grad=True)
    cell = CellLogits(torch.zeros(EDGES, OPERATIONS), beta)
    (slope,) = torch.autograd.grad(edge_entropy(cell, SPACE.cells.main, Keep((2, 2, 2, 2)), 0.2), beta)
    assert float(slope[2]) == 0
    assert (slope[3:5] != 0).all()


def test_the_number_of_edges_pulls_the_positive_sum_to_its_target_from_both_sides() -> None:
    for value, sign in ((0.2, -1), (0.9, 1)):
        beta = torch.full((EDGES,), value, requires_grad=True)  # equal betas: the entropy is flat
        cell = CellLogits(torch.zeros(EDGES, OPERATIONS), beta)
        (slope,) = torch.autograd.grad(edge_entropy(cell, SPACE.cells.main, Keep((2, 2, 2, 2)), 1.0), beta)
        assert (sign * slope[2:] > 0).all()


def test_the_whole_is_lambda_c_times_the_weighted_parts_of_both_cells() -> None:
    both = logits()
    penalty = discretization_penalty(
        Keep((2, 2, 2, 2)),
        lambda_c=scaled(3.0, linear),
        lambda_alpha=PLAIN["exp"],
        lambda_beta=scaled(5.0, constant),
        count_weight=0.7,
        transform=identity,
    )
    t = 0.3
    cells = (both["normal"], both["reduction"])
    alpha_part = sum(slow_entropy(row) for cell in cells for row in cell.alpha_EO.tolist())
    beta_part = sum(slow_edge_part(cell.betas().tolist(), (2, 2, 2, 2), 0.7) for cell in cells)
    expected = 3 * t * (PLAIN["exp"](t) * alpha_part + 5 * beta_part)
    assert float(penalty(both, SPACE, t).detach()) == pytest.approx(expected)


def test_the_papers_weighting_has_plain_softmaxes_and_no_factors() -> None:
    penalty = da2s_penalty(
        alpha_transform="identity",
        lambda_c={"control": "linear"},
        lambda_1={"control": "log"},
        lambda_2={"control": "const"},
        count_weight=1.0,
    )
    both = logits(3)
    cells = (both["normal"], both["reduction"])
    alpha_part = sum(slow_entropy(row) for cell in cells for row in cell.alpha_EO.tolist())
    beta_part = sum(slow_edge_part(cell.betas().tolist(), (2, 2, 2, 2), 1.0) for cell in cells)
    epoch = 20
    expected = (epoch - 1) / 49 * (math.log(epoch) / math.log(50) * alpha_part + beta_part)
    assert float(penalty(both, SPACE, (epoch - 1) / 49).detach()) == pytest.approx(expected)


def test_the_penalty_falls_as_the_logits_become_discrete() -> None:
    penalty = da2s_penalty()

    def after(sharpness: float) -> float:
        alpha = torch.zeros(EDGES, OPERATIONS)
        alpha[:, 3] = sharpness
        return float(penalty(two(Logits, *(CellLogits(alpha, torch.zeros(EDGES)) for _ in range(2))), SPACE, 1.0))

    values = [after(sharpness) for sharpness in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 5


def test_without_edge_logits_only_the_operations_count() -> None:
    cells = [CellLogits(sinusoid(EDGES, OPERATIONS, phase)) for phase in (0.0, 0.5)]
    expected = 0.1 * 1.0062954995527402 * sum(float(operation_entropy(cell, sharpened)) for cell in cells)
    assert float(da2s_penalty()(two(Logits, *cells), SPACE, 1.0)) == pytest.approx(expected)


# -- FairDARTS and Beta-DARTS --


def test_the_zero_one_loss_is_minus_ten_times_the_mean_over_all_196_entries() -> None:
    both = logits()
    entries = [x for cell in (both["normal"], both["reduction"]) for row in cell.alpha_EO.tolist() for x in row]
    assert len(entries) == 196
    expected = -10 * sum((1 / (1 + math.exp(-x)) - 0.5) ** 2 for x in entries) / 196
    assert float(zero_one_penalty(10.0)(both, SPACE, 0.5).detach()) == pytest.approx(expected)


def gradients(penalty: Penalty, both: Logits, progress: float) -> tuple[Tensor, ...]:
    return torch.autograd.grad(penalty(both, SPACE, progress), [both["normal"].alpha_EO, both["reduction"].alpha_EO])


def test_the_zero_one_loss_has_no_gradient_where_every_sigmoid_is_one_half() -> None:
    for slope in gradients(zero_one_penalty(10.0), logits(scale=0.0), 0.0):
        assert torch.equal(slope, torch.zeros_like(slope))


def test_the_zero_one_loss_pushes_every_sigmoid_away_from_one_half() -> None:
    both = logits()
    for slope, cell in zip(
        gradients(zero_one_penalty(10.0), both, 0.0), (both["normal"], both["reduction"]), strict=True
    ):
        assert torch.equal(slope.sign(), -cell.alpha_EO.detach().sign())


def test_the_beta_decay_is_the_mean_over_the_28_edges_of_logsumexp() -> None:
    both = logits()
    rows = [row for cell in (both["normal"], both["reduction"]) for row in cell.alpha_EO.tolist()]
    assert len(rows) == 28
    expected = 25 * 0.4 * sum(math.log(sum(math.exp(x) for x in row)) for row in rows) / 28
    assert float(beta_decay_penalty(scaled(25.0, linear))(both, SPACE, 0.4).detach()) == pytest.approx(expected)


def test_the_gradient_of_the_beta_decay_is_the_softmax_over_the_number_of_edges() -> None:
    both = logits()
    slopes = gradients(beta_decay_penalty(constant), both, 0.0)
    for slope, cell in zip(slopes, (both["normal"], both["reduction"]), strict=True):
        torch.testing.assert_close(slope, cell.alpha_EO.detach().softmax(-1) / 28)


def test_darts_asks_for_no_penalty() -> None:
    assert float(no_penalty(logits(), SPACE, 0.5)) == 0


def test_the_edges_part_counts_every_node_of_other_topologies() -> None:
    beta = torch.randn(len(Topology(3).edges), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cell = CellLogits(torch.zeros(len(beta), OPERATIONS), beta)
    expected = slow_edge_part(beta.tolist(), (1, 2, 2), 0.2)
    assert float(edge_entropy(cell, cell_space(CANDIDATES, Topology(3)), Keep((1, 2, 2)), 0.2)) == pytest.approx(
        expected
    )

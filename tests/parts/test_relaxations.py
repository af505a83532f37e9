"""Relaxations are the papers' formulas, held against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nascommon.parts.discretizer import Keep
from nascommon.parts.logits import CellLogits
from nascommon.parts.relaxation import (
    Relaxation,
    clipped,
    cross_edge_softmax,
    dirichlet_mean,
    raw,
    sharpened,
    sharpened_softmax_over_operations,
    sigmoid,
    softmax_over_operations,
    softmax_per_node,
    with_clipped_edge_softmax,
    with_edge_softmax,
)
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import CellSpace, EdgeCandidates
from nascommon.space.topology import Topology

Rows = list[list[float]]


def space_of(nodes: int = 4, names: tuple[str, ...] = CANDIDATES) -> CellSpace:
    topology = Topology(nodes)
    return CellSpace(topology, (names,) * len(topology.edges))


def random_logits(space: CellSpace, seed: int = 0) -> CellLogits:
    draws = torch.Generator().manual_seed(seed)
    edges, operations = len(space.candidates), len(space.candidates[0])
    alpha = torch.randn(edges, operations, generator=draws, dtype=torch.float64)
    return CellLogits(alpha, torch.randn(edges, generator=draws, dtype=torch.float64))


def assert_rows(ours: torch.Tensor, theirs: Rows) -> None:
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def slow_softmax(row: list[float]) -> list[float]:
    return [math.exp(x) / sum(math.exp(y) for y in row) for x in row]


def slow_sharpen(x: float) -> float:
    return (2 * x) ** 3 if 2 * x < -1 else 2 * x


def slow_concentration(x: float) -> float:
    return x + 1 if x > 0 else math.exp(x)


def slow_mean(row: list[float]) -> list[float]:
    parts = [slow_concentration(x) for x in row]
    return [part / sum(parts) for part in parts]


ROW_BY_ROW: list[tuple[Relaxation, Callable[[list[float]], list[float]]]] = [
    (softmax_over_operations, slow_softmax),
    (sharpened_softmax_over_operations, lambda row: slow_softmax([slow_sharpen(x) for x in row])),
    (sigmoid, lambda row: [1 / (1 + math.exp(-x)) for x in row]),
    (dirichlet_mean, slow_mean),
    (raw, lambda row: row),
]


@pytest.mark.parametrize(("relax", "slow"), ROW_BY_ROW)
def test_a_relaxation_of_single_edges_equals_plain_loops(
    relax: Relaxation, slow: Callable[[list[float]], list[float]]
) -> None:
    space = space_of()
    logits = random_logits(space)
    mixing = relax(logits, space, 0.5)
    assert_rows(mixing.weights_EO, [slow(row) for row in logits.alpha_EO.tolist()])
    assert mixing.edges_E is None
    assert mixing.active is None


def test_sharpening_doubles_and_cubes_what_is_then_below_minus_one() -> None:
    before = torch.tensor([2.0, 0.0, -0.25, -0.5, -0.75, -1.0], dtype=torch.float64)
    after = torch.tensor([4.0, 0.0, -0.5, -1.0, -3.375, -8.0], dtype=torch.float64)
    torch.testing.assert_close(sharpened(before), after)


def test_an_edge_logit_is_clipped_at_one_and_has_no_gradient_above() -> None:
    beta = torch.tensor([-3.0, 0.5, 1.5], requires_grad=True)
    assert clipped(beta).tolist() == [-3.0, 0.5, 1.0]
    (slope,) = torch.autograd.grad(clipped(beta).sum(), beta)
    assert slope.tolist() == [1.0, 1.0, 0.0]


# -- edges that compete --


def nodes_of(values: list[float], nodes: int) -> Rows:
    rows, start = [], 0
    for n in range(2, 2 + nodes):
        rows.append(values[start : start + n])
        start += n
    return rows


@pytest.mark.parametrize("nodes", [1, 2, 4, 5])
def test_pc_darts_weighs_the_edges_into_a_node_by_a_softmax_of_their_betas(nodes: int) -> None:
    space = space_of(nodes)
    logits = random_logits(space, nodes)
    mixing = with_edge_softmax(softmax_over_operations)(logits, space, 0.0)
    expected = [weight for node in nodes_of(logits.betas().tolist(), nodes) for weight in slow_softmax(node)]
    assert mixing.edges_E is not None
    assert_rows(mixing.edges_E[None], [expected])
    assert_rows(mixing.weights_EO, [slow_softmax(row) for row in logits.alpha_EO.tolist()])


def test_the_weight_of_a_candidate_in_its_node_is_that_of_its_edge_times_its_own() -> None:
    space = space_of()
    logits = random_logits(space)
    mixing = with_edge_softmax(softmax_over_operations)(logits, space, 0.0)
    assert mixing.edges_E is not None
    products = mixing.products()
    for edge in range(14):
        torch.testing.assert_close(products[edge], mixing.edges_E[edge] * mixing.weights_EO[edge])
    per_node = torch.stack([products[range_].sum() for range_ in map(list, space.topology.incoming.values())])
    torch.testing.assert_close(per_node, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("kept", [(2, 2, 2, 2), (1, 1, 2, 2), (1, 1, 1, 1)])
def test_da2s_weighs_the_n_edges_into_a_node_by_n_times_the_softmax_of_clipped_betas(kept: tuple[int, ...]) -> None:
    space = space_of()
    logits = random_logits(space)
    assert float(logits.betas().max()) > 1
    mixing = with_clipped_edge_softmax(softmax_over_operations, Keep(kept))(logits, space, 0.0)
    expected: list[float] = []
    for k, node in zip(kept, nodes_of(logits.betas().tolist(), 4), strict=True):
        shares = slow_softmax([min(b, 1.0) for b in node])
        expected += [len(node) * share for share in shares] if k < len(node) else [1.0] * len(node)
    assert mixing.edges_E is not None
    assert_rows(mixing.edges_E[None], [expected])


def test_with_equal_betas_da2s_weighs_every_edge_with_one() -> None:
    space = space_of()
    logits = CellLogits(random_logits(space).alpha_EO, torch.full((14,), 0.4, dtype=torch.float64))
    edges_E = with_clipped_edge_softmax(softmax_over_operations, Keep((1, 1, 2, 2)))(logits, space, 0.0).edges_E
    assert edges_E is not None
    torch.testing.assert_close(edges_E, torch.ones(14, dtype=torch.float64))


@given(st.integers(1, 5), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_the_shares_of_a_nodes_edges_sum_to_one(nodes: int, seed: int) -> None:
    beta = 5 * torch.randn(len(Topology(nodes).edges), generator=torch.Generator().manual_seed(seed))
    sums = [sum(node) for node in nodes_of(softmax_per_node(beta, Topology(nodes)).tolist(), nodes)]
    assert sums == pytest.approx([1.0] * nodes, abs=1e-5)


# -- cross-edge normalisation --


def slow_cross_edge(alpha: Rows, names: EdgeCandidates, nodes: int) -> Rows:
    """Let the edges of a node that have an operation compete for it, in plain loops."""
    rows: Rows = []
    start = 0
    for n in range(2, 2 + nodes):
        incoming = range(start, start + n)
        for edge in incoming:
            row = []
            for column, name in enumerate(names[edge]):
                rivals = [alpha[other][names[other].index(name)] for other in incoming if name in names[other]]
                row.append(math.exp(alpha[edge][column]) / sum(math.exp(x) for x in rivals))
            rows.append(row)
        start += n
    return rows


@st.composite
def reduced_spaces(draw: st.DrawFn) -> CellSpace:
    """Draw candidates that differ from edge to edge, equally many on each."""
    topology, count = Topology(draw(st.integers(1, 4))), draw(st.integers(1, 8))
    names = st.permutations(CANDIDATES).map(lambda order: tuple(sorted(order[:count], key=CANDIDATES.index)))
    edges = len(topology.edges)
    return CellSpace(topology, tuple(draw(st.lists(names, min_size=edges, max_size=edges))))


@given(reduced_spaces(), st.integers(0, 100))
@settings(deadline=None, max_examples=60)
def test_cross_edge_weights_equal_plain_loops_whatever_candidates_survive(space: CellSpace, seed: int) -> None:
    logits = random_logits(space, seed)
    ours = cross_edge_softmax(logits, space, 0.0).weights_EO
    assert_rows(ours, slow_cross_edge(logits.alpha_EO.tolist(), space.candidates, space.topology.nodes))


@given(reduced_spaces(), st.integers(0, 100))
@settings(deadline=None, max_examples=60)
def test_an_operation_sums_to_one_over_the_edges_of_a_node_that_have_it(space: CellSpace, seed: int) -> None:
    weights = cross_edge_softmax(random_logits(space, seed), space, 0.0).weights_EO.tolist()
    for incoming in space.topology.incoming.values():
        sums: dict[str, float] = {}
        for edge in incoming:
            for name, weight in zip(space.candidates[edge], weights[edge], strict=True):
                sums[name] = sums.get(name, 0.0) + weight
        assert sums == pytest.approx(dict.fromkeys(sums, 1.0))


def test_the_weights_into_a_node_sum_to_the_number_of_operations() -> None:
    space = space_of()
    weights_EO = cross_edge_softmax(random_logits(space), space, 0.0).weights_EO
    masses = [float(weights_EO[list(incoming)].sum()) for incoming in space.topology.incoming.values()]
    assert masses == pytest.approx([8.0] * 4)


@pytest.mark.parametrize("name", ["skip_connect", "none", "sep_conv_3x3"])
def test_raising_an_operation_on_every_edge_changes_nothing(name: str) -> None:
    space = space_of()
    logits = random_logits(space)
    raised = logits.alpha_EO.clone()
    raised[:, CANDIDATES.index(name)] += 7
    assert_rows(
        cross_edge_softmax(CellLogits(raised), space, 0.0).weights_EO,
        cross_edge_softmax(logits, space, 0.0).weights_EO.tolist(),
    )


def test_operations_of_an_edge_do_not_compete_under_cross_edge_weights() -> None:
    space = space_of()
    alpha = random_logits(space).alpha_EO.requires_grad_()
    weights_EO = cross_edge_softmax(CellLogits(alpha), space, 0.0).weights_EO
    (slope,) = torch.autograd.grad(weights_EO[9, 4], alpha)  # the first edge into the last node
    assert slope.nonzero().tolist() == [[edge, 4] for edge in range(9, 14)]


def test_cross_edge_gradients_are_finite_where_an_operation_is_on_no_edge_of_a_node() -> None:
    space = CellSpace(Topology(2), (("none", "skip_connect"),) * 2 + (("sep_conv_3x3", "dil_conv_3x3"),) * 3)
    alpha = random_logits(space).alpha_EO.requires_grad_()
    weights_EO = cross_edge_softmax(CellLogits(alpha), space, 0.0).weights_EO
    (slope,) = torch.autograd.grad((weights_EO * torch.arange(10).view(5, 2)).sum(), alpha)
    assert slope.isfinite().all()
    assert (slope != 0).all()

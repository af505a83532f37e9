"""One-hot mixing weights are one on what a genotype keeps and zero elsewhere."""

from __future__ import annotations

import pytest
import torch

from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Choice, Genotype
from nascommon.space.mixing import (
    CellMixing,
    Mixing,
    equal_mixing,
    one_hot,
    one_hot_cell,
)
from nascommon.space.operations import CANDIDATES
from nascommon.space.published import PUBLISHED
from nascommon.space.space import Candidates, CellSpace
from nascommon.space.topology import Topology
from tests.space.kinds import space_of, two

TOPOLOGY = Topology()
ALL = space_of(CANDIDATES, TOPOLOGY)
LIKE = torch.zeros(1, dtype=torch.float64)


def test_one_hot_marks_each_kept_operation_on_its_edge() -> None:
    genotype = PUBLISHED["DARTS_V2"]
    mixing = one_hot(genotype, ALL, like=LIKE)
    for kind in DARTS_KINDS:
        weights_EO = mixing[kind].weights_EO
        kept = {
            (choice.operation, choice.source, node)
            for node, choices in enumerate(genotype[kind].nodes, start=2)
            for choice in choices
        }
        marked = {
            (CANDIDATES[o], TOPOLOGY.edges[e].source, TOPOLOGY.edges[e].node) for e, o in weights_EO.nonzero().tolist()
        }
        assert marked == kept
        assert float(weights_EO.sum()) == 8
        assert mixing[kind].active == tuple(tuple(row.nonzero().flatten().tolist()) for row in weights_EO)


def test_one_hot_takes_dtype_from_like_and_positions_from_the_candidates_of_the_edge() -> None:
    candidates = (("skip_connect", "sep_conv_3x3"), ("none", "skip_connect"))
    mixing = one_hot_cell(
        CellGenotype(((Choice("skip_connect", 1),),), (2,)), CellSpace(Topology(1), candidates), like=LIKE
    )
    assert torch.equal(mixing.weights_EO, torch.tensor([[0.0, 0], [0, 1]], dtype=torch.float64))
    assert mixing.active == ((), (1,))
    assert mixing.edges_E is None


@pytest.mark.parametrize(
    ("nodes", "topology"),
    [
        (((Choice("sep_conv_5x5", 0),),), Topology(1)),
        (((Choice("skip_connect", 0), Choice("sep_conv_3x3", 0)),), Topology(1)),
        (((Choice("skip_connect", 0),), (Choice("skip_connect", 0),)), Topology(1)),
    ],
)
def test_a_genotype_that_the_candidates_do_not_hold_is_refused(
    nodes: tuple[tuple[Choice, ...], ...], topology: Topology
) -> None:
    candidates = (("skip_connect", "sep_conv_3x3"),) * len(topology.edges)
    cell = CellGenotype(nodes, (2,))
    with pytest.raises(ValueError, match="does not fit the supernet's candidates"):
        one_hot_cell(cell, CellSpace(topology, candidates), like=LIKE)


def test_both_cells_are_taken_from_their_own_candidates() -> None:
    skip = CellGenotype(((Choice("skip_connect", 0),),), (2,))
    sep = CellGenotype(((Choice("sep_conv_3x3", 0),),), (2,))
    space = space_of(two(Candidates, (("skip_connect",),) * 2, (("sep_conv_3x3",),) * 2), Topology(1))
    one_hot(two(Genotype, skip, sep), space, like=LIKE)
    with pytest.raises(ValueError, match="does not fit"):
        one_hot(two(Genotype, sep, skip), space, like=LIKE)


def test_equal_weights_sum_to_one_on_every_edge() -> None:
    for cell in (equal_mixing(ALL)["normal"], equal_mixing(ALL)["reduction"]):
        assert torch.equal(cell.weights_EO, torch.full((14, 8), 1 / 8))
        assert cell.active is None
        assert cell.edges_E is None


def test_products_are_the_weights_times_those_of_their_edges() -> None:
    weights_EO, edges_E = torch.arange(6.0).reshape(2, 3), torch.tensor([2.0, 0.5])
    assert torch.equal(CellMixing(weights_EO).products(), weights_EO)
    expected = torch.tensor([[0.0, 2, 4], [1.5, 2, 2.5]])
    assert torch.equal(CellMixing(weights_EO, edges_E).products(), expected)


def test_detach_cuts_the_graph_and_keeps_what_is_active() -> None:
    weights = torch.ones(2, 2, requires_grad=True)
    edges = torch.ones(2, requires_grad=True)
    cut = two(Mixing, CellMixing(weights * 2, active=((0,), (1,))), CellMixing(weights * 3, edges * 4)).detach()
    assert not cut["normal"].weights_EO.requires_grad
    assert not cut["reduction"].weights_EO.requires_grad
    assert cut["normal"].active == ((0,), (1,))
    assert cut["normal"].edges_E is None
    assert cut["reduction"].active is None
    assert cut["reduction"].edges_E is not None
    assert not cut["reduction"].edges_E.requires_grad
    assert torch.equal(cut["reduction"].edges_E, torch.full((2,), 4.0))
    assert torch.equal(cut["reduction"].weights_EO, torch.full((2, 2), 3.0))

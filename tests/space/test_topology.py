"""Edges run from every earlier state into each node, ordered by node and then by source."""

from __future__ import annotations

import pytest

from nascommon.space.spaces import DARTS
from nascommon.space.topology import Edge, Topology, stride


def test_four_nodes_have_the_fourteen_edges_of_the_papers_in_their_order() -> None:
    papers = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4)]
    papers += [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]
    assert list(Topology(4).edges) == papers


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 7])
def test_incoming_lists_exactly_the_edges_that_enter_each_node(nodes: int) -> None:
    topology = Topology(nodes)
    assert list(topology.incoming) == list(range(2, 2 + nodes)) == list(topology.node_states)
    for node, positions in topology.incoming.items():
        assert list(positions) == [i for i, edge in enumerate(topology.edges) if edge.node == node]
        assert [topology.edges[i].source for i in positions] == list(range(node))
    assert len(topology.edges) == sum(range(2, 2 + nodes))


@pytest.mark.parametrize("nodes", [0, -1])
def test_a_cell_without_nodes_is_refused(nodes: int) -> None:
    with pytest.raises(ValueError, match="at least one node"):
        Topology(nodes)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(3, {1, 2}), (5, {1, 3}), (8, {2, 5}), (11, {3, 7}), (14, {4, 9}), (17, {5, 11}), (20, {6, 13})],
)
def test_reductions_stand_at_one_and_two_thirds_of_the_depth(cells: int, expected: set[int]) -> None:
    assert DARTS.halvings(cells) == expected
    assert [index for index, kind in enumerate(DARTS.stack(cells)) if kind == "reduction"] == sorted(expected)


def test_only_edges_from_the_inputs_of_a_reduction_cell_have_stride_two() -> None:
    for source in range(5):
        assert stride(source, 2, halving=True) == (2 if source in (0, 1) else 1)
        assert stride(source, 2, halving=False) == 1
    assert stride(1, 1, halving=True) == 1


def test_a_cell_may_have_one_input_and_concatenate_some_nodes() -> None:
    topology = Topology(3, inputs=1, concat=(3,))
    assert topology.edges == (Edge(0, 1), Edge(0, 2), Edge(1, 2), Edge(0, 3), Edge(1, 3), Edge(2, 3))
    assert topology.incoming == {1: range(1), 2: range(1, 3), 3: range(3, 6)}
    assert topology.leaving == {0: (0, 1, 3), 1: (2, 4), 2: (5,)}
    assert (topology.outputs, Topology(3, inputs=1).outputs) == ((3,), (1, 2, 3))

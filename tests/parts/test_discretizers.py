"""Discretizers keep as many edges and as few skips as their papers, and nothing that hangs on a dead node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.cost.complexity import count_parameters
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.discretizer import (
    Discretizer,
    Keep,
    at_most_skips,
    strongest,
    strongest_edges,
)
from nascommon.parts.logits import CellLogits
from nascommon.report.drawing import save_drawing
from nascommon.space.genotype import DARTS_KINDS, CellGenotype, Choice, Genotype, genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import Candidates, EdgeCandidates, Space
from nascommon.space.topology import Topology
from tests.oracles import rules
from tests.space.kinds import space_of, two

TOPOLOGY = Topology()
ALL = space_of(CANDIDATES, TOPOLOGY)
PER_NODE = {8: [2, 2, 2, 2], 6: [1, 1, 2, 2], 5: [1, 1, 1, 2], 4: [1, 1, 1, 1]}


def random_mixing(seed: int, *, edges: bool = False, topology: Topology = TOPOLOGY) -> Mixing:
    draws = torch.Generator().manual_seed(seed)
    count = len(topology.edges)
    return two(
        Mixing,
        *(
            CellMixing(
                torch.randn(count, 8, generator=draws).softmax(-1),
                torch.rand(count, generator=draws) if edges else None,
            )
            for _ in DARTS_KINDS
        ),
    )


def method_of(name: str, nodes: int = 4, **settings: Any) -> Method:
    entry = REGISTRY[name]
    return entry.recipe(
        entry.settings.model_validate(settings), SearchSize(16, 8, space_of(CANDIDATES, Topology(nodes)))
    )


def parse(discretize: Discretizer, mixing: Mixing, space: Space = ALL) -> Genotype:
    return discretize(mixing, space)


def inputs(cell: CellGenotype) -> list[int]:
    return [len(node) for node in cell.nodes]


def skip_weight(mixing: CellMixing) -> Tensor:
    return mixing.weights_EO[:, CANDIDATES.index("skip_connect")]


# -- the number of edges (DA2S, Table 4) --


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
@pytest.mark.parametrize("name", ["da2s", "darts", "pcdarts", "ecdarts"])
@pytest.mark.parametrize("kept", [8, 6, 5, 4])
def test_a_cell_keeps_the_edges_per_node_that_the_target_says(name: str, kept: int, seed: int) -> None:
    genotype = parse(method_of(name, kept_edges=kept).discretize, random_mixing(seed, edges=name == "da2s"))
    assert inputs(genotype["normal"]) == inputs(genotype["reduction"]) == PER_NODE[kept]
    assert genotype["normal"].concat == (2, 3, 4, 5)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize(
    ("name", "more", "concatenated"), [("da2s", {}, 3), ("da2s", {"dead_node": "zeros"}, 4), ("darts", {}, 3)]
)
def test_with_three_edges_the_weaker_of_the_first_two_nodes_is_dead(
    name: str, more: dict[str, Any], concatenated: int, seed: int
) -> None:
    mixing = random_mixing(seed, edges=name == "da2s")
    genotype = parse(method_of(name, kept_edges=3, **more).discretize, mixing)
    for kind in DARTS_KINDS:
        cell, products = genotype[kind], mixing[kind].products()[:, 1:].amax(dim=1)
        dead = 3 if products[0:2].max() >= products[2:5].max() else 2
        assert inputs(cell) == [int(node != dead) for node in (2, 3, 4, 5)]
        assert all(choice.source != dead for node in cell.nodes for choice in node)
        assert [node for node in (2, 3, 4, 5) if concatenated == 4 or node != dead] == list(cell.concat)


def test_da2s_ranks_the_edges_of_a_node_by_their_own_weight_alone() -> None:
    weights = torch.full((5, 3), 0.1)
    weights[2:, 1] = torch.tensor([0.9, 0.2, 0.3])
    edges = torch.tensor([1.0, 1.0, 0.5, 1.1, 1.2])
    mixing = two(Mixing, CellMixing(weights, edges), CellMixing(weights, edges))
    topology = Topology(2)
    space = space_of(("none", "skip_connect", "sep_conv_3x3"), topology)
    by_edge, by_product = (strongest(Keep(), rank)(mixing, space) for rank in ("edge", "product"))
    assert [choice.source for choice in by_edge["normal"].nodes[1]] == [2, 1]
    assert [choice.source for choice in by_product["normal"].nodes[1]] == [0, 2]


@pytest.mark.parametrize("kept", [6, 5, 4, 3])
@pytest.mark.parametrize("nodes", [3, 5])
@pytest.mark.parametrize("name", ["da2s", "darts"])
def test_targets_for_four_nodes_are_refused_for_other_cells(name: str, kept: int, nodes: int) -> None:
    with pytest.raises(ValueError, match=rf"kept_edges: {kept} of 14 edges need search.nodes 4 \(got {nodes} nodes\)"):
        method_of(name, nodes, kept_edges=kept)


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_two_edges_per_node_fit_any_cell(nodes: int) -> None:
    topology = Topology(nodes)
    genotype = method_of("da2s", nodes).discretize(
        random_mixing(0, edges=True, topology=topology), space_of(CANDIDATES, topology)
    )
    assert inputs(genotype["normal"]) == [2] * nodes


TARGETS = [(8, False), (6, False), (5, False), (4, False), (3, False), (3, True)]


def genotype_of(kept: int, *, zeros: bool) -> Genotype:
    more: dict[str, Any] = {"dead_node": "zeros"} if zeros else {}
    return parse(method_of("da2s", kept_edges=kept, **more).discretize, random_mixing(kept, edges=True))


@pytest.mark.parametrize(("kept", "zeros"), TARGETS)
def test_the_network_of_every_target_trains(kept: int, zeros: bool) -> None:
    torch.manual_seed(0)
    network = Network(genotype_of(kept, zeros=zeros), NetworkSpec(8, 5)).train()
    network.drop_probability = 0.2
    logits, auxiliary = network.forward_auxiliary(torch.randn(2, 3, 32, 32))
    assert auxiliary is not None
    assert logits.shape == auxiliary.shape == (2, 10)
    loss = logits.square().sum() + auxiliary.square().sum()
    # a cell that no later cell reads has no gradient
    slopes = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, materialize_grads=True)
    assert all(slope.isfinite().all() for slope in slopes)
    assert sum(bool(slope.any()) for slope in slopes) > 30


@pytest.mark.parametrize(("kept", "zeros"), TARGETS)
def test_the_genotype_of_every_target_survives_json(kept: int, zeros: bool) -> None:
    genotype = genotype_of(kept, zeros=zeros)
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


@pytest.mark.parametrize(("kept", "zeros"), [(5, False), (3, False), (3, True)])
def test_the_genotype_of_every_target_can_be_drawn(kept: int, zeros: bool, tmp_path: Path) -> None:
    save_drawing(genotype_of(kept, zeros=zeros), tmp_path / "cells.svg", "A title")
    assert "A title" in (tmp_path / "cells.svg").read_text()


def base_parameters(concat: tuple[int, ...]) -> int:
    """Count the network of 36 channels and 20 cells without what stands on its edges."""
    alive = [state - 2 for state in concat]
    cell = CellGenotype(tuple((Choice("skip_connect", 0),) if node in alive else () for node in range(4)), concat)
    with torch.device("meta"):
        network = Network(two(Genotype, cell, cell), NetworkSpec(auxiliary=False))
    edges = sum(count_parameters(layer.get_submodule("nodes")) for layer in network.cells)
    return count_parameters(network) - edges


@pytest.mark.parametrize(
    ("concat", "fact"),
    [((2, 3, 4, 5), "base_noops_C36_L20"), ((3, 4, 5), "base_noops_C36_L20_concat3")],
)
def test_the_network_around_the_edges_is_narrower_without_a_dead_node(concat: tuple[int, ...], fact: str) -> None:
    assert base_parameters(concat) == rules.facts()["increments_C36_L20"][fact]


@pytest.mark.parametrize("kept", [8, 5])
def test_edges_whose_raw_logits_are_all_negative_are_kept_like_any_other(kept: int) -> None:
    method = method_of("ecdarts", parse_on="raw", kept_edges=kept)
    assert method.discretize.read is not None
    alpha = torch.randn(14, 8, generator=torch.Generator().manual_seed(0)) - 10
    read = method.discretize.read(CellLogits(alpha), ALL.cells.main, 1.0)
    assert inputs(parse(method.discretize, two(Mixing, read, read))["normal"]) == PER_NODE[kept]


# -- the threshold of FairDARTS --


def fair_mixing(rows: Sequence[float], topology: Topology) -> Mixing:
    weights = torch.full((len(topology.edges), 2), 0.1)
    weights[:, 1] = torch.tensor(rows)
    return two(Mixing, CellMixing(weights), CellMixing(weights))


@pytest.mark.parametrize(
    ("rows", "sources", "concat"),
    [
        ([0.9, 0.8, 0.9, 0.9, 0.95], [[0], [2, 0]], (2, 3)),
        ([0.85, 0.2, 0.5, 0.5, 0.5], [[0], []], (2,)),
        ([0.2, 0.2, 0.9, 0.5, 0.99], [[], [0]], (3,)),
        ([0.2, 0.2, 0.2, 0.6, 0.7], [[], [1]], (3,)),
        ([0.2, 0.3, 0.2, 0.25, 0.7], [[1], []], (2,)),
    ],
    ids=["strong edges stay", "the threshold itself is enough", "a dead node feeds nobody", "the strongest edge stays",
         "the edge that stays starts at a cell input"],
)  # fmt: skip
def test_edges_below_the_threshold_go_but_a_cell_keeps_one(
    rows: list[float], sources: list[list[int]], concat: tuple[int, ...]
) -> None:
    topology = Topology(2)
    space = space_of(("skip_connect", "sep_conv_3x3"), topology)
    cell = strongest(Keep((2, 2), threshold=0.85))(fair_mixing(rows, topology), space)["normal"]
    assert [[choice.source for choice in node] for node in cell.nodes] == sources
    assert cell.concat == concat


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_every_cell_that_fairdarts_reads_is_a_valid_genotype(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    mixing = two(Mixing, *(CellMixing(torch.rand(14, 7, generator=draws) ** (1 + seed % 9)) for _ in DARTS_KINDS))
    space = space_of(CANDIDATES[1:], TOPOLOGY)
    genotype = method_of("fairdarts").discretize(mixing, space)
    strong = int((mixing["normal"].weights_EO.amax(dim=1) >= 0.85).sum())
    assert 1 <= genotype["normal"].edges <= max(strong, 1)
    assert genotype_from_json(genotype.to_json()) == genotype


# -- few skip connections (P-DARTS) --


@st.composite
def late_candidates(draw: st.DrawFn) -> EdgeCandidates:
    """Draw three candidates for each edge, at least one of them neither skip nor none."""
    real = [name for name in CANDIDATES if name not in {"none", "skip_connect"}]

    def edge() -> tuple[str, ...]:
        names = {draw(st.sampled_from(real)), "skip_connect"}
        names.add(draw(st.sampled_from([name for name in CANDIDATES if name not in names])))
        return tuple(sorted(names, key=CANDIDATES.index))

    return tuple(edge() for _ in TOPOLOGY.edges)


@given(late_candidates(), st.integers(0, 1000), st.integers(0, 8), st.floats(0, 3))
@settings(deadline=None, max_examples=100)
def test_there_are_never_more_skips_than_allowed(names: EdgeCandidates, seed: int, most: int, bias: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    cells = []
    for _ in DARTS_KINDS:
        alpha = torch.randn(14, 3, generator=draws)
        alpha += bias * torch.tensor([[name == "skip_connect" for name in row] for row in names])
        cells.append(CellMixing(alpha.softmax(-1)))
    mixing, space = two(Mixing, *cells), space_of(two(Candidates, names, names))
    free = strongest_edges(mixing, space)
    limited = at_most_skips(strongest_edges, most)(mixing, space)
    assert limited["normal"].skips <= most
    assert inputs(limited["normal"]) == [2, 2, 2, 2]
    assert limited["reduction"] == free["reduction"]
    if free["normal"].skips <= most:
        assert limited == free


def test_skips_stay_where_nothing_else_is_left() -> None:
    space = space_of(("none", "skip_connect"), TOPOLOGY)
    mixing = two(Mixing, *(CellMixing(torch.full((14, 2), 0.5)) for _ in DARTS_KINDS))
    assert at_most_skips(strongest_edges, 2)(mixing, space)["normal"].skips == 8


def test_limiting_skips_leaves_the_mixing_weights_alone() -> None:
    mixing = random_mixing(0)
    skip_weight(mixing["normal"]).add_(1)
    before = mixing["normal"].weights_EO.clone()
    assert parse(strongest_edges, mixing)["normal"].skips == 8
    assert parse(at_most_skips(strongest_edges, 1), mixing)["normal"].skips == 1
    assert torch.equal(mixing["normal"].weights_EO, before)


def test_pdarts_keeps_two_skips_unless_no_limit_is_set() -> None:
    mixing = random_mixing(1)
    skip_weight(mixing["normal"]).add_(1)
    skip_weight(mixing["reduction"]).add_(1)
    counts = [parse(method_of("pdarts", most_skips=most).discretize, mixing) for most in (2, None)]
    assert [(genotype["normal"].skips, genotype["reduction"].skips) for genotype in counts] == [(2, 8), (8, 8)]

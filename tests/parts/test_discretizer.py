"""Discretizers read the cells off the mixing weights as the papers do."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nascommon.parts.discretizer import (
    at_most_skips,
    strongest_candidates,
    strongest_edges,
)
from nascommon.runtime.seeding import generator
from nascommon.space.draws import sample_cell, sample_genotype
from nascommon.space.genotype import CellGenotype, Choice, genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import Candidates, EdgeCandidates
from nascommon.space.topology import Topology
from tests.oracles import rules
from tests.space.kinds import cell_space, space_of, two

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def both(weights_EO: Tensor) -> Mixing:
    return two(Mixing, CellMixing(weights_EO), CellMixing(weights_EO.flip(0)))


def slow_parse(weights: list[list[float]], names: EdgeCandidates, nodes: int) -> CellGenotype:
    """Read a cell as the released DARTS code does: two edges a node by their best real operation, in plain loops."""
    kept: list[tuple[Choice, ...]] = []
    start = 0
    for node in range(2, 2 + nodes):
        found: list[tuple[float, int, str]] = []
        for source in range(node):
            row = weights[start + source]
            best = -1
            for o, weight in enumerate(row):
                if names[start + source][o] != "none" and (best < 0 or weight > row[best]):
                    best = o
            found.append((row[best], source, names[start + source][best]))
        chosen: list[Choice] = []
        for _ in range(2):
            strongest = found[0]
            for candidate in found[1:]:
                if candidate[0] > strongest[0]:
                    strongest = candidate
            found.remove(strongest)
            chosen.append(Choice(strongest[2], strongest[1]))
        kept.append(tuple(chosen))
        start += node
    return CellGenotype(tuple(kept), tuple(range(2, 2 + nodes)))


@st.composite
def weighted(draw: st.DrawFn) -> tuple[int, list[list[float]], EdgeCandidates]:
    """Draw nodes, weights with many ties (raw logits are also negative), and candidates edge by edge."""
    nodes, count = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    edges = len(Topology(nodes).edges)
    rows = st.lists(st.integers(-2, 4).map(float), min_size=count, max_size=count)
    names = st.lists(st.sampled_from(CANDIDATES), min_size=count, max_size=count, unique=True).map(tuple)
    return (
        nodes,
        draw(st.lists(rows, min_size=edges, max_size=edges)),
        tuple(draw(st.lists(names, min_size=edges, max_size=edges))),
    )


@given(weighted())
def test_the_strongest_edges_are_those_of_the_released_parse(
    case: tuple[int, list[list[float]], EdgeCandidates],
) -> None:
    nodes, weights, names = case
    mixing = both(torch.tensor(weights))
    genotype = strongest_edges(mixing, space_of(two(Candidates, names, names), Topology(nodes)))
    assert genotype["normal"] == slow_parse(weights, names, nodes)
    assert genotype["reduction"] == slow_parse(weights[::-1], names, nodes)


def test_the_genotype_of_the_oracles_logits_is_that_of_the_released_code() -> None:
    space = space_of(CANDIDATES, Topology())
    facts = rules.facts()
    expected = facts["discretisation"]["darts_genotype_from_sinusoid_alphas"]
    assert facts["forward_parity_float64"]["darts_search_C16_L8"]["genotype"] == expected
    normal, reduction = expected
    ours = strongest_edges(rules.sinusoid_mixing(space), space)
    released = {"normal": normal, "normal_concat": [2, 3, 4, 5], "reduce": reduction, "reduce_concat": [2, 3, 4, 5]}
    assert ours == genotype_from_json(released)


def test_none_is_never_kept_however_strong() -> None:
    weights = torch.tensor([[0.97, 0.0, 0.01, 0.02]]).repeat(5, 1)
    genotype = strongest_edges(both(weights), space_of(NAMES, Topology(2)))
    assert {choice.operation for node in genotype["normal"].nodes for choice in node} == {"sep_conv_3x3"}


def test_ties_go_to_the_earlier_edge_and_the_earlier_candidate() -> None:
    genotype = strongest_edges(both(torch.full((9, 4), 0.25)), space_of(NAMES, Topology(3)))
    assert all(node == (Choice("max_pool_3x3", 0), Choice("max_pool_3x3", 1)) for node in genotype["normal"].nodes)


def test_edges_are_listed_from_strong_to_weak() -> None:
    weights = torch.zeros(5, 4)
    weights[2:, 2] = torch.tensor([0.1, 0.3, 0.2])
    genotype = strongest_edges(both(weights), space_of(NAMES, Topology(2)))
    assert genotype["normal"].nodes[1] == (Choice("skip_connect", 1), Choice("skip_connect", 2))


def test_an_edge_that_has_no_other_candidate_keeps_its_skip_whatever_is_allowed() -> None:
    topology = Topology(2)
    space = space_of(("none", "skip_connect"), topology)
    mixing = both(torch.full((5, 2), 0.5))
    genotype = at_most_skips(strongest_edges, 1)(mixing, space)
    assert [len(node) for node in genotype["normal"].nodes] == [2, 2]
    assert genotype["normal"].concat == (2, 3)


# -- sampling --


def test_equal_weights_sample_uniformly_from_the_whole_space() -> None:
    topology, draws, count = Topology(2), generator(0), 4800
    cell = cell_space(("skip_connect", "none", "sep_conv_3x3"), topology)
    weights_EO = torch.full((5, 3), 1 / 3)
    seen = Counter(sample_cell(CellMixing(weights_EO), cell, draws) for _ in range(count))
    space = 2**2 * 3 * 2**2
    expected = count / space
    chi_square = sum((n - expected) ** 2 / expected for n in seen.values()) + expected * (space - len(seen))
    assert len(seen) == space
    assert chi_square < 82.7  # the 0.1 % point of 47 degrees of freedom


def test_edges_and_operations_are_drawn_in_proportion_to_their_weights() -> None:
    topology, draws, count = Topology(2), generator(1), 3000
    cell = cell_space(("none", "skip_connect", "sep_conv_3x3"), topology)
    strengths = [0.5, 0.3, 0.2]
    weights_EO = torch.tensor([[0.9, 0.1, 0.4]] * 2 + [[1.0, strength, strength / 4] for strength in strengths])
    cells = [sample_cell(CellMixing(weights_EO), cell, draws) for _ in range(count)]
    pairs = Counter(tuple(choice.source for choice in cell.nodes[1]) for cell in cells)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        a, b = strengths[i], strengths[j]
        chance = a * b / (1 - a) + a * b / (1 - b)
        assert abs(pairs[i, j] / count - chance) < 4 * (chance * (1 - chance) / count) ** 0.5
    separable = sum(choice.operation == "sep_conv_3x3" for cell in cells for choice in cell.nodes[0])
    assert abs(separable / (2 * count) - 0.8) < 4 * (0.16 / (2 * count)) ** 0.5
    assert all(choice.operation != "none" for cell in cells for node in cell.nodes for choice in node)


def test_both_cells_are_sampled_from_their_own_weights_and_the_generator_decides() -> None:
    topology = Topology(2)
    space = space_of(two(Candidates, (("skip_connect", "none"),) * 5, (("none", "sep_conv_3x3"),) * 5), topology)
    mixing = both(torch.full((5, 2), 0.5))
    once, again = (sample_genotype(mixing, space, generator(3)) for _ in range(2))
    assert once == again
    assert {choice.operation for node in once["normal"].nodes for choice in node} == {"skip_connect"}
    assert {choice.operation for node in once["reduction"].nodes for choice in node} == {"sep_conv_3x3"}
    assert len({sample_genotype(mixing, space, generator(seed)) for seed in range(30)}) == 9


# -- candidates of the next phase --


@given(weighted(), st.integers(1, 5))
def test_the_strongest_candidates_stay_in_their_old_order(
    case: tuple[int, list[list[float]], EdgeCandidates], keep: int
) -> None:
    nodes, weights, names = case
    keep = min(keep, len(names[0]))
    mixing = two(Mixing, CellMixing(torch.tensor(weights)), CellMixing(torch.tensor(weights)))
    space = space_of(two(Candidates, names, names), Topology(nodes))
    kept = strongest_candidates(mixing, space, keep).candidates
    assert kept["normal"] == kept["reduction"]
    for survivors, before, row in zip(kept["normal"], names, weights, strict=True):
        assert len(survivors) == keep
        assert list(survivors) == [name for name in before if name in survivors]
        weight = dict(zip(before, row, strict=True))
        dropped = [name for name in before if name not in survivors]
        assert all(weight[name] <= weight[other] for name in dropped for other in survivors)


def test_none_is_dropped_like_any_other_candidate() -> None:
    mixing = both(torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]))
    space = space_of(NAMES, Topology(1))
    kept = strongest_candidates(mixing, space, 2).candidates
    assert kept["normal"] == (("none", "max_pool_3x3"), ("skip_connect", "sep_conv_3x3"))
    assert kept["reduction"] == kept["normal"][::-1]

"""The spaces that search.space can name hold what their papers say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from nascommon.cost.complexity import network_complexity
from nascommon.parts.discretizer import strongest_edges
from nascommon.search.settings import SearchSettings
from nascommon.settings import UserError
from nascommon.space.draws import random_genotype
from nascommon.space.fan import edge_terms, scales
from nascommon.space.genotype import genotype_from_json
from nascommon.space.kinds import PerKind
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing, one_hot
from nascommon.space.network import Network, NetworkSpec, build_network
from nascommon.space.operations import CANDIDATES
from nascommon.space.record import SpaceRecord
from nascommon.space.skeleton import SKELETONS, Skeleton
from nascommon.space.space import SPACES, CellSpace, Space, find_space, register
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Topology

SHORT = {"skip": "skip_connect", "dil3": "dil_conv_3x3", "dil5": "dil_conv_5x5", "sep3": "sep_conv_3x3",
         "max": "max_pool_3x3", "avg": "avg_pool_3x3"}  # fmt: skip
S1 = {
    "normal": "skip,dil3 skip,dil5 skip,dil5 skip,sep3 skip,dil3 max,skip skip,sep3 skip,sep3 skip,dil3 skip,sep3 "
    "max,skip skip,dil3 dil3,dil5 dil3,dil5",
    "reduction": "max,avg max,dil3 max,avg max,avg skip,dil5 max,avg max,sep3 skip,dil3 skip,dil5 max,avg max,avg "
    "skip,dil5 skip,dil5 skip,dil5",
}
"""The released table of RobustDARTS (src/spaces.py), edge by edge."""


def spec(space: Space) -> SupernetSpec:
    return SupernetSpec(4, 3, 5, space)


def test_the_darts_space_is_the_papers_eight_on_fourteen_edges() -> None:
    space = find_space("darts")
    assert tuple(space.cells) == ("normal", "reduction")
    assert all(cell == CellSpace(Topology(4, 2), (CANDIDATES,) * 14, 2) for cell in space.cells.values())


@pytest.mark.parametrize("kind", sorted(S1))
def test_s1_has_two_candidates_an_edge_and_others_on_each(kind: str) -> None:
    expected = tuple(tuple(SHORT[word] for word in edge.split(",")) for edge in S1[kind].split())
    assert find_space("s1").candidates[kind] == expected


@pytest.mark.parametrize(
    ("name", "operations"),
    [("s2", {"skip_connect", "sep_conv_3x3"}), ("s3", {"none", "skip_connect", "sep_conv_3x3"}),
     ("s4", {"noise", "sep_conv_3x3"})],
)  # fmt: skip
def test_the_other_subspaces_have_the_same_on_every_edge(name: str, operations: set[str]) -> None:
    for edges in find_space(name).candidates.values():
        assert [set(names) for names in edges] == [operations] * 14


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_space_has_supernet_genotypes_and_networks(name: str) -> None:
    space, images = find_space(name), torch.randn(2, 3, 8, 8)
    supernet = spec(space).build()
    assert supernet(images, equal_mixing(space)).shape == (2, 5)
    for seed in range(3):
        genotype = random_genotype(space, torch.Generator().manual_seed(seed))
        assert genotype.skeleton == space.skeleton.name
        assert supernet(images, one_hot(genotype, space, like=images)).isfinite().all()
        network = build_network(genotype, NetworkSpec(4, 3, 5, auxiliary=False))
        assert network(images).shape == (2, 5)


def test_nodes_and_candidates_are_the_users_where_the_space_lets_them() -> None:
    assert {len(edges) for edges in find_space("s4", 2).candidates.values()} == {5}
    few = find_space("darts", 3, ("skip_connect", "none"))
    assert {names for edges in few.candidates.values() for names in edges} == {("skip_connect", "none")}
    assert {cell.topology.nodes for cell in few.cells.values()} == {3}
    assert find_space("s1", 4) == find_space("s1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"space": "s1", "nodes": 2},
            r"nodes: the cells of space s1 have their own numbers; set nodes: null \(got 2\)",
        ),
        ({"space": "s2", "candidates": ("none", "skip_connect")}, "candidates: space s2 has its own; leave them out"),
    ],
)
def test_what_a_space_does_not_let_be_set_is_refused(settings: dict[str, object], message: str) -> None:
    chosen = SearchSettings.model_validate({"method": "darts", **settings})
    with pytest.raises(ValueError, match=message):
        chosen.chosen_space()


def test_without_none_the_others_stay_in_their_order() -> None:
    assert find_space("s3").without_none().candidates == find_space("s2").candidates
    assert find_space("darts").without_none().candidates.main == (CANDIDATES[1:],) * 14
    with pytest.raises(ValueError, match="every edge needs a candidate"):
        find_space("darts", candidates=("none",)).without_none()


def test_edges_with_different_numbers_of_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many candidates for each of 2 edges"):
        CellSpace(Topology(1), (("skip_connect",), ("skip_connect", "noise")))


# -- noise (S4) --


def test_noise_costs_nothing_and_has_no_weights() -> None:
    noisy = find_space("darts", candidates=("noise",))
    free = find_space("darts", candidates=("avg_pool_3x3",))
    size = NetworkSpec(8, 4, auxiliary=False)
    ours, plain = (
        network_complexity(random_genotype(space, torch.Generator().manual_seed(0)), size, 16, 16)
        for space in (noisy, free)
    )
    assert ours == plain


@pytest.mark.parametrize("training", [True, False])
def test_noise_is_drawn_anew_for_every_edge_and_pass_and_carries_its_mixing_weight(training: bool) -> None:
    space = find_space("darts", 2, ("noise", "skip_connect"))
    cell = spec(space).build().cells[0].train(training)
    state = torch.nn.functional.relu(torch.randn(64, 4, 8, 8))
    edges = cell.get_submodule("edges")

    weights_EO = torch.tensor([[0.5, 0.0]] * 5)
    places = {"noise": [(0, 0), (2, 0)]}
    once = dict(edge_terms(state, list(edges.children()), places, scales(weights_EO, 4)))  # type: ignore[arg-type]
    again = dict(edge_terms(state, list(edges.children()), places, scales(weights_EO, 4)))  # type: ignore[arg-type]
    for edge in (0, 2):
        assert once[edge].shape == state.shape
        assert float(once[edge].std()) == pytest.approx(0.5, rel=0.05)
        assert float(once[edge].mean()) == pytest.approx(0, abs=0.02)
        assert not torch.equal(once[edge], again[edge])
    assert not torch.equal(once[0], once[2])
    assert abs(float((once[0] * state).mean())) < 0.02


# -- a space in which an edge may stay away --


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> Space:
    """Return a space of one kind of cell whose every edge stays, unless ``none`` wins it."""
    skeleton = Skeleton("sparse", ("cell",), 1, lambda *_: "cell", frozenset(), Supernet, Network, keeps_none=True)
    monkeypatch.setitem(SKELETONS, skeleton.name, skeleton)
    topology = Topology(3, inputs=1, concat=(3,))
    cell = CellSpace(topology, (("none", "skip_connect", "sep_conv_3x3"),) * 6, kept=3, keeps_none=True)
    return Space("sparse", skeleton, PerKind({"cell": cell}))


def test_where_none_may_win_it_takes_the_edge_away(sparse: Space) -> None:
    weights_EO = torch.tensor([[0.1, 0.2, 0.7]] * 6)
    weights_EO[[1, 2, 4], 0] = 1.0
    genotype = strongest_edges(Mixing({"cell": CellMixing(weights_EO)}), sparse)
    sep = "sep_conv_3x3"
    assert genotype.main.nodes == (((sep, 0),), (), ((sep, 0), (sep, 2)))
    assert genotype.main.concat == (3,)
    assert genotype_from_json(genotype.to_json()) == genotype
    network = build_network(genotype, NetworkSpec(4, 3, 5, auxiliary=False))
    assert network(torch.randn(2, 3, 8, 8)).isfinite().all()


def test_where_none_may_win_all_architectures_are_drawn_evenly(sparse: Space) -> None:
    drawn = Counter(random_genotype(sparse, torch.Generator().manual_seed(seed)).main.edges for seed in range(400))
    mean = sum(edges * count for edges, count in drawn.items()) / 400
    assert mean == pytest.approx(6 * 2 / 3, abs=0.25)
    assert SpaceRecord.for_baseline(sparse).open().cells == sparse.cells


def test_a_genotype_of_an_unknown_skeleton_is_refused() -> None:
    with pytest.raises(UserError, match="genotype: skeleton: unknown 'dart'; did you mean 'darts'"):
        genotype_from_json({"schema": 1, "skeleton": "dart"})


def test_the_map_of_the_auxiliary_head_depends_on_stem_and_skeleton() -> None:
    once = Skeleton("once", ("flat", "half"), 1, lambda index, _: "half" if index == 1 else "flat", frozenset({"half"}),
                    Supernet, Network)  # fmt: skip
    darts = SKELETONS["darts"]
    assert NetworkSpec(cells=20).auxiliary_stride(darts) == 4
    assert NetworkSpec(cells=14, stem="imagenet").auxiliary_stride(darts) == 32
    assert NetworkSpec(cells=4).auxiliary_stride(once) == 2


def test_a_cell_concatenates_states_of_its_nodes() -> None:
    assert Topology(3, 1, (2, 3)).outputs == (2, 3)
    for concat in ((7,), (0, 1), (2, 2)):
        with pytest.raises(ValueError, match=r"concat: must be different states of nodes out of 1, 2, 3"):
            Topology(3, 1, concat)


def test_a_space_that_its_skeleton_cannot_build_is_refused_in_words() -> None:
    darts = SPACES["darts"]
    with pytest.raises(ValueError, match=r"kinds of cells must be normal, reduction, in this order"):
        Space("x", darts.skeleton, PerKind(reversed(list(darts.cells.items()))))
    cell = CellSpace(Topology(1, 1), (("skip_connect",),))
    with pytest.raises(ValueError, match=r"inputs of cell normal must be its skeleton's 2 \(got 1\)"):
        Space("x", darts.skeleton, PerKind({"normal": cell, "reduction": cell}))
    with pytest.raises(ValueError, match=r"space darts: there is one of that name already"):
        register(darts)
    another = replace(darts, name="x", skeleton=replace(darts.skeleton, halving=frozenset()))
    with pytest.raises(ValueError, match=r"space x: there is another skeleton of the name darts"):
        register(another)
    assert "x" not in SPACES

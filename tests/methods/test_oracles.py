"""The records of the methods give the numbers that were measured with the released codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.cost.complexity import count_operations, count_parameters
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.discretizer import strongest_candidates
from nascommon.parts.logits import CellLogits, Logits
from nascommon.parts.relaxation import cross_edge_softmax, raw
from nascommon.parts.schedule import progress, skip_dropout
from nascommon.search.state import supernet_spec
from nascommon.space.genotype import DARTS_KINDS, Choice, Genotype
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import SPACES, CellSpace, Space
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Topology
from tests.oracles import rules
from tests.space.kinds import space_of, two
from tests.space.plain import plainly

TOPOLOGY = Topology()
PHASES = {"normal": 0.0, "reduction": 0.5}
FACTS = rules.facts()


def method_of(name: str, channels: int = 16, cells: int = 8, **settings: Any) -> Method:
    entry = REGISTRY[name]
    return entry.recipe(entry.settings.model_validate(settings), SearchSize(channels, cells, SPACES["darts"]))


# -- DA2S --

LOSS = FACTS["da2s"]["released_loss_on_sinusoid_parameters"]


def sinusoid_logits() -> Logits:
    """Return the alphas of both cells, and betas that start anew at every node."""
    cells = []
    for phase in PHASES.values():
        betas = [rules.sinusoid(1, n, phase + 1.0)[0] for n in (2, 3, 4, 5)]
        cells.append(CellLogits(rules.sinusoid(14, 7, phase), torch.cat(betas)))
    return two(Logits, *cells)


def term(epoch: int, **settings: Any) -> float:
    return float(method_of("da2s", **settings).penalty(sinusoid_logits(), SPACES["darts"], progress(epoch - 1, 50)))


@pytest.mark.parametrize("epoch", ["1", "8", "25", "50"])
def test_the_operations_term_of_the_da2s_loss_is_that_of_the_released_code(epoch: str) -> None:
    assert term(int(epoch), lambda_2={"factor": 0.0}) == pytest.approx(LOSS[epoch]["alpha_term"], abs=1e-9)


@pytest.mark.parametrize("epoch", ["1", "8", "25", "50"])
def test_the_edges_term_of_the_da2s_loss_is_that_of_the_released_code(epoch: str) -> None:
    assert term(int(epoch), lambda_1={"factor": 0.0}) == pytest.approx(LOSS[epoch]["beta_term"], abs=1e-9)


@pytest.mark.parametrize("epoch", ["1", "8", "25", "50"])
def test_the_da2s_loss_is_the_released_one(epoch: str) -> None:
    assert term(int(epoch)) == pytest.approx(LOSS[epoch]["total"] - LOSS[epoch]["ce"], abs=1e-9)


def test_equal_alphas_cost_at_the_end_what_the_released_code_says() -> None:
    equal = two(Logits, *(CellLogits(torch.zeros(14, 7, dtype=torch.float64)) for _ in DARTS_KINDS))
    assert float(method_of("da2s").penalty(equal, SPACES["darts"], 1.0)) == pytest.approx(5.48284975, abs=1e-8)


# -- EC-DARTS --


def test_cross_edge_weights_of_the_last_node_are_the_measured_ones() -> None:
    fact = FACTS["discretisation"]["cen_node5_alpha_sin"]
    alpha = torch.zeros(14, 8, dtype=torch.float64)
    alpha[9:] = rules.sinusoid(5, 8, 0.0)
    space = CellSpace(TOPOLOGY, (CANDIDATES,) * 14)
    node = cross_edge_softmax(CellLogits(alpha), space, 0.0).weights_EO[9:]
    assert node[0].tolist() == pytest.approx(fact["col_softmax_row0"], abs=1e-6)
    assert node.sum(dim=0).tolist() == pytest.approx(fact["col_sums"])
    assert float(node.sum()) == pytest.approx(fact["total"])


def test_raw_and_normalised_alphas_give_different_genotypes() -> None:
    space = space_of(CANDIDATES, TOPOLOGY)
    cells = [CellLogits(rules.sinusoid(14, 8, phase)) for phase in PHASES.values()]
    discretize = method_of("ecdarts").discretize
    by_cen, by_raw = (
        discretize(two(Mixing, *(relax(cell, space.cells.main, 0.0) for cell in cells)), space)
        for relax in (cross_edge_softmax, raw)
    )
    assert by_cen["normal"].edges == by_raw["normal"].edges == 8
    assert by_cen != by_raw


# -- DARTS and P-DARTS --


def as_sets(nodes: tuple[tuple[Choice, ...], ...]) -> list[set[tuple[str, int]]]:
    return [{(choice.operation, choice.source) for choice in node} for node in nodes]


def released_sets(flat: list[list[object]]) -> list[set[tuple[object, object]]]:
    return [{(flat[i][0], flat[i][1]), (flat[i + 1][0], flat[i + 1][1])} for i in range(0, 8, 2)]


def test_the_darts_genotype_of_sinusoid_alphas_is_the_released_one() -> None:
    space = space_of(CANDIDATES, TOPOLOGY)
    genotype = method_of("darts").discretize(rules.sinusoid_mixing(space), space)
    for cell, flat in zip(
        (genotype["normal"], genotype["reduction"]),
        FACTS["discretisation"]["darts_genotype_from_sinusoid_alphas"],
        strict=True,
    ):
        assert [list(choice) for node in cell.nodes for choice in node] == flat


PDARTS = FACTS["discretisation"]["pdarts_bias2"]


def biased(space: Space, stage: int) -> Mixing:
    """Return the oracle's weights in a stage: two more on every skip."""
    cells = []
    for kind, phase in PHASES.items():
        names = space.candidates[kind]
        alpha = rules.sinusoid(14, len(names[0]), phase + 0.1 * stage)
        alpha = alpha + 2.0 * torch.tensor([[name == "skip_connect" for name in row] for row in names])
        cells.append(CellMixing(alpha.softmax(-1)))
    return two(Mixing, *cells)


def stages() -> list[Space]:
    """Return the spaces with which the three stages begin."""
    spaces = [space_of(CANDIDATES, TOPOLOGY)]
    for stage, phase in enumerate(method_of("pdarts").phases[:-1]):
        assert phase.keep is not None
        spaces.append(strongest_candidates(biased(spaces[-1], stage), spaces[-1], phase.keep))
    return spaces


@pytest.mark.parametrize("stage", [0, 1])
def test_the_candidates_that_survive_a_stage_of_pdarts_are_the_released_ones(stage: int) -> None:
    expected = PDARTS["normal_ops_after_stage"][stage]
    assert [list(names) for names in stages()[stage + 1].candidates["normal"]] == expected


def limited(most: int | None) -> Genotype:
    space = stages()[2]
    return method_of("pdarts", most_skips=most).discretize(biased(space, 2), space)


def test_the_cells_of_pdarts_without_a_limit_are_the_released_ones() -> None:
    genotype = limited(None)
    assert genotype["normal"].skips == PDARTS["n_skip_unrestricted"]
    assert [as_sets(genotype[kind].nodes) for kind in DARTS_KINDS] == [
        released_sets(flat) for flat in PDARTS["unrestricted"]
    ]


@pytest.mark.parametrize("most", range(8))
def test_the_normal_cell_of_pdarts_with_few_skips_is_the_released_one(most: int) -> None:
    genotype = limited(most)
    assert as_sets(genotype["normal"].nodes) == released_sets(PDARTS[f"max_skip_{most}"])
    assert genotype["normal"].skips == most
    assert genotype["reduction"] == limited(None)["reduction"]


def test_the_dropout_on_skips_is_the_released_table() -> None:
    table = FACTS["discretisation"]["pdarts_skip_dropout"]["pdarts_p_0.4"]
    assert [skip_dropout(0.4, epoch, 25, 10) for epoch in range(25)] == pytest.approx(table, abs=5e-7)


# -- the size of supernets --


def spec_of(method: Method, phase: int = 0, operations: tuple[str, ...] = ()) -> SupernetSpec:
    """Return the supernet of a phase of the method."""
    space = method.searched(space_of(operations or CANDIDATES, TOPOLOGY))
    base = SupernetSpec(1, 3, 10, space)
    return supernet_spec(method.phases[phase], space, base, method)


SIZES = [
    ("darts", "darts_search_C16_L8", 0),
    ("pcdarts", "pcdarts_search_C16_L8", 0),
    ("pdarts", "pdarts_stage1_C16_L5_8ops", 0),
    ("pdarts", "pdarts_stage2_C16_L11_first_k", 1),
]


def with_edges(mixing: Mixing) -> Mixing:
    return two(Mixing, *(CellMixing(mixing[kind].weights_EO, torch.ones(14)) for kind in DARTS_KINDS))


@pytest.mark.parametrize(("name", "fact", "phase"), SIZES)
def test_the_supernet_of_a_method_has_the_released_parameters_and_multiply_adds(
    name: str, fact: str, phase: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly(monkeypatch)  # whose every convolution is a call that can be counted
    expected = FACTS["supernets"][fact]
    spec = spec_of(method_of(name), phase, tuple(expected.get("keep", ())))
    supernet, mixing = Supernet(spec).eval(), with_edges(equal_mixing(spec.space))
    mult_adds, _ = count_operations(supernet, lambda: supernet(torch.zeros(1, 3, 32, 32), mixing))
    assert count_parameters(supernet) == expected.get("params", expected.get("params_no_alphas"))
    assert mult_adds == expected["macs32"]


@pytest.mark.parametrize(("name", "fact"), [("darts", "darts_search_C16_L8"), ("pcdarts", "pcdarts_search_C16_L8")])
def test_every_cell_of_the_supernet_has_the_released_parameters(name: str, fact: str) -> None:
    with torch.device("meta"):
        supernet = Supernet(spec_of(method_of(name)))
    assert [count_parameters(cell) for cell in supernet.cells] == FACTS["supernets"][fact]["cells"]


def test_the_supernet_of_da2s_is_that_of_darts_as_none_has_no_parameters() -> None:
    with torch.device("meta"):
        supernet = Supernet(spec_of(method_of("da2s")))
    assert count_parameters(supernet) == FACTS["supernets"]["darts_search_C16_L8"]["params"]


@pytest.mark.parametrize(
    ("fact", "name", "channels", "cells"),
    [("darts_C4_L3", "darts", 4, 3), ("darts_C8_L5", "darts", 8, 5), ("pcdarts_C8_L5", "pcdarts", 8, 5)],
)
def test_small_supernets_have_the_released_parameters(fact: str, name: str, channels: int, cells: int) -> None:
    with torch.device("meta"):
        supernet = Supernet(spec_of(method_of(name, channels, cells)))
    assert count_parameters(supernet) == FACTS["small_nets"][fact]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [("pcdarts", [[14, 8], [14, 8], [14], [14]]), ("darts", [[14, 8], [14, 8]])],
)
def test_a_method_learns_logits_of_the_released_shapes(name: str, shapes: list[list[int]]) -> None:
    method = method_of(name)
    cells = [method.initialise(SPACES["darts"].cells.main, torch.Generator()) for _ in DARTS_KINDS]
    ours = [list(tensor.shape) for tensor in two(Logits, *cells).tensors()]
    assert sorted(ours) == sorted(shapes)
    fact = {"pcdarts": "arch", "darts": "alphas"}[name]
    assert FACTS["supernets"][f"{name}_search_C16_L8"][fact] == shapes

"""Every method searches the space of NAS-Bench-201, and all read their genotype by one rule."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import pytest
import torch

from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.discretizer import keep_edges
from nascommon.parts.penalty import edge_entropy
from nascommon.search.choose import choose_genotype
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.passes import Epoch, induced_pass
from nascommon.search.state import new_state
from nascommon.space.genotype import genotype_from_json
from nascommon.space.mixing import CellMixing, Mixing, one_hot
from nascommon.space.nasbench201_text import to_digits, to_string
from nascommon.space.space import SPACES
from tests.methods.smoke import METHODS, each_method, smoke_settings, smoke_spec
from tests.search.small import CPU, tiny_data

SPACE = SPACES["nasbench201"]
SIZE = SearchSize(channels=4, cells=3, space=SPACE)
DATA = tiny_data()
ONE_RULE: dict[str, dict[str, Any]] = {
    "pdarts": {"cells": (3, 3, 6), "most_skips": None},
    "fairdarts": {"threshold": 0.0},
}
"""What makes the methods that restrict their genotype read it like the others, as in presets/nasbench201.yaml."""
CASES = {
    **{name: (name, {}) for name in METHODS},
    "darts unrolled": ("darts", {"arch_gradient": {"kind": "unrolled"}}),
    "darts exact": ("darts", {"arch_gradient": {"kind": "unrolled_exact"}}),
}


def method_of(case: str, **changes: Any) -> Method:
    """Return the record of a case at smoke scale, with ``none`` among its candidates."""
    name, own = CASES[case]
    settings = smoke_settings(name, **{"none": True, **ONE_RULE.get(name, {}), **own, **changes})
    return REGISTRY[name].recipe(settings, SIZE)


@cache
def searched(case: str) -> Outcome:
    """Return a search of a few steps."""
    method = method_of(case)
    return run_search(method, smoke_spec(method, SPACE), DATA, seed=0, device=CPU, checkpoint=None, hooks=Hooks())


@pytest.mark.parametrize("case", each_method(CASES))
def test_it_searches_and_gives_a_cell_that_the_benchmark_has(case: str) -> None:
    outcome = searched(case)
    assert [row["epoch"] for row in outcome.history.rows] == list(range(method_of(case).epochs))
    genotype = choose_genotype(outcome.state, lambda _genotype: 0.0, seed=0)[0]
    assert len(to_digits(genotype)) == 6
    assert to_string(genotype_from_json(json.loads(json.dumps(genotype.to_json())))) == to_string(genotype)
    kept = one_hot(genotype, outcome.state.spec.space, like=outcome.state.logits.like)
    assert int(kept.main.weights_EO.sum()) == genotype.main.edges


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][0] != "random"])
def test_the_strongest_operation_wins_every_edge_and_none_is_one_of_them(case: str) -> None:
    method = method_of(case)
    draws = torch.Generator().manual_seed(4)
    for _ in range(5):
        weights_EO = torch.rand(6, 5, generator=draws)
        genotype = method.discretize(Mixing({"cell": CellMixing(weights_EO)}), SPACE)
        assert to_digits(genotype) == "".join(str(int(best)) for best in weights_EO.argmax(dim=1))


def test_edges_that_all_stay_have_no_entropy_in_da2s() -> None:
    method = method_of("da2s")
    state = new_state(method, smoke_spec(method, SPACE), seed=0, phase=0, device=CPU)
    edges_E = state.mixing().main.edges_E
    assert edges_E is not None
    assert torch.equal(edges_E, torch.ones(6))
    keep = keep_edges(8, SPACE)
    assert float(edge_entropy(state.logits.main, SPACE.cells.main, keep, 0.2)) == 0.0
    penalty = method.penalty(state.logits, SPACE, 1.0)
    (of_alpha, of_beta) = torch.autograd.grad(penalty, state.logits.tensors(), materialize_grads=True)
    assert float(of_alpha.abs().max()) > 0
    assert not of_beta.any()


def test_ecdarts_lets_the_edges_of_a_node_compete_for_every_operation() -> None:
    state = searched("ecdarts").state
    weights_EO = state.mixing().main.weights_EO
    only, *others = SPACE.cells.main.topology.incoming.values()
    for incoming in others:
        torch.testing.assert_close(weights_EO[list(incoming)].sum(dim=0), torch.ones(5))
    torch.testing.assert_close(weights_EO[list(only)].sum(dim=1), torch.ones(1))
    assert state.induced is not None


def test_an_induced_cell_without_any_edge_trains_what_is_left() -> None:
    method = method_of("ecdarts", cen=False)
    state = new_state(method, smoke_spec(method, SPACE), seed=0, phase=0, device=CPU)
    with torch.no_grad():
        state.logits.like[:, 0] = 3.0
    assert to_digits(state.genotype()) == "000000"
    row = induced_pass(state, DATA, Epoch(0, architecture_steps=True), lambda *_: None)
    assert math.isfinite(row["induced_train_loss"])
    assert state.induced is not None
    assert state.induced.genotype.main.edges == 0


def test_pdarts_grows_and_drops_candidates_from_phase_to_phase() -> None:
    outcome = searched("pdarts")
    assert [row["phase"] for row in outcome.history.rows] == [0, 1, 2]
    assert outcome.state.spec.cells == 6
    assert outcome.state.spec.space.cells.main.operations == 2


def test_pcdarts_mixes_a_part_of_the_channels_and_weighs_edges() -> None:
    state = searched("pcdarts").state
    assert state.spec.channel_divisor == 2
    edges_E = state.mixing().detach().main.edges_E
    assert edges_E is not None
    nodes = SPACE.cells.main.topology.incoming.values()
    assert [float(edges_E[list(edges)].sum()) for edges in nodes] == pytest.approx([1.0] * len(nodes))


def test_another_number_of_kept_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="kept_edges: 6 of 14 edges need"):
        method_of("da2s", kept_edges=6)

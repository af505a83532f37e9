"""Every registered space is searched, discretized and retrained from, by a method that learns and by chance."""

from __future__ import annotations

import math

import pytest

from nascommon.space.space import SPACES
from tests.stages.project import Project

NEEDS = {
    "nasbench201": {
        "retrain__network__auxiliary": False,
        "retrain__network__cells": 3,
        "transfer__data": None,
        "kendall_tau__deep_network": None,
    }
}
"""Settings without which the networks of a space are refused."""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["darts", "random"])
@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_space_goes_from_search_to_retraining(prepared: Project, name: str, method: str) -> None:
    prepared.change(search__space=name, search__nodes=None, search__method=method, **NEEDS.get(name, {}))
    prepared.stages("search", "discretize", "retrain")
    genotype = prepared.json("data/discretize/genotype.json")
    space = SPACES[name]
    for kind, cell in space.cells.items():
        topology = cell.topology
        for node, choices in enumerate(genotype[kind]["nodes"], start=topology.inputs):
            kept = min(cell.kept, len(topology.incoming[node]))
            assert len(choices) <= kept if cell.keeps_none else len(choices) == kept == 2
            for operation, source in choices:
                edge = next(i for i in topology.incoming[node] if topology.edges[i].source == source)
                assert operation in cell.candidates[edge]
    metrics = prepared.json("data/metrics/discretize.json")
    assert {f"skips_{kind}" for kind in space.cells} <= set(metrics)
    assert math.isfinite(metrics["discretization_gap"])
    assert math.isfinite(prepared.json("data/metrics/retrain.json")["train_loss"])
    assert prepared.json("data/search/space.json")["space"] == name

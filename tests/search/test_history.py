"""The tables of a search tell what its epochs were."""

from __future__ import annotations

import json

import pytest
import torch

from nascommon.search.history import OF_EPOCH, OF_SUPERNET, architecture_scalars
from nascommon.search.scores import supernet_scores
from nascommon.space.genotype import DARTS_KINDS, genotype_from_json
from nascommon.space.topology import Topology
from tests.search.small import tiny_spec
from tests.search.whole import DATA, Watched


def test_the_row_of_an_epoch_tells_what_its_state_is(two_phases: Watched) -> None:
    for row, state in zip(two_phases.outcome.history.rows, two_phases.states, strict=True):
        loss, accuracy = supernet_scores(state.supernet, state.scored(), DATA.validation.epoch(0))
        assert (row["valid_loss"], row["valid_accuracy"]) == pytest.approx((loss, accuracy), rel=1e-6)
        genotype = genotype_from_json(json.loads(row["genotype"]))
        assert genotype == state.method.discretize(state.mixing(), state.spec.space)
        for kind in DARTS_KINDS:
            assert row[f"skips_{kind}"] == genotype[kind].skips
            weights_EO = state.mixing()[kind].weights_EO.detach().double()
            entropy = -(weights_EO * weights_EO.log()).sum(1).mean()
            assert row[f"entropy_{kind}"] == pytest.approx(float(entropy), rel=1e-5)


def test_the_table_has_a_row_per_epoch_and_every_scalar(two_phases: Watched) -> None:
    table = two_phases.outcome.history.table()
    assert list(table.columns) == [
        "epoch",
        "phase",
        *OF_SUPERNET,
        "skips_normal",
        "skips_reduction",
        "entropy_normal",
        "entropy_reduction",
        *OF_EPOCH,
        "genotype",
        "warnings",
    ]
    assert len(table) == 4
    assert not table.isna().any().any()
    assert two_phases.outcome.history.seconds == pytest.approx(float(table["seconds"].sum()))
    assert (table["seconds"] > 0).all()


def test_the_architecture_table_has_every_alpha_and_weight_of_every_epoch(two_phases: Watched) -> None:
    topology = Topology(2)
    table = two_phases.outcome.history.architecture_table(tiny_spec().space)
    edges = len(topology.edges)
    assert len(table) == 2 * 2 * edges * 5 + 2 * 2 * edges * 3
    for epoch, state in enumerate(two_phases.states):
        for kind in DARTS_KINDS:
            part = table[(table["epoch"] == epoch) & (table["cell"] == kind)]
            alpha_EO = state.logits[kind].alpha_EO.detach()
            assert part["alpha"].tolist() == pytest.approx(alpha_EO.flatten().tolist())
            assert part["weight"].tolist() == pytest.approx(alpha_EO.softmax(-1).flatten().tolist(), rel=1e-5)
            names = [name for names in state.spec.space.candidates[kind] for name in names]
            assert part["operation"].tolist() == names
            places = [(e, *edge) for e, edge in enumerate(topology.edges) for _ in range(alpha_EO.shape[1])]
            assert list(zip(part["edge"], part["source"], part["node"], strict=True)) == places


def test_entropy_is_that_of_the_normalised_weights() -> None:
    snapshot = {"normal.weights_EO": torch.full((5, 8), 3.0), "reduction.weights_EO": torch.eye(5, 8)}
    cell = genotype_from_json(json.loads(json.dumps({
        "schema": 1,
        "normal": {"nodes": [[["skip_connect", 0], ["skip_connect", 1]]], "concat": [2]},
        "reduction": {"nodes": [[["max_pool_3x3", 0]]], "concat": [2]},
    })))  # fmt: skip
    assert architecture_scalars(snapshot, cell) == pytest.approx(
        {
            "skips_normal": 2,
            "entropy_normal": float(torch.tensor(8.0).log()),
            "skips_reduction": 0,
            "entropy_reduction": 0,
        }
    )

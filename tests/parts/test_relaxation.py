"""A relaxation turns logits into mixing weights."""

from __future__ import annotations

import torch

from nascommon.parts.logits import CellLogits
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import CellSpace
from nascommon.space.topology import Topology
from tests.oracles.rules import sinusoid


def space(nodes: int) -> CellSpace:
    topology = Topology(nodes)
    return CellSpace(topology, (CANDIDATES,) * len(topology.edges))


def test_softmax_makes_the_candidates_of_each_edge_compete() -> None:
    alpha_EO = sinusoid(14, 8, 0.0)
    mixing = softmax_over_operations(CellLogits(alpha_EO), space(4), 0.0)
    assert (mixing.edges_E, mixing.active) == (None, None)
    weights_EO = mixing.weights_EO
    for weights_O, alpha_O in zip(weights_EO, alpha_EO, strict=True):
        torch.testing.assert_close(weights_O, alpha_O.exp() / alpha_O.exp().sum())
    raised = alpha_EO.clone()
    raised[3] += 5
    torch.testing.assert_close(softmax_over_operations(CellLogits(raised), space(4), 1.0).weights_EO, weights_EO)


def test_softmax_keeps_the_graph_to_the_logits() -> None:
    alpha_EO = sinusoid(5, 8, 0.0).requires_grad_()
    weights_EO = softmax_over_operations(CellLogits(alpha_EO), space(2), 0.0).weights_EO
    weights_EO[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert alpha_EO.grad is not None
    assert (alpha_EO.grad[:, 0] > 0).all()
    assert (alpha_EO.grad[:, 1:] < 0).all()

"""A relaxation turns logits into mixing weights."""

from __future__ import annotations

import torch

from nascommon.parts.logits import CellLogits
from nascommon.parts.relaxation import softmax_over_operations
from nascommon.space.topology import Topology
from tests.oracles.rules import sinusoid


def test_softmax_makes_the_candidates_of_each_edge_compete() -> None:
    alpha_EO = sinusoid(14, 8, 0.0)
    weights_EO = softmax_over_operations(CellLogits(alpha_EO), Topology(), 0.0)
    for weights_O, alpha_O in zip(weights_EO, alpha_EO, strict=True):
        torch.testing.assert_close(weights_O, alpha_O.exp() / alpha_O.exp().sum())
    raised = alpha_EO.clone()
    raised[3] += 5
    torch.testing.assert_close(softmax_over_operations(CellLogits(raised), Topology(), 1.0), weights_EO)


def test_softmax_keeps_the_graph_to_the_logits() -> None:
    alpha_EO = sinusoid(5, 8, 0.0).requires_grad_()
    softmax_over_operations(CellLogits(alpha_EO), Topology(2), 0.0)[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert alpha_EO.grad is not None
    assert (alpha_EO.grad[:, 0] > 0).all()
    assert (alpha_EO.grad[:, 1:] < 0).all()

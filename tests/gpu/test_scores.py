"""Scores of a supernet and signs of its collapse are on a GPU, which computes them abreast, what they are on a CPU."""

from __future__ import annotations

import pytest
import torch

from nascommon.search.scores import recalibrate, recalibrated_scores, supernet_scores
from nascommon.search.watch import hessian_eigenvalue
from tests.gpu.small import on_devices, pairs, smoke, state_of
from tests.methods.smoke import METHODS
from tests.space.gpu import as_on_a_gpu

CPU = torch.device("cpu")
TWO, THREE = 2, 3
CLOSE = 5e-3
"""Products of float32 on a GPU have ten bits (TF32)."""


def seen(name: str, device: torch.device) -> list[float]:
    """Return both losses, and the largest eigenvalue of the Hessian where logits are learned."""
    method = smoke(name)
    state, batches = state_of(method, device), [batch for pair in pairs(device, THREE) for batch in pair]
    mixing = state.scored()  # no step is taken: those that draw would draw something else there
    recalibrate(state.supernet, mixing, batches[:TWO])
    found = [
        supernet_scores(state.supernet, mixing, batches)[0],
        recalibrated_scores(state.supernet, mixing, batches[-1:], batches)[0],
    ]
    return found if method.arch_gradient is None else [*found, hessian_eigenvalue(state, batches[0])]


@on_devices("name", METHODS, everyday=["darts", "pcdarts"])
def test_scores_and_signs_of_collapse_are_those_of_a_cpu(
    device: torch.device, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = seen(name, CPU)
    if device.type == "cpu":
        as_on_a_gpu(monkeypatch)
    assert seen(name, device) == pytest.approx(plain, rel=CLOSE)
    assert plain[0] != pytest.approx(plain[1], rel=CLOSE)

"""A stand-alone network computed in waves on a GPU is the one that is computed operation by operation there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.gate import exact_numbers
from nascommon.space import network as module
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.published import PUBLISHED

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
CLOSE: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.1}
"""Allowed distance as a share of the length, of all gradients together."""


def results(name: str, precision: Precision) -> list[Tensor]:
    torch.manual_seed(0)
    spec = NetworkSpec(12, 4, auxiliary=False, precision=precision)
    network = Network(PUBLISHED[name], spec).to(device="cuda", memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    draws = torch.Generator().manual_seed(0)
    logits = network(torch.randn(8, 3, 16, 16, generator=draws).cuda())
    logits.square().sum().backward()
    gradients = torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])
    running = torch.cat([each.flatten().float() for each in network.buffers()])
    return [logits.detach(), gradients, running]


@pytest.mark.parametrize("name", ["DARTS_V1", "DARTS_V2", "PDARTS"])
@pytest.mark.parametrize("precision", CLOSE)
def test_outputs_gradients_and_statistics_are_the_same(
    name: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exact_numbers():
        in_waves = results(name, precision)
        monkeypatch.setattr(module, "runs_abreast", lambda _: False)
        one_by_one = results(name, precision)
    for mine, other in zip(in_waves, one_by_one, strict=True):
        assert (mine - other).norm() < CLOSE[precision] * other.norm()

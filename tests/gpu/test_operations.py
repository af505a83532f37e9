"""Every candidate computes and differentiates on a GPU as on a CPU in float64, in the layout that all maps have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nascommon.kernels.average import AveragePool
from nascommon.space.operations import OPERATIONS, search_operation
from tests.gpu.faults import average_without_padding
from tests.gpu.small import on_devices

NAMES = [name for name in OPERATIONS if name not in ("none", "noise")]
PLACES = [(name, channels, stride) for name in NAMES for channels in (4, 16) for stride in (1, 2)]
"""(operation, channels, stride); four channels are those that PC-DARTS mixes of sixteen."""
CPU = torch.device("cpu")
CLOSE = 1e-4
"""Allowed distance of a gradient in float32 as a share of its length: 1e-6 on a CPU."""


def found(name: str, channels: int, stride: int, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """Return the output, the gradient of the input and those of all kernels."""
    torch.manual_seed(0)
    operation = search_operation(name, channels, stride)
    x_BCHW = torch.randn(4, channels, 12, 12).to(device, dtype, memory_format=torch.channels_last).requires_grad_()
    operation.to(device, dtype, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    out = operation(x_BCHW)
    slope = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    slope = slope.to(device, dtype, memory_format=torch.channels_last)
    return [out.detach(), *torch.autograd.grad(out, [x_BCHW, *operation.parameters()], slope)]


def apart(ours: list[Tensor], exact: list[Tensor]) -> float:
    """Return the largest distance as a share of the length of what is exact."""
    return max(float((mine.cpu() - right).norm() / right.norm()) for mine, right in zip(ours, exact, strict=True))


@on_devices("place", PLACES, everyday=PLACES)
def test_every_candidate_is_that_of_a_cpu_in_float64(device: torch.device, place: tuple[str, int, int]) -> None:
    assert apart(found(*place, device, torch.float32), found(*place, CPU, torch.float64)) < CLOSE


def test_a_gradient_that_forgets_the_padding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = found("avg_pool_3x3", 4, 1, CPU, torch.float64)
    monkeypatch.setattr(AveragePool, "forward", average_without_padding)
    assert apart(found("avg_pool_3x3", 4, 1, CPU, torch.float32), exact) > CLOSE

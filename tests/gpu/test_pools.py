"""The pools of a GPU give there what plain operators give, beside banks that read the same map or alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.gate import exact_numbers
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.pools import Pools

CLOSE = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def results(x: Tensor, kernels: Tensor, stride: int, slope: Tensor | None = None) -> list[Tensor]:
    pools = Pools((nn.MaxPool2d(3, stride, 1), AveragePool(3, stride, 1)))
    bank = Bank((Kind(3, 2),), stride)
    out = beside([(bank, x, kernels)] if len(kernels) else [], (pools, x))
    slope = torch.ones_like(out) if slope is None else slope
    return [out, slope, torch.autograd.grad(out, x, slope)[0]]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("with_bank", [True, False])
@pytest.mark.parametrize(
    ("channels", "dtype"), [(4, torch.bfloat16), (36, torch.bfloat16), (16, torch.float32), (3, torch.float16)]
)
def test_output_and_gradient_are_the_plain_ones(
    stride: int, with_bank: bool, channels: int, dtype: torch.dtype
) -> None:
    draws = torch.Generator("cuda").manual_seed(channels)
    pixels = torch.randint(-4, 5, (3, 17, 10, channels), generator=draws, device="cuda")  # many are equal
    x = pixels.to(dtype).permute(0, 3, 1, 2).requires_grad_()
    kernels = torch.randn(9 * channels if with_bank else 0, generator=draws, device="cuda")
    out = results(x, kernels, stride)[0]
    slope = torch.randn(out.shape, generator=draws, device="cuda").to(dtype)
    found = results(x, kernels, stride, slope)
    with exact_numbers():
        expected = results(x.detach().double().requires_grad_(), kernels.double(), stride, slope.double())
    for mine, other in zip(found, expected, strict=True):
        assert (mine.double() - other).norm() < CLOSE[dtype] * other.norm()

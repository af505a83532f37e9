"""A product with blocks is a grouped pointwise convolution."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from nascommon.kernels.pointwise import blocks, halves_as_product, product


@pytest.mark.parametrize(("groups", "channels_in", "channels"), [(1, 3, 5), (2, 3, 4), (4, 1, 1), (3, 4, 2)])
def test_a_product_with_blocks_is_a_grouped_convolution(groups: int, channels_in: int, channels: int) -> None:
    draws = torch.Generator().manual_seed(0)
    x_BCHW = torch.randn(2, groups * channels_in, 3, 5, dtype=torch.float64, generator=draws)
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    kernels = torch.randn(groups * channels, channels_in, 1, 1, dtype=torch.float64, generator=draws).requires_grad_()
    out = product(x_BCHW, blocks(kernels, groups))
    plain = functional.conv2d(x_BCHW, kernels, groups=groups)
    torch.testing.assert_close(out, plain, rtol=1e-12, atol=1e-12)
    assert out.is_contiguous(memory_format=torch.channels_last)
    found = [torch.autograd.grad((each**3).sum(), [x_BCHW, kernels]) for each in (out, plain)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_its_derivatives_are_right() -> None:
    draws = torch.Generator().manual_seed(0)
    x_BCHW = torch.randn(2, 4, 2, 2, dtype=torch.float64, generator=draws, requires_grad=True)
    kernels = torch.randn(6, 2, 1, 1, dtype=torch.float64, generator=draws, requires_grad=True)

    def forward(x_BCHW: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
        return product(x_BCHW, blocks(kernels, 2))

    assert gradcheck(forward, (x_BCHW, kernels))
    assert gradgradcheck(forward, (x_BCHW, kernels))


@pytest.mark.parametrize("pairs", [1, 3])
def test_halves_as_a_product_are_two_convolutions_of_every_second_pixel(pairs: int) -> None:
    draws = torch.Generator().manual_seed(0)
    whole_BCHW = torch.randn(3, 4, 6, 4, dtype=torch.float64, generator=draws)
    whole_BCHW = whole_BCHW.contiguous(memory_format=torch.channels_last)
    x_BCHW = whole_BCHW[1:].requires_grad_()  # whose memory begins elsewhere
    kernels = [
        tuple(torch.randn(3, 4, 1, 1, dtype=torch.float64, generator=draws).requires_grad_() for _ in range(2))
        for _ in range(pairs)
    ]
    out = product(*halves_as_product(x_BCHW, [(even, odd) for even, odd in kernels]))
    plain = torch.cat(
        [
            half
            for even, odd in kernels
            for half in (
                functional.conv2d(x_BCHW, even, stride=2),
                functional.conv2d(x_BCHW[:, :, 1:, 1:], odd, stride=2),
            )
        ],
        dim=1,
    )
    torch.testing.assert_close(out, plain, rtol=1e-12, atol=1e-12)
    assert out.is_contiguous(memory_format=torch.channels_last)
    wanted = [x_BCHW, *(kernel for pair in kernels for kernel in pair)]
    slopes = [torch.autograd.grad((each**3).sum(), wanted, create_graph=True) for each in (out, plain)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)
    assert slopes[0][0].is_contiguous(memory_format=torch.channels_last)
    seconds = [torch.autograd.grad(sum((each**2).sum() for each in slope), wanted) for slope in slopes]  # type: ignore[arg-type]
    torch.testing.assert_close(*seconds, rtol=1e-10, atol=1e-10)

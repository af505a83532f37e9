"""The mean of a window counts the pixels within the map alone, and so does its gradient, on a GPU, too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels import average
from nascommon.kernels.average import AveragePool

SIZES = [(3, 1, 1, 8, 8), (3, 2, 1, 8, 8), (3, 2, 1, 7, 9), (5, 3, 2, 11, 8), (3, 1, 0, 5, 5)]
"""(side of the window, stride, padding, H, W)."""


@pytest.fixture(params=["cpu", "as on a gpu"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way of a CPU, or that of a GPU on a CPU."""
    if request.param != "cpu":
        monkeypatch.setattr(average, "on_cpu", lambda _: False)


def maps(height: int, width: int, channels: int = 4) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, height, width, dtype=torch.float64, generator=draws)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize(("kernel", "stride", "padding", "height", "width"), SIZES)
def test_mean_and_gradient_are_those_of_the_pixels_within(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    x = maps(height, width)
    out, expected = AveragePool(kernel, stride, padding)(x), mean_within(x, kernel, stride, padding)
    slope = torch.randn_like(expected)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each, x, slope) for each in (out, expected)))


def mean_within(x_BCHW: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Sum and count the pixels of every window by convolutions of ones, without any pool."""
    ones = torch.ones(1, 1, kernel, kernel, dtype=x_BCHW.dtype)
    total, count = (
        functional.conv2d(each.flatten(0, 1)[:, None], ones, stride=stride, padding=padding)
        for each in (x_BCHW, torch.ones_like(x_BCHW))
    )
    return (total / count).view(*x_BCHW.shape[:2], *total.shape[2:])


def test_the_gradient_can_be_differentiated_again() -> None:
    assert torch.autograd.gradgradcheck(AveragePool(3, 2, 1), maps(4, 5, channels=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_and_gradients_are_channels_last(stride: int) -> None:
    x = maps(8, 8).detach().requires_grad_()
    out = AveragePool(3, stride, 1)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert gradient.stride(1) == 1

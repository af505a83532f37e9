"""The fast depthwise convolution is the plain one: same output, same gradients, same second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels import depthwise
from nascommon.space.operations import Convolution, StridedDilatedConv

SHAPES = [
    (3, 1, 8, 8),
    (5, 1, 8, 8),
    (7, 1, 8, 8),
    (3, 2, 8, 8),
    (5, 2, 8, 8),
    (5, 2, 7, 9),
    (3, 2, 5, 4),
    (3, 3, 7, 7),
]


def plain(x_BCHW: Tensor, kernel_C1kk: Tensor, dilation: int) -> Tensor:
    padding = dilation * (kernel_C1kk.shape[-1] // 2)
    return functional.conv2d(x_BCHW, kernel_C1kk, padding=padding, dilation=dilation, groups=len(kernel_C1kk))


def inputs(side: int, height: int, width: int, channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(side * height + width)
    shapes = [(2, channels, height, width), (channels, 1, side, side), (2, channels, height, width)]
    x, kernel, slope = (torch.randn(shape, dtype=torch.float64, generator=draws) for shape in shapes)
    return x.requires_grad_(), kernel.requires_grad_(), slope


@pytest.fixture(autouse=True)
def always_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "LANES", 1)
    monkeypatch.setattr(depthwise, "FEWEST_NUMBERS", 1)


@pytest.mark.parametrize(("side", "dilation", "height", "width"), SHAPES)
def test_output_and_gradients_equal_those_of_the_plain_convolution(
    side: int, dilation: int, height: int, width: int
) -> None:
    x, kernel, slope = inputs(side, height, width)
    ours, theirs = depthwise.depthwise(x, kernel, dilation), plain(x, kernel, dilation)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for wanted in ((x,), (kernel,), (x, kernel)):
        mine = torch.autograd.grad(ours, wanted, slope, retain_graph=True)
        other = torch.autograd.grad(theirs, wanted, slope, retain_graph=True)
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("side", "dilation"), [(3, 1), (5, 1), (5, 2)])
def test_second_derivatives_equal_those_of_the_plain_convolution(side: int, dilation: int) -> None:
    x, kernel, slope = inputs(side, 6, 6)
    found = []
    for convolve in (depthwise.depthwise, plain):
        first = torch.autograd.grad((convolve(x, kernel, dilation) ** 2 * slope).sum(), (x, kernel), create_graph=True)
        found.append(torch.autograd.grad(sum((part**3).sum() for part in first), (x, kernel)))  # type: ignore[arg-type]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("limit", ["LANES", "FEWEST_NUMBERS"])
def test_the_gradient_of_a_small_kernel_takes_the_plain_way(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, limit, 10**6)
    x, kernel, slope = inputs(5, 8, 8)
    (ours,) = torch.autograd.grad(depthwise.depthwise(x, kernel, 2), kernel, slope)
    (theirs,) = torch.autograd.grad(plain(x, kernel, 2), kernel, slope)
    assert torch.equal(ours, theirs)


def test_a_kernel_that_needs_no_gradient_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel, slope = inputs(3, 6, 6)

    def refuse(*_arguments: object) -> Tensor:
        raise AssertionError("the gradient of the kernel was computed")

    monkeypatch.setattr(depthwise, "_kernel_gradient", refuse)
    torch.autograd.grad(depthwise.depthwise(x, kernel.detach()), x, slope)


def test_autocast_and_mixed_precision_take_the_plain_way() -> None:
    x, kernel, _ = inputs(3, 6, 6)
    assert depthwise.fast_path_applies(x, kernel)
    assert depthwise.fast_path_applies(x.to("meta"), kernel.to("meta"))
    assert not depthwise.fast_path_applies(x, kernel.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not depthwise.fast_path_applies(x, kernel)


@pytest.mark.parametrize(("stride", "dilation", "fast"), [(1, 1, True), (1, 2, True), (2, 1, False)])
def test_a_convolution_module_is_the_one_of_torch(stride: int, dilation: int, fast: bool) -> None:
    x, _, _ = inputs(5, 8, 8, channels=4)
    ours = Convolution(4, 4, 5, stride, 2 * dilation, dilation, groups=4, bias=False).double()
    assert ours.keeps_size == fast
    theirs = functional.conv2d(x, ours.weight, None, stride, 2 * dilation, dilation, 4)
    torch.testing.assert_close(ours(x), theirs, rtol=0, atol=1e-12)


def test_a_strided_dilated_convolution_is_the_one_of_torch() -> None:
    x, _, _ = inputs(5, 8, 8, channels=4)
    ours = StridedDilatedConv(4, 4, 5, 2, 4, 2, groups=4, bias=False).double()
    theirs = functional.conv2d(x, ours.weight, None, 2, 4, 2, 4)
    torch.testing.assert_close(ours(x), theirs, rtol=0, atol=1e-12)

"""A batch norm of folded pixels is the plain one: same output, statistics, gradients and second derivatives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.timing import operations
from nascommon.cost.live_bytes import META, peak_bytes, tensor_bytes
from nascommon.kernels import batch_norm
from nascommon.kernels.batch_norm import BatchNorm, folds, normalised, update_running_statistics

SHAPES = [(2, 36, 8, 8), (4, 4, 8, 8), (3, 20, 8, 4), (2, 150, 4, 4), (8, 1, 8, 8), (2, 6, 16, 8)]
Affine = tuple[Tensor | None, Tensor | None]
SCALES = ["none", "scale", "both"]


@pytest.fixture(autouse=True)
def always_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "FEWEST_PIXELS", 1)


def inputs(shape: tuple[int, ...], scales: str) -> tuple[Tensor, Affine]:
    draws = torch.Generator().manual_seed(sum(shape))
    x = 2 + 3 * torch.randn(shape, dtype=torch.float64, generator=draws)
    scale, shift = (torch.randn(shape[1], dtype=torch.float64, generator=draws).requires_grad_() for _ in range(2))
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    affine: dict[str, Affine] = {"none": (None, None), "scale": (scale, None), "both": (scale, shift)}
    return x, affine[scales]


def plain(x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    out = (x - mean[:, None, None]) / (variance[:, None, None] + eps).sqrt()
    out = out if scale is None else out * scale[:, None, None]
    out = out if shift is None else out + shift[:, None, None]
    return out, mean, x.var((0, 2, 3))


def terms(x: Tensor, scale: Tensor | None, slope: Tensor, eps: float) -> Tensor:
    """Return what the gradient of x begins with; of few pixels most of it cancels, but not its rounding."""
    by = (x.var((0, 2, 3), correction=0) + eps).rsqrt()
    return slope * (by if scale is None else by * scale)[:, None, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scales", SCALES)
def test_output_statistics_and_gradients_equal_those_of_the_definition(shape: tuple[int, ...], scales: str) -> None:
    x, affine = inputs(shape, scales)
    assert folds(x)
    ours, theirs = (function(x, *affine, 1e-3) for function in (normalised, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    slope = torch.randn(shape, dtype=torch.float64)  # in the other layout, too
    wanted = [x, *(tensor for tensor in affine if tensor is not None)]
    for some in [wanted, wanted[1:], wanted[:1]]:
        if some:
            mine, other = (torch.autograd.grad(out[0], some, slope, retain_graph=True) for out in (ours, theirs))
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scales", SCALES)
def test_second_derivatives_equal_those_of_the_definition(scales: str) -> None:
    x, affine = inputs((2, 6, 4, 4), scales)
    wanted = [x, *(tensor for tensor in affine if tensor is not None)]
    found = []
    for function in (normalised, plain):
        out = function(x, *affine, 1e-3)[0]
        slopes = torch.autograd.grad(out.sin().sum(), wanted, create_graph=True)
        found.append(torch.autograd.grad(torch.stack([slope.square().sum() for slope in slopes]).sum(), wanted))
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


def test_a_large_mean_does_not_spoil_the_variance() -> None:
    x = (1000 + torch.randn(4, 36, 16, 16)).contiguous(memory_format=torch.channels_last)
    _, mean, variance = normalised(x, None, None, 1e-5)
    torch.testing.assert_close(mean.double(), x.double().mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), x.double().var((0, 2, 3)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("edges", [1, 3])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_norms_side_by_side_do_what_each_does_alone(edges: int, affine: bool, momentum: float | None) -> None:
    torch.manual_seed(0)
    ours = [BatchNorm(6, affine=affine, momentum=momentum).double() for _ in range(edges)]
    theirs = [nn.BatchNorm2d(6, affine=affine, momentum=momentum).double() for _ in range(edges)]
    for mine, other in zip(ours, theirs, strict=True):
        if affine:
            nn.init.normal_(mine.weight)
            nn.init.normal_(mine.bias)
        other.load_state_dict(mine.state_dict())
    for _ in range(3):
        x = torch.randn(4, 6 * edges, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
        assert folds(x)
        expected = torch.cat([norm(part) for norm, part in zip(theirs, x.chunk(edges, dim=1), strict=True)], dim=1)
        torch.testing.assert_close(BatchNorm.side_by_side(ours, x), expected, rtol=0, atol=1e-12)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.running_mean, other.running_mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(mine.running_var, other.running_var, rtol=0, atol=1e-12)
        mine.eval()
        other.eval()
    x = torch.randn(4, 6 * edges, 4, 4, dtype=torch.float64)
    expected = torch.cat([norm(part) for norm, part in zip(theirs, x.chunk(edges, dim=1), strict=True)], dim=1)
    torch.testing.assert_close(BatchNorm.side_by_side(ours, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 32, 8, 8),  # fills registers as it is
        torch.zeros(2, 36, 8, 8),  # in the other layout
        torch.zeros(1, 36, 3, 3),  # pixels cannot be grouped
        torch.zeros(2, 36, 8, 8, dtype=torch.bfloat16),
    ],
    ids=["aligned", "layout", "odd", "bfloat16"],
)
def test_everything_else_is_left_to_the_library(x: Tensor) -> None:
    if x.shape[1] == 32 or x.dtype == torch.bfloat16 or x.shape[2] == 3:
        x = x.contiguous(memory_format=torch.channels_last)
    assert not folds(x)
    assert normalised(x, None, None, 1e-5)[0].shape == x.shape


def test_running_statistics_are_cut_out_of_those_of_the_batch_and_moved_all_at_once() -> None:
    """A CPU calls for every operator: here two cuts and one move, however many norms there are."""
    norms = [BatchNorm(4, affine=False) for _ in range(5)]
    mean, variance = torch.randn(20), torch.rand(20)  # of all five
    assert operations(lambda: update_running_statistics(norms, [mean], [variance])) == 3


def test_the_output_may_be_changed_in_place() -> None:
    x, affine = inputs((2, 36, 8, 8), "both")
    found = [
        torch.autograd.grad(relu(function(x, *affine, 1e-3)[0]).square().sum(), x)[0]
        for function, relu in ((normalised, torch.relu_), (plain, torch.relu))
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


def test_small_inputs_are_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2, 36, 8, 8).contiguous(memory_format=torch.channels_last)
    assert folds(x)
    monkeypatch.setattr(batch_norm, "FEWEST_PIXELS", 2 * 8 * 8 + 1)
    assert not folds(x)


def test_a_step_without_data_takes_as_much_memory_as_one_with_data() -> None:
    def step(device: torch.device) -> None:
        x = torch.empty(8, 36, 16, 16, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()
        scale = torch.ones(36, device=device, requires_grad=True)
        normalised(functional.relu(x), scale, None, 1e-5)[0].sum().backward()  # type: ignore[no-untyped-call]

    found = [peak_bytes(partial(step, device), tensor_bytes) for device in (META, torch.device("cpu"))]
    assert found[0] == pytest.approx(found[1], rel=0.05)

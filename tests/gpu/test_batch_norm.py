"""The batch norm of a GPU is there the one of the definition in float64, eagerly and in a CUDA graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.gate import exact_numbers
from nascommon.kernels import batch_norm_launch
from nascommon.kernels.batch_norm import BatchNorm, each_normalised, normalised
from tests.kernels.test_batch_norm import plain, terms

EPS = 1e-5
CLOSE = {torch.bfloat16: 8e-3, torch.float16: 1e-3, torch.float32: 5e-6}
"""Allowed distance of a map as a share of its length; statistics and sums over pixels are float32 in any case."""
OF_SUMS = 2e-5
Given = tuple[Tensor, Tensor | None, Tensor | None]

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def given(
    shape: tuple[int, int, int, int], dtype: torch.dtype, affine: str = "", layout: str = "dense", mean: float = 0.5
) -> tuple[Given, Tensor]:
    """Return map, scale and shift, and a gradient of the output."""
    B, C, H, W = shape
    draws = torch.Generator("cuda").manual_seed(C)
    wide = torch.randn(B, H, W, C + 3 * (layout == "part"), generator=draws, device="cuda").to(dtype) + mean
    x = wide.permute(0, 3, 1, 2)[:, -C:]
    x = x.contiguous() if layout == "planes" else x
    scale, shift = (
        torch.randn(C, generator=draws, device="cuda").requires_grad_() if name in affine else None for name in "sb"
    )
    slope = torch.randn(B, H, W, C, generator=draws, device="cuda").to(dtype).permute(0, 3, 1, 2)
    return (x.requires_grad_(), scale, shift), slope


def results(tensors: Given, slope: Tensor) -> list[Tensor]:
    out, mean, variance = normalised(*tensors, EPS)
    wanted = [each for each in tensors if each is not None]
    return [out.detach(), mean, variance, *torch.autograd.grad(out, wanted, slope)]


def compare(tensors: Given, slope: Tensor, mean: float = 0.5) -> None:
    assert batch_norm_launch.launches(tensors[0])
    found = results(tensors, slope)
    x, scale, shift = (None if each is None else each.detach().double().requires_grad_() for each in tensors)
    assert x is not None
    out, *moments = plain(x, scale, shift, EPS)
    wanted = [each for each in (x, scale, shift) if each is not None]
    right = [out, *moments, *torch.autograd.grad(out, wanted, slope.double())]
    lengths = [other.norm() for other in right]
    lengths[3] = torch.maximum(lengths[3], terms(x, scale, slope, EPS).norm())
    for place, (mine, other) in enumerate(zip(found, right, strict=True)):
        is_map = place in (0, 3)
        most = max(CLOSE[slope.dtype] if is_map else OF_SUMS, 2e-7 * abs(mean))
        assert (mine.double() - other).norm() < most * lengths[place], place  # false for NaN


@pytest.mark.parametrize("channels", [*range(1, 65), 288, 1152])
@pytest.mark.parametrize(("dtype", "affine"), [(torch.bfloat16, ""), (torch.float32, "sb")])
def test_every_number_of_channels_is_normalised(channels: int, dtype: torch.dtype, affine: str) -> None:
    compare(*given((3, channels, 9, 7), dtype, affine))


@pytest.mark.parametrize("layout", ["dense", "part", "planes"])
@pytest.mark.parametrize("affine", ["", "s", "b", "sb"])
@pytest.mark.parametrize("dtype", CLOSE)
def test_every_layout_is_normalised(layout: str, affine: str, dtype: torch.dtype) -> None:
    for shape in ((2, 12, 1, 1), (1, 12, 1, 2), (5, 36, 17, 13), (2, 130, 33, 31)):
        compare(*given(shape, dtype, affine, layout))


@pytest.mark.parametrize("mean", [-100.0, 1000.0])
def test_a_large_mean_costs_no_more_digits_than_it_must(mean: float) -> None:
    compare(*given((4, 36, 32, 32), torch.float32, "sb", mean=mean), mean)


@pytest.mark.parametrize(
    "shape",
    [(64, 16, 32, 32), (64, 288, 32, 32), (64, 576, 16, 16), (64, 1152, 8, 8), (256, 8, 32, 32), (256, 72, 32, 32),
     (96, 36, 32, 32), (96, 180, 32, 32), (96, 720, 8, 8), (96, 768, 1, 1)],
)  # fmt: skip
def test_maps_of_a_search_and_of_a_training_are_normalised(shape: tuple[int, int, int, int]) -> None:
    compare(*given(shape, torch.bfloat16, "sb"))


@pytest.mark.parametrize("batches", [2, 3])
@pytest.mark.parametrize(("dtype", "channels"), [(torch.bfloat16, 288), (torch.float32, 5)])
def test_batches_have_statistics_of_their_own(batches: int, dtype: torch.dtype, channels: int) -> None:
    (x, _, _), slope = given((6, channels, 17, 13), dtype)
    assert batch_norm_launch.launches(x, batches)
    out, *moments = each_normalised(x, batches, EPS)
    found = [out, *torch.autograd.grad(out, x, slope)], moments
    apart = [
        results((each.detach().requires_grad_(), None, None), own)
        for each, own in zip(x.chunk(batches), slope.chunk(batches), strict=True)
    ]
    out, mean, variance, gradient = (torch.cat(each) for each in zip(*apart, strict=True))
    for mine, other in zip((*found[0], *found[1]), (out, gradient, mean, variance), strict=True):
        most = CLOSE[dtype] if mine.dim() > 1 else OF_SUMS
        assert (mine - other).norm() < most * other.norm()  # false for NaN


@pytest.mark.parametrize("affine", [False, True])
def test_running_statistics_are_moved_as_those_of_pytorch(affine: bool) -> None:
    ours = [BatchNorm(16, affine=affine).cuda() for _ in range(3)]
    theirs = torch.nn.BatchNorm2d(48, affine=affine).cuda().double()
    alone = BatchNorm(48, affine=affine).cuda()
    for step in range(3):
        x = step + torch.randn(8, 48, 9, 7, device="cuda").contiguous(memory_format=torch.channels_last)
        BatchNorm.side_by_side(ours, x)
        alone(x)
        theirs(x.double())
    for name in ("running_mean", "running_var"):
        for found in (torch.cat([getattr(norm, name) for norm in ours]), getattr(alone, name)):
            torch.testing.assert_close(found.double(), getattr(theirs, name), rtol=1e-5, atol=1e-6)


def test_places_beyond_32_bits_are_found() -> None:
    """The gradient may be part of a map whose places do not fit into 32 bits."""
    tensors, _ = given((64, 4, 1024, 1024), torch.bfloat16)
    wide = torch.randn(64, 1024, 1024, 33, device="cuda", dtype=torch.bfloat16)
    assert wide.numel() > 2**31
    slope = wide.permute(0, 3, 1, 2)[:, -4:]
    found, dense = (results(tensors, each)[-1] for each in (slope, slope.contiguous(memory_format=torch.channels_last)))
    assert torch.equal(found, dense)


def test_the_same_numbers_come_every_time_and_nothing_is_left_unwritten() -> None:
    tensors, slope = given((64, 40, 32, 32), torch.bfloat16, "sb")
    torch.use_deterministic_algorithms(True)  # which fills with NaN what nobody has written
    try:
        first, second = results(tensors, slope), results(tensors, slope)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.isfinite(each).all() for each in first)
    assert all(torch.equal(mine, other) for mine, other in zip(first, second, strict=True))


def test_a_graph_replays_them() -> None:
    tensors, slope = given((8, 36, 16, 16), torch.bfloat16, "sb")
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), exact_numbers():
        results(tensors, slope)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = results(tensors, slope)
    with torch.no_grad():
        tensors[0].copy_(torch.randn_like(tensors[0]))
    graph.replay()
    assert all(torch.equal(mine, other) for mine, other in zip(recorded, results(tensors, slope), strict=True))

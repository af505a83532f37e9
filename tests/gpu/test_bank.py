"""The depthwise kernels of a GPU give there what plain operators give, eagerly and in a CUDA graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.gate import exact_numbers
from nascommon.kernels.bank import Bank, Kind, beside
from tests.kernels import chain

BANKS = [
    Bank((Kind(3, 1, 4), Kind(5, 1, 4), Kind(3, 2, 3), Kind(5, 2, 1))),
    Bank((Kind(3, 1, 2), Kind(7, 1, 1), Kind(5, 2, 2)), stride=2),
    Bank((Kind(3, 1), Kind(5, 1)), shared=False),
]
CLOSE = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


def results(bank: Bank, x: Tensor, kernels: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    out = beside([(bank, x, kernels)])
    return out, *torch.autograd.grad(out, (x, kernels), slope)


def given(
    bank: Bank, channels: int, dtype: torch.dtype, size: tuple[int, int, int] = (3, 17, 10)
) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator("cuda").manual_seed(channels)
    taken = channels if bank.shared else channels * len(bank.kinds)

    def pixels(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, device="cuda").to(dtype).permute(0, 3, 1, 2)

    x = pixels(*size, taken).requires_grad_()
    kernels = torch.randn(bank.taps * channels, generator=draws, device="cuda").requires_grad_()
    B, D, H, W = bank.size(x)
    return x, kernels, pixels(B, H, W, D)


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize(
    ("channels", "dtype"), [(4, torch.bfloat16), (36, torch.bfloat16), (16, torch.float32), (3, torch.float16)]
)
def test_output_and_gradients_are_the_plain_ones(bank: Bank, channels: int, dtype: torch.dtype) -> None:
    compare(bank, *given(bank, channels, dtype))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "side"), [(16, 32), (64, 8)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_they_are_at_the_sizes_of_a_search_too(stride: int, channels: int, side: int, dilation: int) -> None:
    bank = Bank((Kind(3, dilation, 4), Kind(5, dilation, 3)), stride)
    compare(bank, *given(bank, channels, torch.bfloat16, (64, side, side)))


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize(("channels", "size"), [(16, (6, 17, 10)), (36, (128, 8, 8))])
def test_batches_with_kernels_of_their_own_are_the_plain_ones(
    bank: Bank, channels: int, size: tuple[int, int, int]
) -> None:
    x, kernels, slope = given(bank, channels, torch.bfloat16, size)
    compare(bank, x, torch.cat([kernels, kernels.flip(0)]).detach().requires_grad_(), slope)


@pytest.mark.parametrize("way", [chain.outputs, chain.node_outputs])
@pytest.mark.parametrize(("channels", "times"), [(4, 4), (16, 1), (3, 2)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_readers_of_a_state_find_the_plain_gradients(
    way: chain.Way, channels: int, times: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(channels)
    given = chain.inputs(channels, times * channels, (17, 10), dtype, "cuda")
    exact = [each.detach().double().requires_grad_() for each in given]
    outs = way(channels, given)
    slopes = chain.slopes(outs)
    found = (*outs, *torch.autograd.grad(outs, given, slopes))
    with exact_numbers():
        wide = way(channels, exact)
        expected = (*wide, *torch.autograd.grad(wide, exact, [each.double() for each in slopes]))
    for mine, other in zip(found, expected, strict=True):
        assert (mine.double() - other).norm() < 2 * CLOSE[dtype] * other.norm()  # rounded after every reader


def compare(bank: Bank, x: Tensor, kernels: Tensor, slope: Tensor) -> None:
    found = results(bank, x, kernels, slope)
    wide_x, wide_kernels = (each.detach().double().requires_grad_() for each in (x, kernels))
    with exact_numbers():
        expected = results(bank, wide_x, wide_kernels, slope.double())
    for mine, other in zip(found, expected, strict=True):
        assert (mine.double() - other).norm() < CLOSE[x.dtype] * other.norm()


@pytest.mark.parametrize("bank", BANKS)
def test_a_recording_repeats_the_same_numbers(bank: Bank) -> None:
    x, kernels, slope = given(bank, 16, torch.bfloat16)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results(bank, x, kernels, slope)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = results(bank, x, kernels, slope)
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    for mine, other in zip(recorded, results(bank, x, kernels, slope), strict=True):
        assert torch.equal(mine, other)

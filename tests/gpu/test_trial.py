"""The kernels of a GPU are tried there before anything relies on them, and left out where they are wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from nascommon.kernels import bank_launch, batch_norm_launch, trial
from nascommon.kernels.bank import Bank, Kind, beside
from tests.kernels.broken import KERNELS, broken

BANK, CHANNELS = Bank((Kind(3, 1, 2),)), 16

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """Try the kernels anew, and forget what was found."""
    trial.right.cache_clear()
    yield
    trial.right.cache_clear()


@pytest.mark.parametrize("dtype", bank_launch.TYPES)
def test_they_are_right_and_no_random_number_is_drawn(dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    x = torch.zeros(2, CHANNELS, 4, 4, device="cuda", dtype=dtype)
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    with torch.inference_mode(), torch.autocast("cuda", torch.float16):
        assert bank_launch.takes(x, 1)
    assert all(map(torch.equal, before, (torch.get_rng_state(), torch.cuda.get_rng_state())))
    assert not caplog.messages


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_wrong_kernel_is_one_warning_and_plain_operators_compute(
    kernel: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.cuda.init()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(*broken(kernel))
    x = torch.randn(2, CHANNELS, 8, 8, device="cuda", dtype=torch.bfloat16).requires_grad_()
    kernels = torch.randn(BANK.taps * CHANNELS, device="cuda").requires_grad_()
    for _ in range(2):
        outs = beside([(BANK, x, kernels)]), BANK.plain(x, kernels)
        found, right = ([out, *torch.autograd.grad(out.sum(), (x, kernels))] for out in outs)
        for mine, other in zip(found, right, strict=True):
            torch.testing.assert_close(mine, other)
        assert not batch_norm_launch.launches(x)
    (warning,) = caplog.messages
    assert warning.endswith(f"{KERNELS[kernel].of}, wrong numbers")


def test_they_can_be_tried_while_a_graph_is_recorded() -> None:
    x = torch.randn(2, CHANNELS, 8, 8, device="cuda", dtype=torch.bfloat16)
    kernels = torch.randn(BANK.taps * CHANNELS, device="cuda")
    expected = beside([(BANK, x, kernels)])  # compiled, and loaded
    trial.right.cache_clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = beside([(BANK, x, kernels)])
    assert trial.right.cache_info().currsize == 1
    graph.replay()
    assert torch.equal(out, expected)

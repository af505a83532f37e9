"""The kernels in Triton are tried on small maps before anything relies on them: cards, drivers and compilers differ.

Suffixes: ``B`` batch, ``C`` channels, ``D`` of all outputs, ``M`` numbers of all kernels, ``H``, ``W``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels import bank_launch, batch_norm_launch
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.pools import Pools

log = logging.getLogger(__name__)

BANK = Bank((Kind(3, 1, 2), Kind(5, 2, 2)))
POOLS = Pools((nn.MaxPool2d(3, 1, 1), AveragePool(3, 1, 1)))
BATCHES, CHANNELS, SIZE = 2, 16, (9, 7)
EPS, MOMENTUM = 1e-5, 0.1
ROUNDINGS, SUMS = 2, 1e-5
"""Distance from plain results in float64, as a share of their length: of so many roundings, or of float32's sums."""

Way = Callable[..., tuple[Tensor, ...]]


@cache
def right(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the kernels compute on a device what plain operators do, and warn if not.

    Asked for the first time in a forward pass, they are tried in another thread, which knows nothing of its autocast,
    its gradients, its stream or a recording of it.
    """
    with ThreadPoolExecutor(1) as thread:
        failure = thread.submit(_failure, device, dtype).result()
    if failure:
        log.warning(
            "steps on %s are slower without the kernels in Triton, which do not work there in %s (docs/speed.md): %s",
            device, str(dtype).removeprefix("torch."), failure,
        )  # fmt: skip
    return not failure


def _failure(device: torch.device, dtype: torch.dtype) -> str:
    """Return which kernels fail, and how; if none does, nothing."""
    bank_launch.ON_TRIAL.set(True)
    for name, ours, plain, weights in (
        ("depthwise convolutions", _bank, _bank, [BATCHES * BANK.taps * CHANNELS]),
        ("pools", _pools, _pools, []),
        ("batch norm", _normalised, _plainly_normalised, [CHANNELS, CHANNELS]),
    ):
        draws = torch.Generator().manual_seed(0)
        x_BCHW = torch.randn(BATCHES, *SIZE, CHANNELS, generator=draws).to(dtype).permute(0, 3, 1, 2)
        given = [x_BCHW, *(torch.randn(size, generator=draws) for size in weights)]
        expected = _results(plain, [each.double() for each in given], dtype)
        try:
            # Triton takes the device that is current, of which every thread has its own.
            with torch.cuda.device_of(torch.empty(0, device=device)):  # type: ignore[no-untyped-call]
                found = [each.cpu() for each in _results(ours, [each.to(device) for each in given], dtype)]
        except Exception as error:  # whatever a compiler, a loader or a driver says
            log.debug("kernels of %s", name, exc_info=error)
            reason = str(error).partition("\n")[0]
            return f"{name}, {type(error).__name__}: {reason}"
        close = max(ROUNDINGS * torch.finfo(dtype).eps, SUMS)
        if not all((mine - it).norm() <= close * it.norm() for mine, it in zip(found, expected, strict=True)):
            return f"{name}, wrong numbers"
    return ""


def _results(way: Way, given: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return what a way gives of tensors, and their gradients for some gradient of the first."""
    for each in given:
        each.requires_grad_()
    outs = way(*given)
    slope = torch.randn(outs[0].shape, generator=torch.Generator().manual_seed(1)).to(dtype).to(outs[0])
    return [each.detach() for each in (*outs, *torch.autograd.grad(outs[0], given, slope))]


def _bank(x_BCHW: Tensor, kernels_M: Tensor) -> tuple[Tensor, ...]:
    return (beside([(BANK, x_BCHW, kernels_M)]),)


def _pools(x_BCHW: Tensor) -> tuple[Tensor, ...]:
    return (beside([], (POOLS, x_BCHW)),)


def _normalised(x_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor) -> tuple[Tensor, ...]:
    mean_C, variance_C = torch.ones(2, CHANNELS, device=x_BCHW.device).unbind()
    running = mean_C, variance_C, MOMENTUM
    return batch_norm_launch.normalised(x_BCHW, scale_C, shift_C, EPS, running)[0], mean_C, variance_C


def _plainly_normalised(x_BCHW: Tensor, scale_C: Tensor, shift_C: Tensor) -> tuple[Tensor, ...]:
    mean_C, variance_C = torch.ones(2, CHANNELS, dtype=x_BCHW.dtype).unbind()
    out = functional.batch_norm(x_BCHW, mean_C, variance_C, scale_C, shift_C, True, MOMENTUM, EPS)
    return out, mean_C, variance_C

"""Launch all kernels of a GPU without one: Triton binds their arguments and compiles for an H100, and nothing runs.

What the interpreter does not see is seen here: arguments that Triton takes for constants, its options, its compiler.
Maps are on the CPU and taken for a GPU's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

from nascommon.kernels import bank_launch
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.batch_norm import BatchNorm, normalised
from nascommon.kernels.pools import Pools
from tests.kernels import chain

KERNELS = 9
TYPES = (torch.bfloat16, torch.float32)


class H100:
    """A driver of a GPU that is not there."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


def bind_and_compile(seen: Counter[str]) -> Callable[..., Any]:
    """Return what stands for a launch: all of it but its last line."""
    run = jit.JITFunction.run

    def instead(self: Any, *args: object, grid: tuple[int, ...], warmup: bool, **options: object) -> Any:
        assert not warmup
        assert 0 < grid[0] < 2**31
        assert all(0 < side < 2**16 for side in grid[1:])
        compiled = run(self, *args, grid=grid, warmup=True, **options)
        assert compiled.metadata.target.arch == 90
        seen[f"{self.__module__}.{self.__name__}"] += 1
        return compiled

    return instead


def pixels(dtype: torch.dtype, channels: int) -> Tensor:
    return torch.zeros(2, 8, 8, channels, dtype=dtype).permute(0, 3, 1, 2).requires_grad_()


def banks_and_pools(dtype: torch.dtype, channels: int, stride: int) -> None:
    x, bank = pixels(dtype, channels), Bank((Kind(3, 1, 2), Kind(5, 2, 1)), stride)
    kernels = torch.zeros(bank.taps * channels, requires_grad=True)
    average = AveragePool(3, stride, 1)
    out = beside([(bank, x, kernels)], (Pools((nn.MaxPool2d(3, stride, 1), average)), x))
    torch.autograd.grad(out, (x, kernels), torch.zeros_like(out))
    out = beside([], (Pools((average,)), x))
    torch.autograd.grad(out, x, torch.zeros_like(out))
    given = chain.inputs(channels, 2 * channels, (8, 8), dtype)
    outs = chain.outputs(channels, given)
    torch.autograd.grad(outs, given, [torch.zeros_like(out) for out in outs])


def batch_norms(dtype: torch.dtype, channels: int, given: str) -> None:
    x = pixels(dtype, channels)
    scale, shift = (torch.ones(channels, requires_grad=True) if name in given else None for name in ("scale", "shift"))
    out = normalised(x, scale, shift, 1e-5)[0]
    torch.autograd.grad(out, [each for each in (x, scale, shift) if each is not None], torch.zeros_like(out))
    for momentum in (0.1, None):
        BatchNorm(channels, affine="shift" in given, momentum=momentum)(x)


def main() -> None:
    seen: Counter[str] = Counter()
    driver.set_active(H100())
    jit.JITFunction.run = bind_and_compile(seen)
    setattr(bank_launch, "on_cuda", lambda _: True)  # noqa: B010 - it is not exported there
    for dtype, channels, stride in itertools.product(TYPES, (1, 4), (1, 2)):
        banks_and_pools(dtype, channels, stride)
    for dtype, channels, given in itertools.product(TYPES, (1, 16), ("", "scale", "scale, shift")):
        batch_norms(dtype, channels, given)
    assert len(seen) == KERNELS, seen


if __name__ == "__main__":
    main()

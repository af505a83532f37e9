"""Kernels of a GPU that do not do what they should."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

BANKS, POOLS, NORMS = "depthwise convolutions", "pools", "batch norm"


@dataclass(frozen=True)
class Written:
    """What a kernel is of, and which of its arguments it writes."""

    of: str
    argument: int


KERNELS = {
    "bank_triton.forward_kernel": Written(BANKS, 2),
    "bank_triton.input_kernel": Written(BANKS, 3),
    "bank_triton_kernels.kernel_kernel": Written(BANKS, 2),
    "pools_triton.forward_kernel": Written(POOLS, 1),
    "pools_triton.gradient_kernel": Written(POOLS, 2),
    "batch_norm_triton.statistics_kernel": Written(NORMS, 1),
    "batch_norm_triton.apply_kernel": Written(NORMS, 4),
    "batch_norm_triton.reduce_kernel": Written(NORMS, 3),
    "batch_norm_triton.gradient_kernel": Written(NORMS, 5),
}


@dataclass(frozen=True)
class _Broken:
    kernel: Any
    argument: int

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*given: Any, **static: Any) -> None:
            self.kernel[grid](*given, **static)
            given[self.argument].mul_(1.05)

        return launch


def broken(kernel: str) -> tuple[str, Any]:
    """Return the name of a kernel and what stands for it: it is wrong by a twentieth."""
    module, name = kernel.split(".")
    whole = f"nascommon.kernels.{module}"
    return f"{whole}.{name}", _Broken(getattr(import_module(whole), name), KERNELS[kernel].argument)

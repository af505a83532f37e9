"""SGD as both the supernet and the stand-alone networks are trained with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nascommon.runtime.dial import keeps_numbers

DEVICE_OPTIONS = ("fused", "foreach", "capturable")
"""Options that an optimiser decides by the device; a checkpoint from another device must not bring them along."""


def sgd(module: nn.Module, lr: float, momentum: float, weight_decay: float, *, fused: bool = True) -> torch.optim.SGD:
    """Return SGD on all weights of ``module``.

    Args:
        module: what is trained.
        lr: learning rate.
        momentum: factor of the old gradients in their running sum.
        weight_decay: factor of the weights that is added to their gradients (L2).
        fused: as one kernel, where the device has it. On a CPU possible only if every step reaches the same weights; on
            a GPU all have their running sums from the start.
    """
    weights = list(module.parameters())
    # None leaves the choice to torch: False would rule out the foreach kernels as well.
    device = weights[0].device
    fused = fused and device.type in ("cpu", "cuda")
    # Only the fused kernel reads the learning rate from the device, as float32; the others would wait for it.
    kept = fused and keeps_numbers(device)
    optimiser = torch.optim.SGD(weights, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused or None)
    if kept:
        # Afterwards: the optimiser asks whether a rate that it is given is negative, and would wait for the answer.
        optimiser.param_groups[0]["lr"] = torch.full((), lr, device=device)
        for weight in weights:
            optimiser.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimiser


def rate_of(optimiser: torch.optim.Optimizer) -> float | Tensor:
    """Return the learning rate, a scalar on the device where recorded steps read it there."""
    rate: float | Tensor = optimiser.param_groups[0]["lr"]
    return rate


def set_rate(group: dict[str, Any], lr: float | Tensor) -> None:
    """Set the learning rate of a group where its steps read it, which waits for nothing."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take up a saved state, from whatever device."""
    groups = [_taken_up(group, mine) for group, mine in zip(saved["param_groups"], optimiser.param_groups, strict=True)]
    optimiser.load_state_dict({**saved, "param_groups": groups})


def _taken_up(saved: Mapping[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Return a group with the saved options, but for those of the device, and its rate where steps read it."""
    set_rate(mine, float(saved["lr"]))
    return {**saved, **{name: mine[name] for name in (*DEVICE_OPTIONS, "lr") if name in mine}}

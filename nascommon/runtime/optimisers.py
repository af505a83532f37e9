"""SGD as both the supernet and the stand-alone networks are trained with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

DEVICE_OPTIONS = ("fused", "foreach", "capturable")
"""Options that an optimiser decides by the device; a checkpoint from another device must not bring them along."""


def sgd(module: nn.Module, lr: float, momentum: float, weight_decay: float, *, fused: bool = True) -> torch.optim.SGD:
    """Return SGD on all weights of ``module``.

    Args:
        module: what is trained.
        lr: learning rate.
        momentum: factor of the old gradients in their running sum.
        weight_decay: factor of the weights that is added to their gradients (L2).
        fused: as one kernel, where the device has it; possible only if every step reaches the same weights.
    """
    weights = list(module.parameters())
    # None leaves the choice to torch: False would rule out the foreach kernels as well.
    can = weights[0].device.type in ("cpu", "cuda")
    return torch.optim.SGD(weights, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=(fused and can) or None)


def load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take up a saved state, from whatever device."""
    own = [{name: group[name] for name in DEVICE_OPTIONS if name in group} for group in optimiser.param_groups]
    groups = [{**group, **mine} for group, mine in zip(saved["param_groups"], own, strict=True)]
    optimiser.load_state_dict({**saved, "param_groups": groups})

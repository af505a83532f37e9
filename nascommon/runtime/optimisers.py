"""SGD as both the supernet and the stand-alone networks are trained with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd as stepped

from nascommon.runtime.dial import keeps_numbers
from nascommon.runtime.together import joined, lay_together

DEVICE_OPTIONS = ("fused", "foreach", "capturable")
"""Options that an optimiser decides by the device; a checkpoint from another device must not bring them along."""
OPTIONS = ("fused", "foreach", "lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
"""Those that a step takes."""


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
    device = weights[0].device
    keeps, fused = keeps_numbers(device), fused and device.type in ("cpu", "cuda")
    kind = _Joined if keeps else torch.optim.SGD
    # None leaves the choice to torch: False would rule out the foreach kernels as well.
    optimiser = kind(weights, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused or None)
    if keeps:
        _lay_sums_together(optimiser)
    # Only the fused kernel reads the learning rate from the device, as float32; the others would wait for it.
    if keeps and fused:
        # Afterwards: the optimiser asks whether a rate that it is given is negative, and would wait for the answer.
        optimiser.param_groups[0]["lr"] = torch.full((), lr, device=device)
    return optimiser


class _Joined(torch.optim.SGD):
    """SGD to which weights are one tensor where they, their gradients and their running sums lie together."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights that have a gradient."""
        assert closure is None
        (group,) = self.param_groups
        weights = [weight for weight in group["params"] if weight.grad is not None]
        sums = [self.state[weight]["momentum_buffer"] for weight in weights]
        weights, slopes, sums = joined(weights, [weight.grad for weight in weights], sums)
        stepped(weights, slopes, [*sums], **{name: group[name] for name in OPTIONS})


def _lay_sums_together(optimiser: torch.optim.Optimizer) -> None:
    """Let running sums lie in the order of their weights; those that are not there begin as zeros."""
    weights = sorted(optimiser.param_groups[0]["params"], key=Tensor.storage_offset)
    for weight in weights:
        if optimiser.state[weight].get("momentum_buffer") is None:
            optimiser.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    lay_together([optimiser.state[weight]["momentum_buffer"] for weight in weights])


def clip_gradients(weights: Iterable[Tensor], most: float) -> None:
    """Scale the gradients of weights, where they have any, so that their norm is at most this."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return
    if keeps_numbers(gradients[0].device):
        (gradients,) = joined(gradients)
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))


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
    if isinstance(optimiser, _Joined):
        _lay_sums_together(optimiser)


def _taken_up(saved: Mapping[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Return a group with the saved options, but for those of the device, and its rate where steps read it."""
    set_rate(mine, float(saved["lr"]))
    return {**saved, **{name: mine[name] for name in (*DEVICE_OPTIONS, "lr") if name in mine}}

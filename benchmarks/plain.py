"""The baseline that needs no checkout: the formulas op by op in NCHW, and autograd told to differentiate everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import twin
from benchmarks.timing import Step
from benchmarks.twin import Twin, Weights
from nascommon.data.batch import Batch
from nascommon.parts.choices import Unrolled
from nascommon.search.state import SearchState
from nascommon.space.mixing import Mixing
from nascommon.space.network import Network
from nascommon.training.settings import TrainingSettings

Forward = Callable[[SearchState, Weights, Tensor, Mixing], Tensor]
"""(state, network weights by name, images, mixing weights) -> logits."""


@dataclass(frozen=True)
class Halves:
    """A batch of the weight half and one of the architecture half."""

    train: Batch
    valid: Batch


def twin_forward() -> Forward:
    """Return the plain twin: every formula, batch norm too, spelled out."""
    found: dict[str, tuple[str, ...]] = {}

    def forward(state: SearchState, weights: Weights, images: Tensor, mixing: Mixing) -> Tensor:
        return Twin(state.spec, weights, mixing, found).logits(images)

    return forward


def fused_twin_forward() -> Forward:
    """Return the plain twin with PyTorch's batch norm instead of its formula."""
    inner = twin_forward()

    def forward(state: SearchState, weights: Weights, images: Tensor, mixing: Mixing) -> Tensor:
        with patch.object(twin, "norm", _norm):
            return inner(state, weights, images, mixing)

    return forward


def supernet_forward() -> Forward:
    """Return the project's supernet, which has the weights itself; first order only."""
    return lambda state, _weights, images, mixing: state.supernet(images, mixing)


def _norm(x_BCHW: Tensor) -> Tensor:
    return functional.batch_norm(x_BCHW, None, None, training=True)


def search_step(state: SearchState, data: Halves, forward: Forward) -> Step:
    """Return a bilevel step as the papers' codes take it: both losses are differentiated in everything."""
    method, logits = state.method, state.logits.tensors()
    learned, arch_optimiser = method.arch_gradient, state.arch_optimiser
    assert learned is not None
    assert arch_optimiser is not None
    own = dict(state.supernet.named_parameters())

    def loss(weights: Weights, batch: Batch) -> Tensor:
        return functional.cross_entropy(forward(state, weights, batch.images, state.draw("architecture")), batch.labels)

    def step() -> None:
        arch_optimiser.zero_grad()
        if isinstance(learned.approximation, Unrolled):
            radius = learned.approximation.radius
            for tensor, gradient in zip(logits, unrolled(state, own, data, loss, radius), strict=True):
                tensor.grad = gradient
        else:
            _backward(loss(own, data.valid) + method.penalty(state.logits, state.spec.space, state.progress))
        if learned.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(logits, learned.optimiser.clip)
        arch_optimiser.step()
        state.weight_optimiser.zero_grad()
        out = forward(state, own, data.train.images, state.draw("weights"))
        _backward(functional.cross_entropy(out, data.train.labels))
        nn.utils.clip_grad_norm_(own.values(), method.weights.clip)
        state.weight_optimiser.step()

    return step


def unrolled(
    state: SearchState, own: Weights, data: Halves, loss: Callable[[Weights, Batch], Tensor], radius: float
) -> Sequence[Tensor]:
    """Return the papers' second-order gradient: w', then a finite difference around w (DARTS, eqs. 7 and 8)."""
    settings, logits = state.method.weights, state.logits.tensors()
    eta: float = state.weight_optimiser.param_groups[0]["lr"]
    slopes = torch.autograd.grad(loss(own, data.train), list(own.values()))
    stepped = {}
    for (name, w), slope in zip(own.items(), slopes, strict=True):
        buffer = state.weight_optimiser.state.get(w, {}).get("momentum_buffer", torch.zeros_like(w))
        step = settings.momentum * buffer + slope + settings.weight_decay * w
        stepped[name] = (w - eta * step).detach().requires_grad_()
    outer = loss(stepped, data.valid) + state.method.penalty(state.logits, state.spec.space, state.progress)
    gradients = torch.autograd.grad(outer, [*logits, *stepped.values()])
    direct, v = gradients[: len(logits)], gradients[len(logits) :]
    R = radius / torch.cat([part.flatten() for part in v]).norm()
    shifted = []
    for sign in (1, -1):
        moved = {name: w.detach() + sign * R * part for (name, w), part in zip(own.items(), v, strict=True)}
        shifted.append(torch.autograd.grad(loss(moved, data.train), logits))
    return [g - eta * (up - down) / (2 * R) for g, up, down in zip(direct, *shifted, strict=True)]


def retrain_step(network: Network, optimiser: torch.optim.SGD, batch: Batch, settings: TrainingSettings) -> Step:
    """Return a training step of a stand-alone network, nothing but PyTorch around it."""

    def step() -> None:
        optimiser.zero_grad()
        logits_BK, auxiliary_BK = network.forward_auxiliary(batch.images)
        loss = functional.cross_entropy(logits_BK, batch.labels)
        if auxiliary_BK is not None:
            loss = loss + settings.auxiliary_weight * functional.cross_entropy(auxiliary_BK, batch.labels)
        _backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()

    return step


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]

"""Gradient of the validation loss in the architecture: first order, unrolled by finite difference, unrolled exactly.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``. Symbols of the DARTS paper: w network weights, a logits, eta (here
``eta``) the learning rate of w, w' = w after one virtual step, v = the gradient of the validation loss in w'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nascommon.data.batch import Batch
from nascommon.parts.choices import FirstOrder, Unrolled, UnrolledExact
from nascommon.runtime import ranks
from nascommon.runtime.optimisers import rate_of
from nascommon.search.state import SearchState
from nascommon.space.mixing import Mixing

Forward = Callable[[Tensor, Mixing], Tensor]
"""(images, mixing weights) -> logits [B, K]."""


def arch_gradient(state: SearchState, train: Batch, valid: Batch) -> tuple[Tensor, ...]:
    """Return the gradient of validation loss plus penalty, by the approximation that the method chose.

    One tensor per tensor of ``state.logits.tensors()``, of its shape. Neither weights nor logits are changed.
    """
    learned = state.method.arch_gradient
    assert learned is not None, "a method that learns no architecture takes no architecture step"
    match learned.approximation:
        case FirstOrder():
            return first_order(state, valid)
        case Unrolled(radius=radius):
            return unrolled(state, train, valid, radius)
        case UnrolledExact():
            return unrolled_exact(state, train, valid)


def first_order(state: SearchState, valid: Batch) -> tuple[Tensor, ...]:
    """Take w as it is: grad_a L_valid(w, a) (DARTS, eq. 7 with xi = 0). Shapes as in ``arch_gradient``."""
    with frozen(state.supernet):
        return _gradient(state, state.supernet, valid, state.logits.tensors(), penalty=_penalty)


@contextmanager
def frozen(supernet: nn.Module) -> Iterator[None]:
    """Keep nothing for gradients of the network weights in the forward passes inside."""
    # Autograd keeps the input of a convolution for the gradient of its kernel alone. Frozen, only what the gradient of
    # the mixing weights needs is kept.
    weights = list(supernet.parameters())
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_()


def unrolled(state: SearchState, train: Batch, valid: Batch, radius: float) -> tuple[Tensor, ...]:
    """Unroll one step of w and take the mixed second derivative by finite difference (DARTS, eqs. 7 and 8).

    grad_a L_valid(w', a) - eta [grad_a L_train(w + R v, a) - grad_a L_train(w - R v, a)] / (2 R), R = radius / ||v||.
    All passes see throw-away batch-norm buffers, so the running statistics of the supernet stay clean.
    """
    weights, logits = _weights(state), state.logits.tensors()
    slopes = _gradient(state, _with(state, weights), train, list(weights.values()))
    stepped = {
        name: value.requires_grad_()
        for name, value in _virtual_step(state, weights, slopes, differentiable=False).items()
    }
    # One backward pass gives both: the direct part in the logits, and v in the stepped weights. The penalty has no w in
    # it, so it only enters the direct part.
    gradients = _gradient(state, _with(state, stepped), valid, [*logits, *stepped.values()], penalty=_penalty)
    direct, v = gradients[: len(logits)], gradients[len(logits) :]
    norm = torch.nn.utils.get_total_norm(v)
    R = radius / norm
    shifted = []
    # The mixed second derivative along v, by two gradients of the training loss: the matrix itself, logits times
    # weights, is never built.
    for sign in (1, -1):
        moved = {name: w.detach() + sign * R * v_w for (name, w), v_w in zip(weights.items(), v, strict=True)}
        shifted.append(_gradient(state, _with(state, moved), train, logits))
    eta = rate_of(state.weight_optimiser)
    return tuple(g - eta * (up - down) / (2 * R) for g, up, down in zip(direct, *shifted, strict=True))


def unrolled_exact(state: SearchState, train: Batch, valid: Batch) -> tuple[Tensor, ...]:
    """Unroll one step of w and differentiate through it exactly (DARTS, eq. 6), by double backward.

    Shapes as in ``arch_gradient``. It holds the graphs of both passes, of all pieces, so it takes the most memory of
    the three.
    """
    weights = _weights(state)
    loss = _loss_of_share(state, _with(state, weights), train)
    # w' depends on the logits by them; weights that the draw leaves out have none.
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
    stepped = _virtual_step(state, weights, ranks.differentiable_sum(slopes), differentiable=True)
    outer = _loss_of_share(state, _with(state, stepped), valid)
    outer = outer + _penalty(state) if ranks.first() else outer
    return ranks.summed(torch.autograd.grad(outer, state.logits.tensors(), materialize_grads=True))


def _loss_of_share(state: SearchState, forward: Forward, batch: Batch) -> Tensor:
    """Return what this rank adds to the loss of the batch: all of it where there is no other."""
    mixing, pieces = state.draw("architecture"), ranks.apart(batch.pieces(state.pieces), state.pieces, batch.device)
    one, *more = [share * _loss(forward, mixing, piece) for piece, share in pieces]
    return sum(more, one)


def _gradient(
    state: SearchState,
    forward: Forward,
    batch: Batch,
    wanted: Sequence[Tensor],
    penalty: Callable[[SearchState], Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """Return the gradient of the batch's loss under one draw, summed over ``state.pieces`` pieces and all ranks."""
    mixing = state.draw("architecture")
    pieces = batch.pieces(state.pieces)
    total: tuple[Tensor, ...] = ()
    each = ranks.apart(pieces, state.pieces, batch.device)
    for left, (piece, share) in zip(reversed(range(len(pieces))), each, strict=True):
        loss = share * _loss(forward, mixing, piece)
        # Once for the batch, not once per piece: with the last piece, whose graph goes on to the logits anyway.
        if penalty is not None and left == 0 and ranks.first():
            loss = loss + penalty(state)
        # A sampled architecture may leave logits out, or all of them where every edge of a cell draws `none`: their
        # gradient is zero. The graph from the logits to the mixing weights serves all pieces.
        gradients = (
            torch.autograd.grad(loss, wanted, retain_graph=left > 0, materialize_grads=True)
            if loss.requires_grad
            else tuple(map(torch.zeros_like, wanted))
        )
        total = tuple(map(torch.add, total, gradients)) if total else gradients
        del loss  # with the graph, which would else be held while that of the next piece grows
    return ranks.summed(total)


def _loss(forward: Forward, mixing: Mixing, batch: Batch) -> Tensor:
    return batch.loss(forward(batch.images, mixing))


def _with(state: SearchState, weights: dict[str, Tensor]) -> Forward:
    """Return the supernet with other weights, on throw-away copies of its buffers."""

    def forward(images_BCHW: Tensor, mixing: Mixing) -> Tensor:
        # Batch norm updates running statistics in place in virtual passes, too; those of weights that never existed
        # would stay in the supernet that is scored.
        buffers = {name: buffer.clone() for name, buffer in state.supernet.named_buffers()}
        logits_BK: Tensor = functional_call(state.supernet, {**weights, **buffers}, (images_BCHW, mixing))
        return logits_BK

    return forward


def _weights(state: SearchState) -> dict[str, Tensor]:
    return dict(state.supernet.named_parameters())


def _penalty(state: SearchState) -> Tensor:
    return state.method.penalty(state.logits, state.spec.space, state.seen_progress())


def _virtual_step(
    state: SearchState, weights: dict[str, Tensor], slopes: Sequence[Tensor], *, differentiable: bool
) -> dict[str, Tensor]:
    """Return w' = w - eta (momentum * buffer + slope + weight decay * w): an SGD step without clipping."""
    settings = state.method.weights
    eta = rate_of(state.weight_optimiser)
    stepped = {}
    for (name, w), slope in zip(weights.items(), slopes, strict=True):
        buffer = state.weight_optimiser.state.get(w, {}).get("momentum_buffer")  # reading must not make an entry
        momentum = 0.0 if buffer is None else settings.momentum * buffer  # no buffer before the first step
        # Without the clipping of the real step, as in the released code.
        w_next = w - eta * (momentum + slope + settings.weight_decay * w)
        stepped[name] = w_next if differentiable else w_next.detach()
    return stepped

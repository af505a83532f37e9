"""All edges that leave a state are computed together, and what they have in common only once.

A state feeds up to five edges with up to eight candidates each. Once per state are computed: the ReLU that begins every
weighted candidate, the pools, and the pools' batch norm where it sees the same batch on every edge. Equal candidates of
different edges are computed as one, their kernels stacked along the channels: less than half of the operations.
The mixing weight rides as the scale of the batch norm that ends a candidate, so no multiplication is needed for it and
nothing is kept for that multiplication's gradient. ``none`` has no term at all.

Suffixes: ``B`` batch, ``C`` mixed channels of the state, ``G`` edges computed as one, ``D`` = G * C, ``H``, ``W``,
``E`` edges of the cell, ``O`` candidates of an edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.space.depthwise import narrow, wide
from nascommon.space.operations import Convolution, Halves, ReluFirst, State

Place = tuple[int, int]
"""(edge, position of a candidate on it)."""
Scales = tuple[tuple[Tensor, ...], ...]
"""The mixing weight of every edge and candidate, the same for each channel [C]."""


def scales(weights_EO: Tensor, channels: int) -> Scales:
    """Repeat every mixing weight for the mixed channels, all in one go, which keeps the backward pass short too."""
    weights_EOC = weights_EO[:, :, None].expand(-1, -1, channels).contiguous()
    return tuple(row_OC.unbind() for row_OC in weights_EOC.unbind())


def leave(
    x_BCHW: Tensor, edges: Sequence[nn.ModuleDict], places: Mapping[str, Sequence[Place]], weights: Scales
) -> Iterator[tuple[int, Tensor]]:
    """Yield (edge, weighted sum of its candidates [B, C, H', W']) for the edges that leave a state.

    Args:
        x_BCHW: the mixed channels of the state.
        edges: of the cell, each its candidates by name.
        places: where each candidate is to be computed, by its name.
        weights: of the cell.
    """
    state = State(x_BCHW)
    sums: dict[tuple[int, ...], Tensor] = {}
    for name, group in places.items():
        on = tuple(edge for edge, _ in group)
        scale_D = torch.cat([weights[edge][choice] for edge, choice in group])
        term = candidate(state, [edges[edge][name] for edge in on], scale_D)
        sums[on] = sums[on] + term if on in sums else term
    for on, total in sums.items():
        yield from zip(on, total.chunk(len(on), dim=1), strict=True)


def candidate(state: State, modules: Sequence[nn.Module], scale_D: Tensor) -> Tensor:
    """Return one candidate on several edges, times its mixing weights: [B, D, H', W']."""
    first = modules[0]
    if isinstance(first, nn.Dropout):
        if first.p > 0 and first.training:  # every edge drops elements of its own
            dropped: Tensor = first(wide(state.x_BCHW, len(scale_D)))
            return dropped * scale_D[:, None, None].to(dropped.dtype)
        return weighed(state.x_BCHW, scale_D)
    if isinstance(first, ReluFirst):
        return side_by_side(cast("Sequence[ReluFirst]", modules), state, scale_D)
    pool, _ = cast("nn.Sequential", first)
    norms = [cast("nn.BatchNorm2d", cast("nn.Sequential", module)[-1]) for module in modules]
    pooled_BCHW = pool(state.x_BCHW)
    if not norms[0].training:  # every edge has running statistics of its own
        return normalise(norms, wide(pooled_BCHW, len(scale_D)), scale_D)
    mean_C, variance_C = _nothing(pooled_BCHW)
    normal_BCHW = functional.batch_norm(pooled_BCHW, mean_C, variance_C, None, None, True, 1.0, norms[0].eps)
    _average(norms, [mean_C] * len(norms), [variance_C] * len(norms))
    return weighed(normal_BCHW, scale_D)


def together(operations: Sequence[ReluFirst], state: State) -> tuple[Tensor, ...]:
    """Return the outputs of the same operation on several edges that leave a state, computed as one."""
    return side_by_side(operations, state).chunk(len(operations), dim=1)


def side_by_side(operations: Sequence[ReluFirst], state: State, scale_D: Tensor | None = None) -> Tensor:
    """Return the same, one after the other along the channels, each channel times its scale: [B, D, H', W']."""
    layers = [list(operation) for operation in operations]
    norms = [cast("nn.BatchNorm2d", each[-1]) for each in layers]
    return normalise(norms, convolved(state.rectified, [each[1:-1] for each in layers]), scale_D)


def convolved(x_BCHW: Tensor, layers: Sequence[Sequence[nn.Module]]) -> Tensor:
    """Run what lies between the first ReLU and the last batch norm of a candidate, for several edges."""
    for same in zip(*layers, strict=True):
        match same[0]:
            case nn.BatchNorm2d():
                x_BCHW = normalise(cast("Sequence[nn.BatchNorm2d]", same), x_BCHW)
            case nn.ReLU():
                x_BCHW = x_BCHW.relu_()  # batch norm keeps its input, not its output
            case Halves():
                x_BCHW = Halves.together(cast("Sequence[Halves]", same), x_BCHW)
            case _:
                x_BCHW = Convolution.together(cast("Sequence[Convolution]", same), x_BCHW)
    return x_BCHW


def normalise(norms: Sequence[nn.BatchNorm2d], x_BDHW: Tensor, scale_D: Tensor | None = None) -> Tensor:
    """Apply batch norms side by side.

    Args:
        norms: one for each equal part of the channels.
        x_BDHW: their inputs one after the other.
        scale_D: what multiplies each channel of norms without affine parameters; None is one.
    """
    first, shift_D = norms[0], None
    if first.affine:
        scale_D, shift_D = (_stacked(norms, name) for name in ("weight", "bias"))
    if len(norms) == 1:
        running = first.running_mean, first.running_var
        momentum = _momentum(first) if first.training else 0.0
        return functional.batch_norm(x_BDHW, *running, scale_D, shift_D, first.training, momentum, first.eps)
    if not first.training:
        mean_D, variance_D = (_stacked(norms, name) for name in ("running_mean", "running_var"))
        return functional.batch_norm(x_BDHW, mean_D, variance_D, scale_D, shift_D, False, 0.0, first.eps)
    mean_D, variance_D = _nothing(x_BDHW)
    out = functional.batch_norm(x_BDHW, mean_D, variance_D, scale_D, shift_D, True, 1.0, first.eps)
    _average(norms, mean_D.chunk(len(norms)), variance_D.chunk(len(norms)))
    return out


def _stacked(norms: Sequence[nn.BatchNorm2d], name: str) -> Tensor:
    return torch.cat([getattr(norm, name) for norm in norms])


def _nothing(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return two running statistics that a batch norm of momentum 1 overwrites with those of its batch."""
    dtype = torch.float64 if x_BCHW.dtype == torch.float64 else torch.float32
    both = torch.zeros(2, x_BCHW.shape[1], dtype=dtype, device=x_BCHW.device)
    return both[0], both[1]


@torch.no_grad()
def _average(norms: Sequence[nn.BatchNorm2d], means: Sequence[Tensor], variances: Sequence[Tensor]) -> None:
    """Let every batch norm take the statistics of its batch into its running ones."""
    running = [cast("Tensor", kept) for norm in norms for kept in (norm.running_mean, norm.running_var)]
    new = [each for pair in zip(means, variances, strict=True) for each in pair]
    momenta = [_momentum(norm) for norm in norms]
    if len(set(momenta)) == 1:
        torch._foreach_lerp_(running, new, momenta[0])
        return
    for i, mine in enumerate(running):
        mine.lerp_(new[i], momenta[i // 2])


def _momentum(norm: nn.BatchNorm2d) -> float:
    """Return the weight of the present batch; a batch norm without momentum averages all batches that it has seen."""
    if norm.momentum is not None:
        return norm.momentum
    seen = cast("Tensor", norm.num_batches_tracked)
    seen.add_(1)
    return 1 / float(seen)


def weighed(x_BCHW: Tensor, scale_D: Tensor) -> Tensor:
    """Repeat an input for several edges and multiply each repetition by the weights of its edge: [B, D, H, W]."""
    out: Tensor = _Weighed.apply(x_BCHW, scale_D)
    return out


class _Weighed(torch.autograd.Function):
    """Keeps the input once for all its repetitions; its backward pass can be differentiated again."""

    @staticmethod
    def forward(x_BCHW: Tensor, scale_D: Tensor) -> Tensor:
        return wide(x_BCHW, len(scale_D)) * scale_D[:, None, None].to(x_BCHW.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_BCHW, scale_D = ctx.saved_tensors
        (slope_BDHW,) = slopes
        of_input = of_scale = None
        if ctx.needs_input_grad[0]:
            of_input = narrow(slope_BDHW * scale_D[:, None, None].to(slope_BDHW.dtype), x_BCHW.shape[1])
        if ctx.needs_input_grad[1]:
            of_scale = (slope_BDHW * wide(x_BCHW, len(scale_D))).sum((0, 2, 3), dtype=scale_D.dtype)
        return of_input, of_scale

"""All edges that leave a state are computed together, and what they have in common only once.

A state feeds up to five edges with up to eight candidates each. Once per state are computed: the ReLU that begins every
weighted candidate, the pools, and what batch norm they have, where it sees the same batch on every edge. Equal
candidates of different edges are computed as one, their kernels stacked along the channels: half of the operations.
Only large maps on a CPU are better computed one after the other (``stacks``).
The mixing weight rides as the scale of the batch norm that ends a candidate, so no multiplication is needed for it and
nothing is kept for that multiplication's gradient. ``none`` has no term at all.

Suffixes: ``B`` batch, ``C`` mixed channels of the state, ``G`` edges computed as one, ``D`` = G * C, ``H``, ``W``,
``E`` edges of the cell, ``O`` candidates of an edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nascommon.kernels.batch_norm import BatchNorm, normalised, update_running_statistics
from nascommon.kernels.depthwise import repeat_channels
from nascommon.kernels.home import on_cpu
from nascommon.kernels.weighed import weighed
from nascommon.space.operations import POOLS, Convolution, Halves, Noise, ReluFirst, State

Place = tuple[int, int]
"""(edge, position of a candidate on it)."""
Scales = tuple[tuple[Tensor, ...], ...]
"""The mixing weight of every edge and candidate, the same for each channel [C]."""
STACKED = 2**18
"""Numbers in a state up to which a CPU computes its candidates stacked: beyond, a copy costs more than a call."""


def stacks(x_BCHW: Tensor) -> bool:
    """Return whether equal operations on a state are faster as one."""
    return not on_cpu(x_BCHW) or x_BCHW.numel() <= STACKED


def scales(weights_EO: Tensor, channels: int) -> Scales:
    """Repeat every mixing weight for the mixed channels, all in one go, which keeps the backward pass short too."""
    weights_EOC = weights_EO[:, :, None].expand(-1, -1, channels).contiguous()
    return tuple(row_OC.unbind() for row_OC in weights_EOC.unbind())


def edge_terms(
    x_BCHW: Tensor, edges: Sequence[nn.ModuleDict], places: Mapping[str, Sequence[Place]], weights: Scales
) -> Iterator[tuple[int, Tensor]]:
    """Yield (edge, weighted sum of candidates [B, C, H', W']), whose sum is the mixed operation of the edge.

    Args:
        x_BCHW: the mixed channels of the state.
        edges: of the cell, each its candidates by name.
        places: where each candidate is to be computed, by its name.
        weights: of the cell.
    """
    state = State(x_BCHW)
    sums: dict[tuple[int, ...], Tensor] = {}
    for name, alike in places.items():
        # What is not convolved is shared in any case.
        as_one = stacks(x_BCHW) or not isinstance(edges[alike[0][0]][name], ReluFirst)
        for group in [alike] if as_one else [[place] for place in alike]:
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
            dropped: Tensor = first(repeat_channels(state.x_BCHW, len(scale_D)))
            return dropped * scale_D[:, None, None].to(dropped.dtype)
        return weighed(state.x_BCHW, scale_D)
    if isinstance(first, Noise):  # every edge draws noise of its own
        noise: Tensor = first(repeat_channels(state.x_BCHW, len(scale_D)))
        return noise * scale_D[:, None, None].to(noise.dtype)
    if isinstance(first, ReluFirst):
        return side_by_side(cast("Sequence[ReluFirst]", modules), state, scale_D)
    return pooled(modules, state, scale_D)


def pooled(modules: Sequence[nn.Module], state: State, scale_D: Tensor) -> Tensor:
    """Return a pool on several edges, with a batch norm behind it or without, times its mixing weights."""
    first = modules[0]
    if isinstance(first, POOLS):
        return weighed(first(state.x_BCHW), scale_D)
    pool, _ = cast("nn.Sequential", first)
    norms = [cast("BatchNorm", cast("nn.Sequential", module)[-1]) for module in modules]
    pooled_BCHW = pool(state.x_BCHW)
    if norms[0].affine or not norms[0].training:  # every edge has numbers of its own
        return BatchNorm.side_by_side(norms, repeat_channels(pooled_BCHW, len(scale_D)), scale_D)
    normal_BCHW, mean_C, variance_C = normalised(pooled_BCHW, None, None, norms[0].eps)
    update_running_statistics(norms, [mean_C] * len(norms), [variance_C] * len(norms))
    return weighed(normal_BCHW, scale_D)


def apply_stacked(operations: Sequence[ReluFirst], state: State) -> tuple[Tensor, ...]:
    """Return the outputs of the same operation on several edges that leave a state, computed as one."""
    return side_by_side(operations, state).chunk(len(operations), dim=1)


def side_by_side(operations: Sequence[ReluFirst], state: State, scale_D: Tensor | None = None) -> Tensor:
    """Return the same, one after the other along the channels, each channel times its scale: [B, D, H', W']."""
    layers = [list(operation) for operation in operations]
    norms = [cast("BatchNorm", each[-1]) for each in layers]
    return BatchNorm.side_by_side(norms, convolved(state.rectified, [each[1:-1] for each in layers]), scale_D)


def convolved(x_BCHW: Tensor, layers: Sequence[Sequence[nn.Module]]) -> Tensor:
    """Run what lies between the first ReLU and the last batch norm of a candidate, for several edges."""
    for same in zip(*layers, strict=True):
        match same[0]:
            case BatchNorm():
                x_BCHW = BatchNorm.side_by_side(cast("Sequence[BatchNorm]", same), x_BCHW)
            case nn.ReLU():
                x_BCHW = x_BCHW.relu_()  # batch norm keeps its input, not its output
            case Halves():
                x_BCHW = Halves.side_by_side(cast("Sequence[Halves]", same), x_BCHW)
            case _:
                x_BCHW = Convolution.side_by_side(cast("Sequence[Convolution]", same), x_BCHW)
    return x_BCHW

"""All edges that leave a state are computed together, and what they have in common only once.

A state feeds up to five edges with up to eight candidates each. Once per state are computed: the ReLU that begins every
weighted candidate, the pools, and the pools' batch norm where it sees the same batch on every edge. The mixing weight
rides as the scale of the batch norm that ends a candidate, so no multiplication is needed for it and nothing is kept
for that multiplication's gradient. ``none`` has no term at all.

On a GPU equal candidates of different edges are moreover computed as one, their kernels stacked along the channels: a
third of the launches, which are what a GPU waits for. A CPU only pays for copying the state; ``stacks`` is the one
place that decides.

Suffixes: ``B`` batch, ``C`` mixed channels of the state, ``G`` edges computed as one, ``H``, ``W``, ``E`` edges of the
cell, ``O`` candidates of an edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.space.operations import Convolution, Halves

Place = tuple[int, int]
"""(edge, position of a candidate on it)."""


@dataclass(frozen=True)
class Scales:
    """The mixing weights of a cell as they are used: one number, or the same for each channel.

    Attributes:
        scalars: by edge and candidate, without dimensions.
        channels: the same, [C] each.
    """

    scalars: tuple[tuple[Tensor, ...], ...]
    channels: tuple[tuple[Tensor, ...], ...]

    @staticmethod
    def of(weights_EO: Tensor, channels: int) -> Scales:
        """Cut the weights apart, all in one go, which also keeps the backward pass short."""
        weights_EOC = weights_EO[:, :, None].expand(-1, -1, channels).contiguous()
        return Scales(
            tuple(row_O.unbind() for row_O in weights_EO.unbind()),
            tuple(row_OC.unbind() for row_OC in weights_EOC.unbind()),
        )


def stacks(x_BCHW: Tensor) -> bool:
    """Whether equal candidates of different edges are computed as one on the device of ``x_BCHW``."""
    return x_BCHW.is_cuda


def leave(
    x_BCHW: Tensor, edges: Sequence[nn.ModuleDict], places: Mapping[str, Sequence[Place]], scales: Scales
) -> Iterator[tuple[int, Tensor]]:
    """Yield (edge, weighted sum of its candidates [B, C, H', W']) for the edges that leave a state.

    Args:
        x_BCHW: the mixed channels of the state.
        edges: of the cell, each its candidates by name.
        places: where each candidate is to be computed, by its name.
        scales: mixing weights of the cell.
    """
    shared = SharedState(x_BCHW)
    sums: dict[tuple[int, ...], Tensor] = {}
    for name, found in places.items():
        for group in (found,) if stacks(x_BCHW) else tuple((place,) for place in found):
            on = tuple(edge for edge, _ in group)
            term = shared.candidate(name, [edges[edge][name] for edge in on], group, scales)
            sums[on] = sums[on] + term if on in sums else term
    for on, total in sums.items():
        yield from zip(on, total.chunk(len(on), dim=1) if len(on) > 1 else (total,), strict=True)


class SharedState:
    """A state and what its edges share, computed when it is first asked for."""

    def __init__(self, x_BCHW: Tensor) -> None:
        self.x_BCHW = x_BCHW
        self.rectified: Tensor | None = None
        self.pooled: dict[str, Tensor] = {}
        self.normalised: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def candidate(self, name: str, modules: Sequence[nn.Module], group: Sequence[Place], scales: Scales) -> Tensor:
        """Return one candidate on several edges, times its mixing weights: [B, G * C, H', W']."""
        first = modules[0]
        if isinstance(first, nn.Dropout):
            return _times(first(_repeat(self.x_BCHW, len(group))), group, scales)
        layers = [list(cast("nn.Sequential", module)) for module in modules]
        norms = [cast("nn.BatchNorm2d", each[-1]) for each in layers]
        if isinstance(layers[0][0], nn.ReLU):
            return normalise(norms, self._convolved([each[1:-1] for each in layers]), _stack(group, scales))
        if name not in self.pooled:
            self.pooled[name] = layers[0][0](self.x_BCHW)
        if norms[0].training and norms[0].momentum is not None:
            return _times(_repeat(self._normalised(name, norms), len(group)), group, scales)
        return normalise(norms, _repeat(self.pooled[name], len(group)), _stack(group, scales))

    def _convolved(self, layers: Sequence[Sequence[nn.Module]]) -> Tensor:
        """Run what lies between the first ReLU and the last batch norm."""
        if self.rectified is None:
            self.rectified = self.x_BCHW.relu()
        out_BCHW = self.rectified
        for same in zip(*layers, strict=True):
            match same[0]:
                case nn.BatchNorm2d():
                    out_BCHW = normalise(cast("Sequence[nn.BatchNorm2d]", same), out_BCHW)
                case nn.ReLU():
                    out_BCHW = out_BCHW.relu()
                case Halves():
                    out_BCHW = Halves.together(cast("Sequence[Halves]", same), out_BCHW)
                case _:
                    out_BCHW = Convolution.together(cast("Sequence[Convolution]", same), out_BCHW)
        return out_BCHW

    def _normalised(self, name: str, norms: Sequence[nn.BatchNorm2d]) -> Tensor:
        """Normalise a pool by its batch statistics, which are those of every edge; each edge keeps its own average."""
        if name not in self.normalised:
            mean_C, variance_C = _nothing(self.pooled[name])
            out = functional.batch_norm(self.pooled[name], mean_C, variance_C, None, None, True, 1.0, norms[0].eps)
            self.normalised[name] = out, mean_C, variance_C
        out, mean_C, variance_C = self.normalised[name]
        _average(norms, [mean_C] * len(norms), [variance_C] * len(norms))
        return out


def normalise(norms: Sequence[nn.BatchNorm2d], x_BCHW: Tensor, scale_C: Tensor | None = None) -> Tensor:
    """Apply batch norms without affine parameters side by side, the scale given instead.

    Args:
        norms: one for each equal part of the channels.
        x_BCHW: [B, G * C, H, W].
        scale_C: [G * C]; None is one.
    """
    first = norms[0]
    if len(norms) == 1:
        running = first.running_mean, first.running_var
        momentum = _momentum(first) if first.training else 0.0
        return functional.batch_norm(x_BCHW, *running, scale_C, None, first.training, momentum, first.eps)
    if not first.training:
        mean_C = torch.cat([cast("Tensor", norm.running_mean) for norm in norms])
        variance_C = torch.cat([cast("Tensor", norm.running_var) for norm in norms])
        return functional.batch_norm(x_BCHW, mean_C, variance_C, scale_C, None, False, 0.0, first.eps)
    mean_C, variance_C = _nothing(x_BCHW)
    out = functional.batch_norm(x_BCHW, mean_C, variance_C, scale_C, None, True, 1.0, first.eps)
    _average(norms, mean_C.chunk(len(norms)), variance_C.chunk(len(norms)))
    return out


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


def _repeat(x_BCHW: Tensor, times: int) -> Tensor:
    return x_BCHW if times == 1 else torch.cat([x_BCHW] * times, dim=1)


def _times(x_BCHW: Tensor, group: Sequence[Place], scales: Scales) -> Tensor:
    if len(group) == 1:
        edge, choice = group[0]
        return scales.scalars[edge][choice] * x_BCHW
    return _stack(group, scales)[:, None, None].to(x_BCHW.dtype) * x_BCHW


def _stack(group: Sequence[Place], scales: Scales) -> Tensor:
    if len(group) == 1:
        edge, choice = group[0]
        return scales.channels[edge][choice]
    return torch.cat([scales.channels[edge][choice] for edge, choice in group])

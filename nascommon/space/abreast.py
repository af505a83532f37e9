"""On a GPU candidates of the edges that leave a state are computed abreast: few large operators, not many small ones.

A kernel of a GPU takes some five microseconds however little it does, and a supernet's are little. So whatever differs
in nothing but its weights runs as one: the pointwise convolutions of all kinds of candidates on all edges are one
product with a matrix of blocks, their batch norms one batch norm, and pools and skips of all edges one product with
their mixing weights. Kernels, mixing weights and running statistics are gathered once for a cell.
A CPU, which calls faster than it copies, computes kind by kind (``fan``).

The product with a matrix of blocks multiplies mostly by zeros, which costs tensor cores less than the reading of its
input, and leaves the result in channels-last layout without a copy.

Suffixes: ``B`` batch, ``C`` mixed channels of a state, ``N`` columns (a candidate on an edge), ``D`` = N * C, ``G``
edges, ``K`` kinds of candidates, ``H``, ``W``, ``k`` side of a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels.batch_norm import BatchNorm, update_running_statistics
from nascommon.kernels.home import on_cpu
from nascommon.space.fan import Place, candidate
from nascommon.space.operations import Convolution, ReluFirst, State

Places = Mapping[str, Sequence[Place]]
"""Where the candidates on the edges of a state are to be computed, by their names."""
HALF = 4
"""Layers of half a separable convolution: ReLU, depthwise and pointwise convolution, batch norm."""

ALIGNMENT = 16
"""Bytes that fast kernels read at a time, and of which addresses must be multiples."""


def runs_abreast(x_BCHW: Tensor) -> bool:
    """Return whether a device gains by it."""
    return not on_cpu(x_BCHW)


@dataclass(frozen=True)
class Stage:
    """Depthwise convolutions of some kinds, each on several edges, and what follows on all of them."""

    depthwise: list[list[Convolution]]
    pointwise: list[Convolution]
    norms: list[BatchNorm]

    @staticmethod
    def of(kinds: Sequence[Sequence[ReluFirst]], half: int) -> Stage:
        """Collect a half of separable convolutions, 0 the first and -1 the last, of each kind on several edges."""
        layers = [[list(each)[half * HALF :][:HALF] for each in kind] for kind in kinds]
        flat = [each for kind in layers for each in kind]
        return Stage(
            [[cast("Convolution", each[1]) for each in kind] for kind in layers],
            [cast("Convolution", each[2]) for each in flat],
            [cast("BatchNorm", each[3]) for each in flat],
        )

    @property
    def kernels(self) -> list[list[Convolution]]:
        """Convolutions whose kernels are used as one."""
        return [*self.depthwise, self.pointwise] if self.pointwise else []


class Leaving:
    """The candidates on the edges that leave a state, sorted by how they are computed."""

    def __init__(self, places: Places, edges: Sequence[nn.ModuleDict]) -> None:
        def modules(name: str) -> list[nn.Module]:
            return [edges[edge][name] for edge, _ in places[name]]

        separable = [name for name in places if _is_separable(modules(name)[0])]
        # Those of two halves first, so that the columns of the first stage are the first of the second.
        self.separable = sorted(separable, key=lambda name: -len(cast("ReluFirst", modules(name)[0])))
        shared = [name for name in places if _is_shared(modules(name)[0])]
        self.shared = sorted(shared, key=lambda name: isinstance(modules(name)[0], nn.Dropout))  # pools, then skips
        self.others = [name for name in places if name not in (*self.separable, *self.shared)]
        self.modules = {name: modules(name) for name in places}
        self.places = places
        kinds = [cast("list[ReluFirst]", self.modules[name]) for name in self.separable]
        self.first = Stage.of([kind for kind in kinds if len(kind[0]) > HALF], 0)
        self.last = Stage.of(kinds, -1)

    @property
    def order(self) -> list[Place]:
        """Columns, in the order in which their mixing weights are needed."""
        return [place for name in (*self.separable, *self.shared, *self.others) for place in self.places[name]]

    def edges_of(self, names: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the edges that each kind is on."""
        return [tuple(edge for edge, _ in self.places[name]) for name in names]


def _is_separable(module: nn.Module) -> bool:
    if not isinstance(module, ReluFirst) or len(module) < HALF:
        return False
    depthwise, pointwise = module[1], module[2]
    return (
        isinstance(depthwise, Convolution)
        and isinstance(pointwise, Convolution)
        and depthwise.groups == depthwise.in_channels
        and pointwise.kernel_size == (1, 1)
        and not _is_affine(module)
    )


def _is_shared(module: nn.Module) -> bool:
    """Return whether it gives the same on every edge."""
    if isinstance(module, nn.Dropout):
        return module.p == 0
    return type(module) is nn.Sequential and not _is_affine(module)


def _is_affine(module: nn.Sequential) -> bool:
    """Return whether its batch norms have scales and shifts, which those of edges computed abreast cannot have."""
    return cast("BatchNorm", module[-1]).affine


class Abreast:
    """A forward pass of a cell in training mode."""

    def __init__(
        self,
        edges: Sequence[nn.ModuleDict],
        places: Mapping[int, Places],
        weights_EO: Tensor,
        positions: Positions,
        *,
        channels: int,
        dtype: torch.dtype,
    ) -> None:
        """Gather the weights.

        Args:
            edges: of the cell, each its candidates by name.
            places: where each candidate is to be computed, by the state that it leaves.
            weights_EO: mixing weights.
            positions: of the cell.
            channels: C.
            dtype: of its maps, which convolutions are computed in.
        """
        self.leaving = {source: Leaving(each, edges) for source, each in places.items() if each}
        self.channels = channels
        stages = [stage for each in self.leaving.values() for stage in (each.first, each.last)]
        self.kernels = gathered([kernels for stage in stages for kernels in stage.kernels], dtype)
        order = [place for each in self.leaving.values() for place in each.order]
        scale_N = weights_EO.flatten().index_select(0, positions(order, weights_EO))
        widths = [len(each.order) for each in self.leaving.values()]
        scales_NC = torch.split(scale_N[:, None].expand(-1, channels).contiguous(), widths)
        self.scales_NC = dict(zip(self.leaving, scales_NC, strict=True))
        self.narrow_N = dict(zip(self.leaving, torch.split(scale_N.to(dtype), widths), strict=True))
        self.statistics = Statistics()

    def terms(self, source: int, x_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield (edge, a part of its weighted sum of candidates [B, C, H', W']) for the edges that leave a state.

        To be asked for state by state, in their order.
        """
        if source not in self.leaving:
            return
        leaving, state = self.leaving[source], State(x_BCHW)
        sums: dict[tuple[int, ...], Tensor] = {}
        for on, term in self._wide_terms(leaving, state, self.scales_NC[source], self.narrow_N[source]):
            sums[on] = sums[on] + term if on in sums else term
        for on, total in sums.items():
            yield from zip(on, torch.split(total, self.channels, dim=1), strict=True)
        if source == max(self.leaving):
            self.statistics.remember()

    def _wide_terms(
        self, leaving: Leaving, state: State, scale_NC: Tensor, narrow_N: Tensor
    ) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        """Yield (edges, a part of their weighted sums one after the other along the channels)."""
        separable, shared = len(leaving.last.norms), sum(len(leaving.places[name]) for name in leaving.shared)
        if leaving.separable:
            yield from self._separable(leaving, state.rectified, scale_NC[:separable].flatten())
        scale_NC, alike = scale_NC[separable:], set(leaving.edges_of(leaving.shared))
        one_by_one = list(leaving.others)
        if len(alike) == 1:
            yield alike.pop(), self._shared(leaving, state.x_BCHW, narrow_N[separable:][:shared])
            scale_NC = scale_NC[shared:]
        else:
            one_by_one = [*leaving.shared, *leaving.others]
        for name, on in zip(one_by_one, leaving.edges_of(one_by_one), strict=True):
            yield on, candidate(state, leaving.modules[name], scale_NC[: len(on)].flatten())
            scale_NC = scale_NC[len(on) :]

    def _separable(
        self, leaving: Leaving, rectified_BCHW: Tensor, scale_D: Tensor
    ) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        on, whole = leaving.edges_of(leaving.separable), len(leaving.first.depthwise)
        widths = [len(edges) * self.channels for edges in on]
        repeated = {edges: repeated_channels(rectified_BCHW, len(edges)) for edges in set(on)}
        inputs = [repeated[edges] for edges in on]
        if whole:
            between = self._stage(leaving.first, inputs[:whole], None)
            inputs[:whole] = [part.relu() for part in torch.split(between, widths[:whole], dim=1)]
        out = self._stage(leaving.last, inputs, scale_D)
        if len(set(on)) == 1:
            yield on[0], summed(out, len(on))
        else:
            yield from zip(on, torch.split(out, widths, dim=1), strict=True)

    def _stage(self, stage: Stage, inputs: Sequence[Tensor], scale_D: Tensor | None) -> Tensor:
        """Return [B, D, H', W'] of inputs [B, G * C, H, W], one for each kind."""
        *kernels, pointwise_NC = islice(self.kernels, len(stage.kernels))
        maps = [
            same[0].run(x_BDHW, kernel.view(-1, 1, *same[0].kernel_size), x_BDHW.shape[1])
            for same, x_BDHW, kernel in zip(stage.depthwise, inputs, kernels, strict=True)
        ]
        products = pointwise(_beside(maps), pointwise_NC.view(-1, self.channels, self.channels))
        return self.statistics.normalised([[norm] for norm in stage.norms], products, scale_D)

    def _shared(self, leaving: Leaving, x_BCHW: Tensor, scale_N: Tensor) -> Tensor:
        """Return the weighted sum of pools and skips on several edges, [B, G * C, H', W']."""
        modules = [leaving.modules[name] for name in leaving.shared]
        pools = [cast("list[nn.Sequential]", kind) for kind in modules if isinstance(kind[0], nn.Sequential)]
        maps = [x_BCHW] * (len(modules) - len(pools))
        if pools:
            norms = [[cast("BatchNorm", each[-1]) for each in kind] for kind in pools]
            pooled = [kind[0][0](x_BCHW) for kind in pools]
            maps = [self.statistics.normalised(norms, _beside(pooled), None), *maps]
        scale_GK = scale_N.view(len(modules), -1).t()
        weights_GCKC = scale_GK[:, :, None].expand(-1, -1, self.channels).diag_embed(dim1=1, dim2=3)
        return product(_beside(maps), weights_GCKC.flatten(2).flatten(0, 1))


class Statistics:
    """Batch norms of a cell in training mode, whose running statistics are moved in one go at the end."""

    def __init__(self) -> None:
        self.norms: list[list[BatchNorm]] = []
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.pixels = 0

    def normalised(self, norms: Sequence[Sequence[BatchNorm]], x_BDHW: Tensor, scale_D: Tensor | None) -> Tensor:
        """Return x normalised by its own statistics, times its scale: [B, D, H, W].

        Args:
            norms: those that see each equal part of the channels.
            x_BDHW: a training batch; every call brings as many pixels.
            scale_D: factor of each channel; None is one.
        """
        out, mean_D, inverse_D = torch.native_batch_norm(x_BDHW, scale_D, None, None, None, True, 0.0, norms[0][0].eps)
        self.norms += map(list, norms)
        self.batches.append((mean_D, inverse_D))
        self.pixels = x_BDHW.numel() // x_BDHW.shape[1]
        return out

    @torch.no_grad()
    def remember(self) -> None:
        """Let every batch norm take the statistics of its batch into its running ones."""
        if not self.norms:
            return
        first, kept = self.norms[0][0], cast("Tensor", self.norms[0][0].running_mean)
        means, inverses = (torch.cat(each).to(kept.dtype) for each in zip(*self.batches, strict=True))
        # The running variance is the unbiased one (Bessel), as in torch.
        variances = (inverses**-2 - first.eps).clamp_(min=0).mul_(self.pixels / (self.pixels - 1))
        parts = zip(self.norms, means.chunk(len(self.norms)), variances.chunk(len(self.norms)), strict=True)
        each = [(norm, mean, variance) for norms, mean, variance in parts for norm in norms]
        update_running_statistics(*zip(*each, strict=True))


class Positions:
    """Positions of columns among the mixing weights, on the device; the last ones are kept.

    A step that is recorded as a CUDA graph must not copy from the host.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._positions_N = torch.empty(0)

    def __call__(self, order: Sequence[Place], weights_EO: Tensor) -> Tensor:
        """Return the position of each place in the flattened weights, [N]."""
        key = (tuple(order), weights_EO.shape[1], weights_EO.device)
        if key != self._key:
            positions = [edge * weights_EO.shape[1] + choice for edge, choice in order]
            self._key, self._positions_N = key, torch.tensor(positions, dtype=torch.long).to(weights_EO.device)
        return self._positions_N


def gathered(alike: Sequence[Sequence[Convolution]], dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield the kernels of convolutions that run as one, one after the other and flattened, in ``dtype``.

    They are copied and converted all together, and so are their gradients.
    """
    if not alike:
        return iter(())
    sizes = [sum(each.weight.numel() for each in same) for same in alike]
    flat = torch.cat([each.weight.flatten() for same in alike for each in same])
    return map(_aligned, torch.split(flat.to(dtype), sizes))


def _aligned(part: Tensor) -> Tensor:
    """Return what fast kernels can read; few channels leave a part between two such addresses."""
    return part.clone() if part.storage_offset() * part.element_size() % ALIGNMENT else part


def repeated_channels(x_BCHW: Tensor, times: int) -> Tensor:
    """Repeat all channels one after the other, [B, times * C, H, W]; the gradient is one sum."""
    if times == 1:
        return x_BCHW
    pixels_BHW1C = x_BCHW.permute(0, 2, 3, 1)[:, :, :, None]
    return pixels_BHW1C.expand(-1, -1, -1, times, -1).flatten(3).permute(0, 3, 1, 2)


def summed(x_BDHW: Tensor, kinds: int) -> Tensor:
    """Add up as many equal parts of the channels, [B, D / kinds, H, W]."""
    if kinds == 1:
        return x_BDHW
    B, D, H, W = x_BDHW.shape
    parts_BHWKD = x_BDHW.permute(0, 2, 3, 1).view(B, H, W, kinds, D // kinds)
    # The type is named, as autocast would sum to float32.
    return parts_BHWKD.sum(3, dtype=x_BDHW.dtype).permute(0, 3, 1, 2)


def pointwise(x_BDHW: Tensor, kernels_NCC: Tensor) -> Tensor:
    """Convolve each C channels with a 1x1 kernel of their own [output, input]: [B, D, H, W]."""
    blocks_NCNC = kernels_NCC.permute(1, 2, 0).diag_embed(dim1=0, dim2=2)
    return product(x_BDHW, blocks_NCNC.flatten(2).flatten(0, 1))


def product(x_BCHW: Tensor, weights_DC: Tensor) -> Tensor:
    """Multiply the channels of every pixel by a matrix, [B, D, H, W]; in channels-last layout nothing is copied."""
    return functional.linear(x_BCHW.permute(0, 2, 3, 1), weights_DC).permute(0, 3, 1, 2)


def _beside(maps: Sequence[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), dim=1)

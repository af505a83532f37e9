"""How the candidates of a cell are sorted to be computed abreast, and where its weights stand in the matrices.

Suffixes: ``N`` places, ``C`` mixed channels of a state, ``X`` all of them, ``M`` numbers that are put into matrices.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import cast

import torch
from torch import Tensor, nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.space.fan import Place
from nascommon.space.operations import Convolution, ReluFirst

Places = Mapping[str, Sequence[Place]]
"""Where the candidates on the edges of a state are to be computed, by their names."""
HALF = 4
"""Layers of half a separable convolution: ReLU, depthwise and pointwise convolution, batch norm."""

PARTIAL = 8
"""Plans of a few candidates that a cell keeps."""


@dataclass(frozen=True)
class Width:
    """Channels of the states of a cell.

    Attributes:
        mixed: C, those that candidates see.
        divisor: of all channels, of which the mixed ones are the first part.
    """

    mixed: int
    divisor: int

    @property
    def all(self) -> int:
        """X, all channels of a state."""
        return self.mixed * self.divisor

    @property
    def rest(self) -> int:
        """Those that bypass the candidates."""
        return self.all - self.mixed

    @property
    def shuffled(self) -> Tensor:
        """Position that each channel of a node takes in the shuffle of PC-DARTS; without partial channels its own."""
        channels_X = torch.arange(self.all)
        return channels_X % self.mixed * self.divisor + channels_X // self.mixed


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


class Leaving:
    """The candidates on the edges that leave a state, sorted by how they are computed.

    Attributes:
        first: first halves of separable convolutions that have two.
        last: last or only halves of all of them, in whose batch norm the pools take part.
        pools: of each kind on its edges.
        columns: what the first matrix multiplies, each with its places: separable convolutions, then pools.
        skips: what the second matrix multiplies the mixed channels with.
        bypassed: edges for which it takes the other channels.
        others: (places, modules) of each kind that is computed by itself.
        on: edges that the matrices give something to.
    """

    def __init__(
        self, places: Places, edges: Sequence[nn.ModuleDict], bypassed: Sequence[int], width: Width, *, halves: bool
    ) -> None:
        """Sort.

        Args:
            places: of the candidates.
            edges: of the cell, each its candidates by name.
            bypassed: edges on which channels bypass them.
            width: of the cell.
            halves: whether these edges halve height and width.
        """
        modules = {name: [edges[edge][name] for edge, _ in alike] for name, alike in places.items()}
        kind = {name: _kind(alike[0]) for name, alike in modules.items()}
        # Those of two halves first, so that the columns of the first stage are the first of the second.
        separable = [name for half in ("two halves", "half") for name in places if kind[name] == half]
        pools, skips, others = ([name for name in places if kind[name] == of] for of in ("pool", "skip", "other"))
        operations = [cast("list[ReluFirst]", modules[name]) for name in separable]
        self.width, self.bypassed, self.halves = width, tuple(bypassed), halves
        self.first = Stage.of([each for each in operations if len(each[0]) > HALF], 0)
        self.last = Stage.of(operations, -1)
        self.pools = [cast("list[nn.Sequential]", modules[name]) for name in pools]
        self.columns = [[place] for name in separable for place in places[name]] + [[*places[name]] for name in pools]
        self.skips = [place for name in skips for place in places[name]]
        self.others = [(places[name], modules[name]) for name in others]
        self.on = sorted({edge for edge, _ in self.weighted} | set(bypassed))

    @property
    def weighted(self) -> list[Place]:
        """Places whose mixing weights stand in the matrices."""
        return [*chain(*self.columns), *self.skips]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the two matrices; the second one multiplies a whole state, or the halved rest of one."""
        rows, width = len(self.on) * self.width.all, self.width
        passing = width.rest if self.halves else width.all
        return [(rows, len(self.columns) * width.mixed), (rows, passing if self.skips or self.bypassed else 0)]

    def positions(self, starts: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Return where the weights of ``weighted`` and of ``bypassed`` stand, the matrices beginning at ``starts``."""
        C, rows_X = self.width.mixed, self.width.shuffled
        (_, columns), (_, passing) = self.shapes
        channels_C = torch.arange(C)

        def rows(edge: int) -> Tensor:
            return self.on.index(edge) * self.width.all + rows_X

        inner = [
            starts[0] + rows(edge)[:C] * columns + column * C + channels_C
            for column, places in enumerate(self.columns)
            for edge, _ in places
        ]
        inner += [starts[1] + rows(edge)[:C] * passing + channels_C for edge, _ in self.skips]
        rest = torch.arange(passing - self.width.rest, passing)
        return inner, [starts[1] + rows(edge)[C:] * passing + rest for edge in self.bypassed]


def _kind(module: nn.Module) -> str:
    """Return how a candidate is computed."""
    if isinstance(module, nn.Dropout):
        return "skip" if module.p == 0 else "other"
    if type(module) is nn.Sequential:  # a pool with its batch norm
        return "other" if module[-1].affine else "pool"
    if not isinstance(module, ReluFirst) or not _is_separable(module):
        return "other"
    return "half" if len(module) == HALF else "two halves"


def _is_separable(module: ReluFirst) -> bool:
    depthwise, pointwise = module[1], module[2]
    return (
        len(module) in (HALF, 2 * HALF)
        and isinstance(depthwise, Convolution)
        and isinstance(pointwise, Convolution)
        and depthwise.groups == depthwise.in_channels
        and pointwise.kernel_size == (1, 1)
        and not cast("BatchNorm", module[HALF - 1]).affine
    )


class Plan:
    """What a cell computes under one choice of places, and where its weights stand in the matrices.

    Attributes:
        leaving: the candidates by the state that they leave.
        stages: of all states, the first and the last of each.
        sizes: of the square matrix of blocks of each stage.
        ones: how many ones stand in these, which leave pools as they are.
        blocks_M: positions of the kernels of all pointwise convolutions there, then of these ones.
        shapes: of the matrices of mixing weights, two for each state.
        counts: of the following.
        weights_N: which mixing weights (those of edges count on behind those of candidates) are taken: for columns and
            skips, for bypasses, and for what is computed by itself.
        others: counts of each of the last.
        mixed_M: positions that the first two of them take in the matrices, as often as there are channels.
    """

    def __init__(self, leaving: Mapping[int, Leaving], weights: torch.Size, width: Width, device: torch.device) -> None:
        """Find all positions for mixing weights of the shape [edges, operations]."""
        self.leaving, self.width = leaving, width
        self.stages = [stage for each in leaving.values() for stage in (each.first, each.last)]
        self._place_blocks([more for each in leaving.values() for more in (0, len(each.pools))], device)
        self.shapes = [shape for each in leaving.values() for shape in each.shapes]
        starts = _starts([rows * columns for rows, columns in self.shapes])
        positions = [each.positions(starts[2 * i :][:2]) for i, each in enumerate(leaving.values())]
        places = [place for each in leaving.values() for place in each.weighted]
        bypassed = [edge for each in leaving.values() for edge in each.bypassed]
        alone = [alike for each in leaving.values() for alike, _ in each.others]
        others = [*chain(*alone)]
        self.others = [len(alike) for alike in alone]
        self.counts = [len(places), len(bypassed), len(others)]
        of_candidates = [[edge * weights[1] + choice for edge, choice in each] for each in (places, others)]
        of_edges = [weights.numel() + edge for edge in bypassed]
        self.weights_N = torch.tensor([*of_candidates[0], *of_edges, *of_candidates[1]], dtype=torch.long).to(device)
        inner, outer = ([*chain(*parts)] for parts in zip(*positions, strict=True)) if positions else ([], [])
        self.mixed_M = _joined([*inner, *outer]).to(device)

    def _place_blocks(self, pools: Sequence[int], device: torch.device) -> None:
        C = self.width.mixed
        self.ones = sum(pools) * C
        self.sizes = [(len(stage.norms) + more) * C for stage, more in zip(self.stages, pools, strict=True)]
        placed = list(zip(_starts([size**2 for size in self.sizes]), self.stages, self.sizes, pools, strict=True))
        kernels = [start + block_positions(len(stage.norms), C, size) for start, stage, size, _ in placed]
        ones = [start + torch.arange(size - more * C, size) * (size + 1) for start, _, size, more in placed]
        self.blocks_M = _joined([*kernels, *ones]).to(device)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *accumulate(sizes)][:-1]


def _joined(positions: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.empty(0, dtype=torch.long), *positions])


def block_positions(count: int, channels: int, size: int) -> Tensor:
    """Return where kernels [count, output, input] of neighbouring channels stand in a flattened square matrix."""
    block_N11 = torch.arange(count)[:, None, None] * channels
    row_C1, column_C = torch.arange(channels)[:, None], torch.arange(channels)
    return ((block_N11 + row_C1) * size + block_N11 + column_C).flatten()


class Plans:
    """Makes the plans of a cell for the places that it is asked for.

    A step that is recorded as a CUDA graph must not copy from the host, as making a plan does, and goes on reading the
    positions that it was recorded with. So plans of all candidates are kept for good, and some of those of a few
    candidates, which may be others in every step.
    """

    def __init__(self, width: Width, halving: Mapping[int, bool]) -> None:
        """Take the width of a cell, and which states are left by edges that halve."""
        self.width, self.halving = width, halving
        self._whole: dict[Hashable, Plan] = {}
        self._partial: dict[Hashable, Plan] = {}

    def __call__(
        self,
        edges: Sequence[nn.ModuleDict],
        places: Mapping[int, Places],
        there: Mapping[int, Sequence[int]],
        weights_EO: Tensor,
        *,
        whole: bool,
    ) -> Plan:
        """Return the plan.

        Args:
            edges: of the cell, each its candidates by name.
            places: where each candidate is to be computed, by the state that it leaves.
            there: edges that are there at all, by the state that they leave.
            weights_EO: mixing weights, for their shape and device.
            whole: whether no candidate is left out.
        """
        named = tuple((name, tuple(alike)) for each in places.values() for name, alike in each.items())
        drops = tuple(each.p > 0 for edge in edges for each in edge.values() if isinstance(each, nn.Dropout))
        key = (named, tuple(map(tuple, there.values())), drops, weights_EO.shape, weights_EO.device)
        kept = self._whole if whole else self._partial
        if key not in kept:
            kept[key] = self._made(edges, places, there, weights_EO)
            if not whole and len(kept) > PARTIAL:
                del kept[next(iter(kept))]
        return kept[key]

    def _made(
        self,
        edges: Sequence[nn.ModuleDict],
        places: Mapping[int, Places],
        there: Mapping[int, Sequence[int]],
        weights_EO: Tensor,
    ) -> Plan:
        bypassed = there if self.width.divisor > 1 else dict.fromkeys(there, ())
        leaving = {
            source: Leaving(each, edges, bypassed[source], self.width, halves=self.halving[source])
            for source, each in places.items()
            if each or bypassed[source]
        }
        return Plan(leaving, weights_EO.shape, self.width, weights_EO.device)

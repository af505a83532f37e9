"""How the candidates on the edges that leave a state are sorted to be computed abreast.

Suffixes: ``C`` mixed channels of a state, ``X`` all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind
from nascommon.kernels.batch_norm import BatchNorm
from nascommon.kernels.pools import Pools
from nascommon.space.fan import Place
from nascommon.space.operations import Convolution, ReluFirst

Places = Mapping[str, Sequence[Place]]
"""Where the candidates on the edges of a state are to be computed, by their names."""
HALF = 4
"""Layers of half a separable convolution: ReLU, depthwise and pointwise convolution, batch norm."""


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

    def reading(self, start: int = 0) -> list[Source]:
        """Return the kinds from ``start`` on as one bank that reads a state, if there are any."""
        some = self.depthwise[start:]
        kinds = tuple(_depthwise_kind(each[0], len(each)) for each in some)
        return [Source(Bank(kinds, some[0][0].stride[0]), 1, _numbers(some))] if kinds else []

    def own(self, stop: int) -> list[Source]:
        """Return the first kinds as banks with channels of their own: one if all are on as many edges."""
        some = self.depthwise[:stop]
        alike = [some] if len({len(each) for each in some}) == 1 else [[each] for each in some]
        return [
            Source(
                Bank(tuple(_depthwise_kind(each[0], 1) for each in kinds), shared=False),
                sum(len(each) for each in kinds),
                _numbers(kinds),
            )
            for kinds in alike
        ]


@dataclass(frozen=True)
class Source:
    """A bank of the cell.

    Attributes:
        bank: what is computed.
        times: mixed channels that its map has, as a multiple of those of a state.
        numbers: of all its kernels.
    """

    bank: Bank
    times: int
    numbers: int


def _numbers(kinds: Sequence[Sequence[Convolution]]) -> int:
    return sum(each.weight.numel() for kind in kinds for each in kind)


def _depthwise_kind(convolution: Convolution, groups: int) -> Kind:
    return Kind(convolution.kernel_size[0], convolution.dilation[0], groups)


class Leaving:
    """The candidates on the edges that leave a state, sorted by how they are computed.

    Attributes:
        first: first halves of separable convolutions that have two.
        last: last or only halves of all of them, in whose batch norm the pools take part.
        entering: the depthwise convolutions of the first halves, which read the state.
        own: those of the last halves of operations that have two.
        dilated: those of operations that have one half, which read the state.
        pools: of each kind on its edges.
        pooled: what computes the pools, if there are any: of each kind that of the first edge.
        columns: what the first matrix multiplies, each with its places: separable convolutions, then pools.
        skips: what the second matrix multiplies the mixed channels with.
        bypassed: edges for which it takes the other channels.
        others: (places, modules) of each kind that is computed by itself.
        on: edges that the matrices give something to, and those between them, which get zeros: they enter
            neighbouring nodes.
    """

    def __init__(
        self,
        places: Places,
        edges: Sequence[nn.ModuleDict],
        leaving: Sequence[int],
        bypassed: Sequence[int],
        width: Width,
        *,
        halves: bool,
    ) -> None:
        """Sort.

        Args:
            places: of the candidates.
            edges: of the cell, each its candidates by name.
            leaving: those that leave the state, node by node.
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
        whole = len(self.first.depthwise)
        self.entering, self.own, self.dilated = self.first.reading(), self.last.own(whole), self.last.reading(whole)
        self.pools = [cast("list[nn.Sequential]", modules[name]) for name in pools]
        first = tuple(cast("nn.MaxPool2d | AveragePool", kind[0][0]) for kind in self.pools)
        self.pooled = Pools(first) if first else None
        self.columns = [[place] for name in separable for place in places[name]] + [[*places[name]] for name in pools]
        self.skips = [place for name in skips for place in places[name]]
        self.others = [(places[name], modules[name]) for name in others]
        given = [leaving.index(edge) for edge in {*(edge for edge, _ in self.weighted), *bypassed}]
        self.on = leaving[min(given) : max(given) + 1] if given else ()

    @property
    def weighted(self) -> list[Place]:
        """Places whose mixing weights stand in the matrices."""
        return [*chain(*self.columns), *self.skips]

    @property
    def stages(self) -> tuple[Stage, Stage]:
        """One after the other."""
        return self.first, self.last

    @property
    def banks(self) -> tuple[list[Source], list[Source]]:
        """Those of each stage, in the order of their kernels."""
        return self.entering, [*self.own, *self.dilated]

    @cached_property
    def norms(self) -> tuple[list[list[BatchNorm]], list[list[BatchNorm]]]:
        """Batch norms that see each column of each stage."""
        of_pools = [[cast("BatchNorm", each[-1]) for each in kind] for kind in self.pools]
        return [[norm] for norm in self.first.norms], [*([norm] for norm in self.last.norms), *of_pools]

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns of the matrix of blocks of each stage."""
        return len(self.first.norms) * self.width.mixed, len(self.columns) * self.width.mixed

    @property
    def kind(self) -> Hashable:
        """What is the same of states whose banks, pools and matrices differ in nothing but their numbers."""
        pools = () if self.pooled is None else tuple(self.pooled.averages)
        return *map(tuple, self.banks), pools, self.sizes, *self.shapes, self.halves

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the two matrices; the second one multiplies a whole state, or the halved rest of one."""
        rows, width = len(self.on) * self.width.all, self.width
        passing = width.rest if self.halves else width.all
        return [(rows, len(self.columns) * width.mixed), (rows, passing if self.skips or self.bypassed else 0)]

    @property
    def rows(self) -> tuple[list[Tensor], list[Tensor]]:
        """Channels of the nodes that edges ``on`` enter, to which each of ``weighted`` and of ``bypassed`` gives."""
        C, rows_X = self.width.mixed, self.width.shuffled
        start = {edge: place * self.width.all for place, edge in enumerate(self.on)}
        return [start[edge] + rows_X[:C] for edge, _ in self.weighted], [
            start[edge] + rows_X[C:] for edge in self.bypassed
        ]

    def positions(self, starts: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Return where the weights of ``weighted`` and of ``bypassed`` stand, the matrices beginning at ``starts``."""
        (_, columns), (_, passing) = self.shapes
        mixed = [column for column, places in enumerate(self.columns) for _ in places]
        channels_C, (weighted, bypassed) = torch.arange(self.width.mixed), self.rows
        inner = [
            starts[0] + rows_C * columns + column * self.width.mixed + channels_C
            for rows_C, column in zip(weighted, mixed, strict=False)
        ]
        inner += [starts[1] + rows_C * passing + channels_C for rows_C in weighted[len(mixed) :]]
        rest = torch.arange(passing - self.width.rest, passing)
        return inner, [starts[1] + rows * passing + rest for rows in bypassed]


def _kind(module: nn.Module) -> str:
    """Return how a candidate is computed."""
    if isinstance(module, nn.Dropout):
        return "skip" if module.p == 0 else "other"
    if type(module) is nn.Sequential:  # a pool with its batch norm
        return "other" if module[-1].affine else "pool"
    if not isinstance(module, ReluFirst) or not is_separable(module) or cast("BatchNorm", module[-1]).affine:
        return "other"
    return "half" if len(module) == HALF else "two halves"


def is_separable(module: ReluFirst) -> bool:
    """Return whether it is one or two depthwise convolutions, each with a pointwise one and a batch norm behind it."""
    depthwise, pointwise = module[1], module[2]
    return (
        len(module) in (HALF, 2 * HALF)
        and isinstance(depthwise, Convolution)
        and isinstance(pointwise, Convolution)
        and depthwise.groups == depthwise.in_channels
        and pointwise.kernel_size == (1, 1)
    )

"""Where the weights of cells whose candidates are computed abreast stand in their matrices.

Suffixes: ``N`` places, ``C`` mixed channels of a state, ``X`` all of them, ``M`` numbers that are put into matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby, product

import torch
from torch import Tensor

from nascommon.kernels.batch_norm import BatchNorm, running_statistics
from nascommon.runtime.together import lay_together
from nascommon.space.fan import Place
from nascommon.space.leaving import Leaving, Width
from nascommon.space.operations import Convolution

HALVES = (0, 1)
"""Both stages of a state, by their place."""
PARTIAL = 8
"""Plans of a few candidates that a supernet keeps."""

Taken = tuple[int, int]
"""(mixing weight, counted over all cells, channels that it is repeated for)."""
Alike = Mapping[int, Leaving]
"""States that are computed as one, each with what leaves it: they differ in nothing but numbers."""
End = tuple[BatchNorm | None, Tensor]
"""(batch norm that ends it, if there is one, its channels of all nodes of the cell)."""


@dataclass(frozen=True)
class CellPlan:
    """What a cell computes under one choice of places.

    Attributes:
        leaving: the candidates by the state that they leave.
        width: of the cell.
        weights: shape of its mixing weights [edges, operations].
        nodes: how many it has.
        entered: the node that each edge enters.
        inputs: states before the first node, which are the outputs of as many cells before.
    """

    leaving: Mapping[int, Leaving]
    width: Width
    weights: torch.Size
    nodes: int
    entered: Sequence[int]
    inputs: int

    @cached_property
    def alike(self) -> list[Alike]:
        """All states, in their order, those together that can be computed at once: both inputs of most cells."""

        def kind(state: int) -> Hashable:
            each = self.leaving[state]
            return (each.kind, self.entered[each.on[0]]) if state < self.inputs and each.on else state

        return [{state: self.leaving[state] for state in states} for _, states in groupby(self.leaving, kind)]

    def taken(self, first: int, first_edge: int) -> tuple[list[Taken], list[Taken], list[Taken]]:
        """Return the mixing weights of columns and skips, of bypasses, and of what is computed by itself.

        Args:
            first: of the mixing weights of its candidates.
            first_edge: of those of its edges.
        """
        leaving = self.leaving.values()

        def of(places: Iterable[Place]) -> list[Taken]:
            return [(first + edge * self.weights[1] + choice, self.width.mixed) for edge, choice in places]

        return (
            of(place for each in leaving for place in each.weighted),
            [(first_edge + edge, self.width.rest) for each in leaving for edge in each.bypassed],
            of(place for each in leaving for alike, _ in each.others for place in alike),
        )

    def ends(self) -> tuple[list[End], list[End]]:
        """Return where columns and skips, and bypasses, lead, in the order of ``taken``."""
        inner: list[End] = []
        outer: list[End] = []
        for each in self.leaving.values():
            first = self.entered[each.on[0]] * self.width.all if each.on else 0
            weighted, bypassed = ([first + rows for rows in found] for found in each.rows)
            inner += zip([*chain(*each.norms[-1]), *(None for _ in each.skips)], weighted, strict=True)
            outer += ((None, rows) for rows in bypassed)
        return inner, outer


@dataclass(frozen=True)
class Shifts:
    """What moves the nodes where batch norms with running statistics stand in the matrices of mixing weights.

    Attributes:
        ends: batch norm that ends each of what stands in these, or None, and its number of channels.
        positions_M: of what stands in these, in a matrix that has a row for each channel of all nodes of all cells.
        most: columns of that one.
    """

    ends: Sequence[tuple[BatchNorm | None, int]]
    positions_M: Tensor
    most: int


class Plan:
    """What the cells of a supernet compute, and where their weights stand in the matrices.

    Attributes:
        cells: one after the other.
        halves: (what leaves a state, its stage): the first ones of states that are alike, then their last ones.
        stages: these.
        leads: of each, whether the output of the network depends on its cell.
        taps_M: the order of the kernels of all depthwise convolutions in which banks take them.
        banks: how many numbers of them each bank takes.
        blocks: shapes of the matrices of blocks of stages that are alike.
        ones: how many ones stand in these, which leave pools as they are.
        blocks_M: positions of the kernels of all pointwise convolutions there, then of these ones.
        shapes: of the matrices of mixing weights, two for states that are alike.
        bypassed: whether mixing weights of edges are taken; they count on behind those of candidates.
        weights_N: which mixing weights are taken: for columns and skips, for bypasses, and for what is computed by
            itself.
        runs: (how many of them come one after the other, for how many channels each of these is repeated).
        inside: how many runs stand in the matrices; the others are of what is computed by itself.
        mixed_M: positions that they take there.
        others: channels of each kind of what is computed by itself.
        between: batch norms between both halves of separable convolutions, of first stages that are alike and have any.
        nodes: channels of all nodes of each cell.
        device: of all positions.
    """

    def __init__(self, cells: Sequence[CellPlan], device: torch.device) -> None:
        """Find all positions."""
        self.cells = cells
        alike = [[*same.values()] for cell in cells for same in cell.alike]
        self.halves = [(each, half) for same in alike for half in HALVES for each in same]
        self.stages = [each.stages[half] for each, half in self.halves]
        leading = _leading(cells)
        self.leads = [index in leading for index, cell in enumerate(cells) for _ in range(2 * len(cell.leaving))]
        self.banks = [len(same) * bank.numbers for same in alike for banks in same[0].banks for bank in banks]
        self.blocks = [(len(same), size, size) for same in alike for size in same[0].sizes]
        self.shapes = [(len(same), *shape) for same in alike for shape in same[0].shapes]
        found = (self._taps(alike), self._blocks(), _mixed(alike), self._weights(cells))
        self.taps_M, self.blocks_M, self.mixed_M, self.weights_N = (
            each.to(device, non_blocking=True) for each in found
        )
        others = [(places, each.width) for same in alike for each in same for places, _ in each.others]
        self.others = [len(places) * width.mixed for places, width in others]
        between = [[norm for each in same for norm in each.first.norms] for same in alike]
        self.between = [norms for norms in between if norms]
        self.nodes, self.device = [cell.nodes * cell.width.all for cell in cells], device

    def _taps(self, alike: Sequence[Sequence[Leaving]]) -> Tensor:
        kinds = iter(tap_by_tap([[each.weight for each in kind] for stage in self.stages for kind in stage.depthwise]))
        found: list[Tensor] = []
        for same, half in product(alike, HALVES):
            banks = [[[next(kinds) for _ in one.bank.kinds] for one in each.banks[half]] for each in same]
            found += chain(*chain(*zip(*banks, strict=True)))  # a bank of all these states, then the next one
        return joined(found)

    def _blocks(self) -> Tensor:
        sizes = [each.sizes[half] for each, half in self.halves]
        pools = [half * len(each.pools) * each.width.mixed for each, half in self.halves]
        self.ones = sum(pools)
        starts = _starts([size**2 for size in sizes])
        kernels = [
            start + block_positions(len(each.stages[half].norms), each.width.mixed, size)
            for start, (each, half), size in zip(starts, self.halves, sizes, strict=True)
        ]
        ones = [
            start + torch.arange(size - more, size) * (size + 1)
            for start, size, more in zip(starts, sizes, pools, strict=True)
        ]
        return joined([*kernels, *ones])

    @property
    def convolutions(self) -> tuple[list[tuple[Convolution, bool]], list[tuple[Convolution, bool]]]:
        """Depthwise and pointwise ones of all stages, each with whether the output of the network depends on it."""
        stages = [*zip(self.stages, self.leads, strict=True)]
        return (
            [(each, leads) for stage, leads in stages for kind in stage.depthwise for each in kind],
            [(each, leads) for stage, leads in stages for each in stage.pointwise],
        )

    @property
    def norms(self) -> list[BatchNorm]:
        """Batch norms, as a pass comes to them."""
        columns = (column for each, half in self.halves for column in each.norms[half])
        return [norm for column in columns for norm in column]

    def lay_together(self) -> None:
        """Let weights and running statistics lie as a pass reads and moves them."""
        lay_together([each.weight for alike in self.convolutions for each, _ in alike])
        lay_together(running_statistics(self.norms))

    @cached_property
    def shifts(self) -> Shifts:
        """What running statistics need besides; steps that draw a few candidates each make plans without."""
        inner, outer = zip(*(cell.ends() for cell in self.cells), strict=True)
        starts = _starts(self.nodes)
        started = [
            (norm, start + rows)
            for each in (inner, outer)
            for start, ends in zip(starts, each, strict=True)
            for norm, rows in ends
        ]
        rows_M = joined([rows for _, rows in started])
        place_M = ranks_among_equals(rows_M)
        most = int(place_M.max()) + 1 if len(place_M) else 1
        positions_M = (rows_M * most + place_M).to(self.device, non_blocking=True)
        return Shifts([(norm, len(rows)) for norm, rows in started], positions_M, most)

    def _weights(self, cells: Sequence[CellPlan]) -> Tensor:
        firsts = _starts([*(cell.weights.numel() for cell in cells), *(cell.weights[0] for cell in cells)])
        taken = [cell.taken(*first) for cell, *first in zip(cells, firsts, firsts[len(cells) :], strict=False)]
        inner, bypasses, others = ([*chain(*each)] for each in zip(*taken, strict=True))
        inside, alone = _runs([*inner, *bypasses]), _runs(others)
        self.bypassed, self.runs, self.inside = bool(bypasses), [*inside, *alone], len(inside)
        return torch.tensor([which for which, _ in [*inner, *bypasses, *others]], dtype=torch.long)


def _leading(cells: Sequence[CellPlan]) -> set[int]:
    """Return the cells that the last one depends on, and this one; where candidates are left out, not all may be."""
    leading = {len(cells) - 1}
    for index in reversed(range(len(cells))):
        if index in leading:
            cell = cells[index]
            leading |= {index - cell.inputs + source for source in cell.leaving if source < cell.inputs}
    return leading


def _mixed(alike: Sequence[Sequence[Leaving]]) -> Tensor:
    starts = iter(_starts([rows * columns for same in alike for rows, columns in same[0].shapes for _ in same]))
    found: list[tuple[list[Tensor], list[Tensor]]] = []
    for same in alike:
        of_shapes = [[next(starts) for _ in same] for _ in same[0].shapes]
        found += [each.positions(own) for each, *own in zip(same, *of_shapes, strict=True)]
    return joined([positions for place in (0, 1) for each in found for positions in each[place]])


def _runs(taken: Sequence[Taken]) -> list[tuple[int, int]]:
    return [(len([*same]), channels) for channels, same in groupby(channels for _, channels in taken)]


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *accumulate(sizes)][:-1]


def joined(positions: Sequence[Tensor]) -> Tensor:
    """Return positions one after the other; there may be none."""
    return torch.cat([torch.empty(0, dtype=torch.long), *positions])


def ranks_among_equals(numbers_M: Tensor) -> Tensor:
    """Return how many equal numbers stand before each."""
    order_M = numbers_M.argsort(stable=True)
    sorted_M = numbers_M[order_M]
    before_M = torch.arange(len(order_M)) - torch.searchsorted(sorted_M, sorted_M)
    return torch.empty_like(order_M).scatter_(0, order_M, before_M)


def tap_by_tap(kinds: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return where kernels [C, 1, k, k] of kinds, flattened, stand: of each kind tap by tap, then edge by edge."""
    sizes = [sum(each.numel() for each in kind) for kind in kinds]
    return [
        start + torch.arange(size).view(-1, kind[0][0].numel()).t().flatten()
        for start, size, kind in zip(_starts(sizes), sizes, kinds, strict=True)
    ]


def block_positions(count: int, channels: int, size: int) -> Tensor:
    """Return where kernels [count, output, input] of neighbouring channels stand in a square matrix [input, output]."""
    block_N11 = torch.arange(count)[:, None, None] * channels
    output_C1, input_C = torch.arange(channels)[:, None], torch.arange(channels)
    return ((block_N11 + input_C) * size + block_N11 + output_C1).flatten()


class Plans:
    """Keeps the plans of a supernet.

    A step that is recorded as a CUDA graph must not copy from the host, as making a plan does, and goes on reading the
    positions that it was recorded with. So plans of all candidates are kept for good, and some of those of a few
    candidates, which may be others in every step. The copies do not wait for the device, which may be busy with steps
    of another model: every induced pass brings a supernet without plans.
    """

    def __init__(self) -> None:
        """Have none."""
        self._whole: dict[Hashable, Plan] = {}
        self._partial: dict[Hashable, Plan] = {}

    def __call__(self, key: Hashable, make: Callable[[], Plan], *, whole: bool) -> Plan:
        """Return the plan.

        Args:
            key: all that it depends on.
            make: makes it, if there is none.
            whole: whether no candidate is left out.
        """
        kept = self._whole if whole else self._partial
        if key not in kept:
            kept[key] = make()
            if not whole and len(kept) > PARTIAL:
                del kept[next(iter(kept))]
        return kept[key]

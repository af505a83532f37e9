"""Where the weights of cells whose candidates are computed abreast stand in their matrices.

Suffixes: ``N`` places, ``C`` mixed channels of a state, ``X`` all of them, ``M`` numbers that are put into matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby

import torch
from torch import Tensor

from nascommon.kernels.batch_norm import BatchNorm, running_statistics
from nascommon.runtime.together import lay_together
from nascommon.space.fan import Place
from nascommon.space.leaving import Leaving, Width
from nascommon.space.operations import Convolution

PARTIAL = 8
"""Plans of a few candidates that a supernet keeps."""

Taken = tuple[int, int]
"""(mixing weight, counted over all cells, channels that it is repeated for)."""
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
            inner += zip([*each.norms, *(None for _ in each.skips)], weighted, strict=True)
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
        stages: of all states of all cells, the first and the last of each.
        leads: of each, whether the output of the network depends on its cell.
        taps_M: the order of the kernels of all depthwise convolutions in which banks take them.
        banks: how many numbers of them each bank takes.
        sizes: of the square matrix of blocks of each stage.
        ones: how many ones stand in these, which leave pools as they are.
        blocks_M: positions of the kernels of all pointwise convolutions there, then of these ones.
        shapes: of the matrices of mixing weights, two for each state.
        bypassed: whether mixing weights of edges are taken; they count on behind those of candidates.
        weights_N: which mixing weights are taken: for columns and skips, for bypasses, and for what is computed by
            itself.
        runs: (how many of them come one after the other, for how many channels each of these is repeated).
        inside: how many runs stand in the matrices; the others are of what is computed by itself.
        mixed_M: positions that they take there.
        others: channels of each kind of what is computed by itself.
        between: batch norms between both halves of separable convolutions, of each first stage that has any.
        nodes: channels of all nodes of each cell.
        device: of all positions.
    """

    def __init__(self, cells: Sequence[CellPlan], device: torch.device) -> None:
        """Find all positions."""
        self.cells = cells
        leaving = [each for cell in cells for each in cell.leaving.values()]
        self.stages = [stage for each in leaving for stage in (each.first, each.last)]
        leading = _leading(cells)
        self.leads = [index in leading for index, cell in enumerate(cells) for _ in range(2 * len(cell.leaving))]
        kinds = [kind for stage in self.stages for kind in stage.depthwise]
        taps = joined(tap_by_tap([[each.weight for each in kind] for kind in kinds]))
        self.banks = [source.numbers for each in leaving for source in each.sources]
        self.shapes = [shape for each in leaving for shape in each.shapes]
        starts = _starts([rows * columns for rows, columns in self.shapes])
        positions = [each.positions(starts[2 * i :][:2]) for i, each in enumerate(leaving)]
        inner, outer = ([*chain(*parts)] for parts in zip(*positions, strict=True)) if positions else ([], [])
        found = (taps, self._blocks(leaving), joined([*inner, *outer]), self._weights(cells))
        self.taps_M, self.blocks_M, self.mixed_M, self.weights_N = (
            each.to(device, non_blocking=True) for each in found
        )
        self.others = [len(alike) * each.width.mixed for each in leaving for alike, _ in each.others]
        self.between = [each.first.norms for each in leaving if each.first.norms]
        self.nodes, self.device = [cell.nodes * cell.width.all for cell in cells], device

    def _blocks(self, leaving: Sequence[Leaving]) -> Tensor:
        widths = [each.width.mixed for each in leaving for _ in (each.first, each.last)]
        pools = [more * each.width.mixed for each in leaving for more in (0, len(each.pools))]
        self.ones = sum(pools)
        self.sizes = [len(stage.norms) * C + more for stage, C, more in zip(self.stages, widths, pools, strict=True)]
        starts = _starts([size**2 for size in self.sizes])
        kernels = [
            start + block_positions(len(stage.norms), C, size)
            for start, stage, C, size in zip(starts, self.stages, widths, self.sizes, strict=True)
        ]
        ones = [
            start + torch.arange(size - more, size) * (size + 1)
            for start, size, more in zip(starts, self.sizes, pools, strict=True)
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
        leaving = (each for cell in self.cells for each in cell.leaving.values())
        return [norm for each in leaving for norm in (*each.first.norms, *each.norms)]

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
    """Return where kernels [count, output, input] of neighbouring channels stand in a flattened square matrix."""
    block_N11 = torch.arange(count)[:, None, None] * channels
    row_C1, column_C = torch.arange(channels)[:, None], torch.arange(channels)
    return ((block_N11 + row_C1) * size + block_N11 + column_C).flatten()


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

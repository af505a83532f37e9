"""On a GPU candidates of the edges that leave a state are computed abreast: few large operators, not many small ones.

A kernel of a GPU takes some five microseconds however little it does, and a supernet's are little. So whatever differs
in nothing but its weights runs as one: the pointwise convolutions of all kinds of candidates on all edges are one
product with a matrix of blocks, and their batch norms and those of the pools are one batch norm. What the edges make of
all that is another product, with a matrix of mixing weights; skips and the channels that bypass the candidates
(PC-DARTS) are a third, and the shuffle is the order of its rows. Kernels and mixing weights are gathered once
for all cells of a network, and running statistics are moved once for all. A CPU, which calls faster than it copies,
computes kind by kind (``fan``).

What differs in nothing else runs as one, too, where all of it is there at once: the states that enter most cells are
two batches of one map, each with numbers of its own.

These matrices are mostly zeros, by which tensor cores multiply in less time than the maps take to be read, and a
product leaves its result in channels-last layout without a copy.

Suffixes: ``B`` batch, ``C`` mixed channels of a state, ``X`` all its channels, ``N`` columns (a candidate on an edge,
or a pool), ``D`` = N * C, ``R`` channels of some nodes, ``S`` states that are computed as one, ``M`` numbers that are
put into matrices, ``H``, ``W``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels.bank import Pooled, beside
from nascommon.kernels.bank import Source as Given
from nascommon.kernels.batch_norm import BatchNorm, Statistics, each_normalised
from nascommon.kernels.handed import Handed
from nascommon.kernels.home import on_cpu
from nascommon.kernels.nodes import Nodes
from nascommon.kernels.pointwise import products
from nascommon.runtime import ranks
from nascommon.runtime.together import concatenated
from nascommon.space.fan import candidate
from nascommon.space.leaving import Leaving, Source
from nascommon.space.operations import State
from nascommon.space.plan import HALVES, Alike, Plan


def runs_abreast(like: Tensor) -> bool:
    """Return whether a device, that of a tensor, gains by it; its batch norms see no other rank's batch."""
    return not on_cpu(like) and not ranks.batch_norm_is_shared()


class Gathered:
    """Weights of all cells of a supernet as a pass reads them; they serve as many as there are until one is changed.

    Attributes:
        plan: what is computed.
        measured: whether batch norms take the statistics of the batch; else their running ones stand in the weights.
        kernels: of each bank.
        blocks: matrices [S, D, D] of stages that are alike.
        mixed: the two matrices of mixing weights of states that are alike, [S, R, D] and [S, R, X].
        others: mixing weights of each kind of what is computed by itself.
        between: running means and variances [S D] of first stages that are alike, if these are not measured.
        shifts: what the nodes of each cell begin with, likewise.
        eps: of batch norms.
    """

    def __init__(
        self,
        plan: Plan,
        weights: Sequence[Tensor],
        edges: Sequence[Tensor | None],
        dtype: torch.dtype,
        *,
        measured: bool = True,
    ) -> None:
        """Gather them.

        Args:
            plan: what is computed.
            weights: mixing weights of the candidates of each cell [E, O].
            edges: those of its edges [E], for what bypasses the candidates; None is one everywhere.
            dtype: of the maps, which convolutions are computed in.
            measured: whether batch norms take the statistics of the batch.
        """
        self.plan, self.measured = plan, measured
        self.eps, self.between = 0.0, list[tuple[Tensor, ...]]()
        self.shifts: Sequence[Tensor] = ()
        # What nothing depends on has no gradient, as if it had been taken apart from others, and no weight decay.
        depthwise, pointwise = (
            [each.weight if leads else each.weight.detach() for each, leads in alike] for alike in plan.convolutions
        )
        # Depthwise kernels stay wide: banks take them so, and their gradients are sums of many products.
        taps_M, kernels_M = gathered([depthwise, pointwise], weights[0], weights[0].dtype)
        self.kernels = torch.split(taps_M.index_select(0, plan.taps_M), plan.banks)
        numbers_M = torch.cat([kernels_M, kernels_M.new_ones(plan.ones)]).to(dtype)
        self.blocks = matrices(numbers_M, plan.blocks_M, plan.blocks)
        self._gather_weights(plan, weights, edges, dtype)

    def _gather_weights(
        self, plan: Plan, weights: Sequence[Tensor], edges: Sequence[Tensor | None], dtype: torch.dtype
    ) -> None:
        given = [weights_EO.flatten() for weights_EO in weights]
        if plan.bypassed:
            given += [
                weights_EO.new_ones(len(weights_EO)) if edges_E is None else edges_E.to(weights_EO.dtype)
                for weights_EO, edges_E in zip(weights, edges, strict=True)
            ]
        parts = torch.split(torch.cat(given).index_select(0, plan.weights_N), [count for count, _ in plan.runs])
        # Repeated before they are narrowed, so that the gradients of all channels are added up in the wide type.
        scales = [part[:, None].expand(-1, C).flatten() for part, (_, C) in zip(parts, plan.runs, strict=True)]
        inside, others = scales[: plan.inside], scales[plan.inside :]
        numbers_M = torch.cat(inside or [weights[0].new_empty(0)])
        numbers_M = numbers_M.to(dtype) if self.measured else self._normalising(plan, numbers_M, dtype)
        made = matrices(numbers_M, plan.mixed_M, plan.shapes)
        self.mixed = [*zip(made[::2], made[1::2], strict=True)]
        self.others = torch.split(torch.cat(others), plan.others) if others else ()

    def _normalising(self, plan: Plan, numbers_M: Tensor, dtype: torch.dtype) -> Tensor:
        """Let the matrices normalise by running statistics, the means of which are a summand of the nodes."""
        shifts, norms = plan.shifts, [norm for norm, _ in plan.shifts.ends if norm is not None]
        between = [norm for each in plan.between for norm in each]
        self.eps = eps = next((norm.eps for norm in [*norms, *between]), 0.0)
        widest = max((C for _, C in shifts.ends), default=0)
        # What no batch norm ends is divided by one.
        none = numbers_M.new_zeros(widest), numbers_M.new_full((widest,), 1 - eps)
        ended = [[each[:C] for each in (none if norm is None else _running(norm))] for norm, C in shifts.ends]
        mean_M, variance_M = _one_after_the_other(ended, numbers_M)
        # Means are multiplied as maps are, by narrow numbers: else every mean would leave what these lost in rounding.
        narrow_M = (numbers_M * (variance_M + eps).rsqrt()).to(dtype)
        (shift_DS,) = matrices(-narrow_M * mean_M, shifts.positions_M, [(sum(plan.nodes), shifts.most)])
        self.shifts = torch.split(shift_DS.sum(1), plan.nodes)
        widths = [sum(norm.num_features for norm in each) for each in plan.between]
        both = _one_after_the_other([_running(norm) for norm in between], numbers_M)
        self.between = [*zip(*(torch.split(each, widths) for each in both), strict=True)]
        return narrow_M


def _running(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    return cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)


def _one_after_the_other(pairs: Sequence[Sequence[Tensor]], like: Tensor) -> list[Tensor]:
    """Return the first of all pairs, and the second; there may be none."""
    return [torch.cat([like.new_empty(0), *(pair[place] for pair in pairs)]) for place in (0, 1)]


class Abreast:
    """A forward pass of a supernet's cells, one after the other."""

    def __init__(self, gathered: Gathered) -> None:
        """Begin."""
        self.measured, self.eps, self.cells = gathered.measured, gathered.eps, iter(gathered.plan.cells)
        self.left = len(gathered.plan.cells)
        self.kernels, self.blocks = iter(gathered.kernels), iter(gathered.blocks)
        self.mixed, self.others = iter(gathered.mixed), iter(gathered.others)
        self.between, self.shifts = iter(gathered.between), iter(gathered.shifts)
        self.statistics = Statistics()

    def begin(self, nodes: Nodes) -> Sequence[Alike]:
        """Go on to the next cell, whose nodes have nothing yet, and return its states as they are to be entered."""
        self.plan = next(self.cells)
        self.width = self.plan.width
        if not self.measured:
            nodes.begin(next(self.shifts))
        return self.plan.alike

    def end(self) -> None:
        """Leave the cell; with the last one running statistics are moved."""
        self.left -= 1
        if not self.left:
            self.statistics.remember()

    def enter(self, nodes: Nodes, alike: Alike, x_BXHW: Tensor) -> Tensor:
        """Add to the nodes of a cell what the edges that leave states give them, shuffled, and hand these on.

        Args:
            nodes: of the cell.
            alike: the states.
            x_BXHW: the channels of each, one batch after the other.
        """
        leaving = next(iter(alike.values()))
        state, passing = self._divided(leaving, x_BXHW)
        columns = self._columns(alike, state)
        inputs = None if columns is None else Handed(columns), passing
        factors = [(x, matrix) for x, matrix in zip(inputs, next(self.mixed), strict=True) if x is not None]
        if factors:
            nodes.multiply(self.plan.entered[leaving.on[0]], factors)
        for each, x_BCHW in zip(alike.values(), apart(state.first(), len(alike)), strict=True):
            alone = State(x_BCHW)
            for places, modules in each.others:
                terms_BDHW = spread(candidate(alone, modules, next(self.others)), self.width.divisor)
                nodes.add([self.plan.entered[edge] for edge, _ in places], terms_BDHW)
        return x_BXHW if leaving.halves else state.whole_BXHW  # no node is halved, only what enters the cell

    def _divided(self, leaving: Leaving, x_BXHW: Tensor) -> tuple[Handed, Handed | None]:
        """Return the state whose first channels candidates see, and what skips and bypasses take.

        That is the state, too, or its bypassing channels at half the size, or nothing.
        """
        needed, C = bool(leaving.skips or leaving.bypassed), self.width.mixed
        if self.width.divisor > 1 and leaving.halves:
            mixed_BCHW, rest = torch.split(x_BXHW, [C, self.width.rest], dim=1)
            halved = Handed(functional.max_pool2d(rest, 2, 2)) if needed else None
            return Handed(mixed_BCHW.contiguous(memory_format=torch.channels_last)), halved
        state = Handed(x_BXHW, C)
        return state, state if needed else None

    def _columns(self, alike: Alike, state: Handed) -> Tensor | None:
        """Return what is mixed [B, D, H', W']: separable convolutions, then pools."""
        leaving = next(iter(alike.values()))
        first, last = ([norms for each in alike.values() for norms in each.norms[half]] for half in HALVES)
        between = self._stage(first, self._given(leaving.entering, state), None, last=False)
        parts: Sequence[Tensor] = [] if between is None else [between]
        if between is not None and len(leaving.own) > 1:
            parts = torch.split(between, [source.times * self.width.mixed for source in leaving.own], dim=1)
        sources = [*self._given(leaving.own, parts), *self._given(leaving.dilated, state)]
        pooled = None if leaving.pooled is None else (leaving.pooled, state)
        return self._stage(last, sources, pooled, last=True)

    def _given(self, sources: Sequence[Source], inputs: Handed | Sequence[Tensor]) -> list[Given]:
        """Give banks a state or each its own map, and their kernels; to be asked in their order."""
        maps: Sequence[Handed | Tensor] = [inputs] * len(sources) if isinstance(inputs, Handed) else inputs
        return [(source.bank, x, next(self.kernels)) for source, x in zip(sources, maps, strict=True)]

    def _stage(
        self, norms: Sequence[list[BatchNorm]], sources: Sequence[Given], pooled: Pooled | None, *, last: bool
    ) -> Tensor | None:
        """Return half of the separable convolutions, and pools, normalised [B, D, H', W']; None where there are none.

        What is mixed next is normalised by running statistics there.

        Args:
            norms: batch norms that see each column, of the first state and then of the next.
            sources: depthwise convolutions.
            pooled: pools.
            last: whether it is mixed next.
        """
        blocks_SDD = next(self.blocks)
        if not sources and pooled is None:
            return None
        columns = products(beside(sources, pooled), blocks_SDD)
        if self.measured:
            return self._by_their_own(norms, columns, len(blocks_SDD))
        return columns if last else self._by_running_statistics(columns, len(blocks_SDD))

    def _by_their_own(self, norms: Sequence[list[BatchNorm]], x_BDHW: Tensor, states: int) -> Tensor:
        out, *moments = each_normalised(x_BDHW, states, norms[0][0].eps)
        # Neighbouring columns with a norm each take theirs as one; of pools, several norms take the same.
        runs = [[*run] for _, run in groupby(norms, lambda column: len(column) == 1 or id(column))]
        C = len(moments[0]) // len(norms)
        parts = (torch.split(each, [len(run) * C for run in runs]) for each in moments)
        for run, mean_D, variance_D in zip(runs, *parts, strict=True):
            for taking in zip(*run, strict=True):
                self.statistics.take(taking, mean_D, variance_D)
        return out

    def _by_running_statistics(self, x_BDHW: Tensor, states: int) -> Tensor:
        given = zip(*(apart(each, states) for each in (x_BDHW, *next(self.between))), strict=True)
        return stacked([functional.batch_norm(x_BDHW, mean_D, var_D, eps=self.eps) for x_BDHW, mean_D, var_D in given])


def gathered(alike: Sequence[Sequence[Tensor]], like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return the kernels of each list one after the other, flattened, in ``dtype``.

    They are converted all together, and copied so where they do not lie together; so are their gradients.

    Args:
        alike: kernels of one type: CUDA has a kernel for all of a concatenation only if its parts are of one.
        like: gives dtype and device where there is no kernel.
        dtype: of the result.
    """
    flat = concatenated([each for same in alike for each in same] or [like.new_empty(0)])
    return torch.split(flat.to(dtype), [sum(each.numel() for each in same) for same in alike])


def matrices(numbers_M: Tensor, positions_M: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Return matrices of zeros but for these numbers, at these positions in all of them one after the other."""
    sizes = [math.prod(shape) for shape in shapes]
    flat = numbers_M.new_zeros(sum(sizes)).index_copy_(0, positions_M, numbers_M)
    return [part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]


def stacked(batches: Sequence[Tensor]) -> Tensor:
    """Return batches one after the other in one map; a single one as it is."""
    return batches[0] if len(batches) == 1 else torch.cat([*batches])


def apart(x: Tensor, parts: int) -> Sequence[Tensor]:
    """Return equal parts of a map or of numbers; a single one as it is."""
    return [x] if parts == 1 else x.chunk(parts)


def spread(x_BCHW: Tensor, step: int) -> Tensor:
    """Put ``step`` - 1 channels of zeros behind every channel, as the shuffle does: [B, step * C, H, W]."""
    if step == 1:
        return x_BCHW
    return functional.pad(x_BCHW.permute(0, 2, 3, 1)[..., None], (0, step - 1)).flatten(3).permute(0, 3, 1, 2)

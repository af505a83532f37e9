"""On a GPU the operations of a stand-alone cell that can begin at once are computed abreast.

Those that read the cell's inputs begin together, the others when the node that they read is there: each time is a
wave. Separable convolutions of a wave are banks of depthwise ones, a product with a matrix of blocks and one batch
norm, twice; what they and the pools give is dropped in one go. Kernels and the parameters of batch norm are gathered
once for all cells of a network, whose running statistics are moved at its end. A CPU computes operation by operation.

Suffixes: ``B`` batch, ``C`` channels of a cell, ``D`` of several operations one after the other, ``P`` paths,
``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import cast

import torch
from torch import Tensor, nn

from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.batch_norm import BatchNorm, Statistics, normalised, running_statistics
from nascommon.kernels.pointwise import product
from nascommon.kernels.pools import Pools
from nascommon.runtime.together import lay_together
from nascommon.space.abreast import gathered, matrices
from nascommon.space.genotype import CellGenotype
from nascommon.space.leaving import HALF, is_separable
from nascommon.space.operations import POOLS, Convolution, ReluFirst, State, apply
from nascommon.space.plan import block_positions, joined, tap_by_tap


@dataclass(frozen=True)
class Path:
    """An operation of a cell.

    Attributes:
        place: in the cell, counting node by node.
        source: the state that it reads.
        operation: what it is.
        drop: which of the factors of a network drops it; None where nothing does.
    """

    place: int
    source: int
    operation: nn.Module
    drop: int | None

    @property
    def is_separable(self) -> bool:
        """Return whether it is a separable convolution, of one half or of two, whose batch norms have parameters."""
        return isinstance(self.operation, ReluFirst) and is_separable(self.operation) and self.half(-1)[2].affine

    def half(self, which: int) -> tuple[Convolution, Convolution, BatchNorm]:
        """Return the convolutions and the batch norm of the first half (0) or the last (-1)."""
        _, depthwise, pointwise, norm = list(cast("ReluFirst", self.operation))[which * HALF :][:HALF]
        return cast("Convolution", depthwise), cast("Convolution", pointwise), cast("BatchNorm", norm)

    def kind(self, which: int) -> tuple[int, int, int]:
        """Return side, dilation and stride of the depthwise convolution of a half."""
        convolution = self.half(which)[0]
        return convolution.kernel_size[0], convolution.dilation[0], convolution.stride[0]


@dataclass(frozen=True)
class Bundle:
    """Halves of the same kind, as a bank: of one state, or where ``source`` is None each of its own channels."""

    kind: tuple[int, int, int]
    source: int | None
    halves: list[tuple[Convolution, Convolution, BatchNorm]]

    @property
    def bank(self) -> Bank:
        """Return what computes the depthwise convolutions."""
        side, dilation, stride = self.kind
        return Bank((Kind(side, dilation, 1 if self.source is None else len(self.halves)),), stride)


def bundles(paths: Sequence[Path], which: int, *, own: bool) -> list[Bundle]:
    """Return halves of operations, sorted by kind and source, in bundles."""

    def alike(path: Path) -> tuple[tuple[int, int, int], int | None]:
        return path.kind(which), None if own else path.source

    return [Bundle(*key, [path.half(which) for path in same]) for key, same in groupby(paths, key=alike)]


class Wave:
    """Operations of a cell that begin at once.

    Attributes:
        stages: the first halves of separable convolutions that have two, then all last ones.
        columns: these operations as they lie beside each other.
        pools: those of the same kind on the same state.
        others: what is computed by itself.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        separable = sorted((path for path in paths if path.is_separable), key=lambda path: (path.kind(0), path.source))
        whole = [path for path in separable if len(cast("ReluFirst", path.operation)) > HALF]
        single = [path for path in separable if path not in whole]
        self.stages = bundles(whole, 0, own=False), [*bundles(whole, -1, own=True), *bundles(single, -1, own=False)]
        self.columns = [*whole, *single]
        pools = sorted((path for path in paths if isinstance(path.operation, POOLS)), key=_kind_of_pool)
        self.pools = [[*same] for _, same in groupby(pools, key=_kind_of_pool)]
        self.others = [path for path in paths if path not in separable and path not in pools]

    @property
    def dropped(self) -> list[int]:
        """Factors in the order in which they are taken."""
        paths = [*self.columns, *(path for same in self.pools for path in same), *self.others]
        return [path.drop for path in paths if path.drop is not None]


def _kind_of_pool(path: Path) -> tuple[int, str]:
    return path.source, type(path.operation).__name__


class CellWaves:
    """The operations of a cell in waves.

    Attributes:
        genotype: of the cell.
        by_state: waves by the state with which they begin; those of all inputs begin with the last of these.
    """

    def __init__(self, genotype: CellGenotype, nodes: Sequence[Sequence[nn.Module]], drops: Iterator[int]) -> None:
        """Sort the operations of all nodes; those that are dropped take the next of ``drops`` each."""
        self.genotype, self.last_input = genotype, genotype.inputs - 1
        paths: list[Path] = []
        for choices, operations in zip(genotype.nodes, nodes, strict=True):
            for choice, operation in zip(choices, operations, strict=True):
                drop = None if isinstance(operation, nn.Identity) else next(drops)
                paths.append(Path(len(paths), choice.source, operation, drop))
        begin = {path.place: max(path.source, self.last_input) for path in paths}
        self.by_state = {
            start: Wave([path for path in paths if begin[path.place] == start]) for start in sorted({*begin.values()})
        }


class NetworkPlan:
    """Where the weights of all cells of a network stand when they are gathered.

    Attributes:
        cells: of the network.
        stages: the halves of all waves, bundle after bundle; none is empty.
        banks: numbers that each bank takes.
        taps_M: the order in which they take the kernels of all depthwise convolutions.
        sizes: of the square matrix of blocks of each stage.
        blocks_M: positions of all pointwise kernels there.
        drops_P: the order in which waves take the factors that drop paths.
    """

    def __init__(self, cells: Sequence[CellWaves], device: torch.device) -> None:
        """Find all positions."""
        self.cells = cells
        waves = [wave for cell in cells for wave in cell.by_state.values()]
        bundled = [stage for wave in waves for stage in wave.stages if stage]
        self.stages = [[half for each in stage for half in each.halves] for stage in bundled]
        kernels = [[depthwise.weight for depthwise, _, _ in each.halves] for stage in bundled for each in stage]
        self.banks = [sum(weight.numel() for weight in same) for same in kernels]
        widths = [stage[0][2].num_features for stage in self.stages]
        self.sizes = [len(stage) * width for stage, width in zip(self.stages, widths, strict=True)]
        starts = [0, *accumulate(size**2 for size in self.sizes)][:-1]
        # Where a network has no data, neither have its positions: they are as many as its weights.
        with torch.device("meta" if device.type == "meta" else "cpu"):
            blocks = [
                start + block_positions(len(stage), width, size)
                for start, stage, width, size in zip(starts, self.stages, widths, self.sizes, strict=True)
            ]
            drops = torch.tensor([drop for wave in waves for drop in wave.dropped], dtype=torch.long)
            found = (joined(tap_by_tap(kernels)), joined(blocks), drops)
        self.taps_M, self.blocks_M, self.drops_P = (each.to(device, non_blocking=True) for each in found)

    @property
    def halves(self) -> list[tuple[Convolution, Convolution, BatchNorm]]:
        """Halves of all operations."""
        return [half for stage in self.stages for half in stage]

    @property
    def parameters(self) -> tuple[list[Tensor], ...]:
        """Kernels of all depthwise and all pointwise convolutions, factors and summands of all batch norms."""
        halves = self.halves
        kernels = ([convolutions[place].weight for convolutions in halves] for place in (0, 1))
        return *kernels, [norm.weight for *_, norm in halves], [norm.bias for *_, norm in halves]

    def lay_together(self) -> None:
        """Let parameters and running statistics lie as a pass reads and moves them."""
        lay_together([parameter for alike in self.parameters for parameter in alike])
        lay_together(running_statistics([norm for *_, norm in self.halves]))


class Waves:
    """A forward pass of a network's cells in training mode, to be asked for cell by cell."""

    def __init__(self, plan: NetworkPlan, dtype: torch.dtype, factors_PB111: Tensor | None) -> None:
        """Gather the weights.

        Args:
            plan: of the network.
            dtype: of the maps.
            factors_PB111: what drops the paths of all cells in some samples; None drops nothing.
        """
        self.plan = plan
        self.factors = None if factors_PB111 is None else factors_PB111.index_select(0, plan.drops_P)
        self.taken = 0
        self.statistics = Statistics()
        if not plan.stages:
            return
        alike = plan.parameters
        wide = alike[0][0]
        taps_M, kernels_M, *both = gathered(alike, wide, wide.dtype)
        self.kernels = iter(torch.split(taps_M.index_select(0, plan.taps_M), plan.banks))
        self.blocks = iter(matrices(kernels_M.to(dtype), plan.blocks_M, [(size, size) for size in plan.sizes]))
        self.affine = zip(*(torch.split(each, plan.sizes) for each in both), strict=True)

    def cell(self, index: int, entering: Sequence[Tensor], step: int) -> Tensor:
        """Return the nodes of a cell beside each other; with the last one running statistics are moved.

        Args:
            index: of the cell.
            entering: its inputs, at its width.
            step: stride of what reads these.
        """
        waves = self.plan.cells[index]
        states = {state: State(x_BCHW) for state, x_BCHW in enumerate(entering)}
        terms, first = self._terms(waves, waves.last_input, states), 0
        for state, choices in waves.genotype.by_state:
            own = [terms[place] for place in range(first, first + len(choices))]
            first += len(choices)
            states[state] = State(sum(own[1:], own[0]) if own else torch.zeros_like(entering[0][:, :, ::step, ::step]))
            terms |= self._terms(waves, state, states)
        if index == len(self.plan.cells) - 1:
            self.statistics.remember()
        return torch.cat([states[state].x_BCHW for state in waves.genotype.concat], dim=1)

    def _terms(self, waves: CellWaves, start: int, states: Mapping[int, State]) -> dict[int, Tensor]:
        """Return what the operations that begin with a state give [B, C, H', W'], dropped, by their places."""
        if start not in waves.by_state:
            return {}
        wave = waves.by_state[start]
        between = self._stage(wave.stages[0], states, None)
        columns = self._stage(wave.stages[1], states, between)
        found = {} if columns is None else self._kept(wave.columns, columns, len(wave.columns))
        for same in wave.pools:
            pools = Pools((cast("nn.MaxPool2d | AveragePool", same[0].operation),))
            found |= self._kept(same, beside([], (pools, states[same[0].source].x_BCHW)), 1)
        for path in wave.others:
            found |= self._kept([path], apply(path.operation, states[path.source]), 1)
        return found

    def _stage(self, stage: Sequence[Bundle], states: Mapping[int, State], before: Tensor | None) -> Tensor | None:
        """Return halves of separable convolutions, normalised [B, D, H', W']; None where there are none."""
        if not stage:
            return None
        norms = [norm for each in stage for _, _, norm in each.halves]
        own = [len(each.halves) * norms[0].num_features for each in stage if each.source is None]
        parts: Iterator[Tensor] = iter(())
        if before is not None:
            parts = iter([before] if len(own) == 1 else torch.split(before, own, dim=1))
        maps = [next(parts) if each.source is None else states[each.source].x_BCHW for each in stage]
        sources = [(each.bank, x, next(self.kernels)) for each, x in zip(stage, maps, strict=True)]
        x_BDHW = product(beside(sources), next(self.blocks).t())
        gain_D, shift_D = next(self.affine)
        out, mean_D, variance_D = normalised(x_BDHW, gain_D, shift_D, norms[0].eps)
        self.statistics.take(norms, mean_D, variance_D)
        return out

    def _kept(self, paths: Sequence[Path], x_BDHW: Tensor, parts: int) -> dict[int, Tensor]:
        """Return what each path gives, dropped in some samples, by their places.

        Args:
            paths: that are dropped, or a single one that is not.
            x_BDHW: their outputs beside each other, or the same for all.
            parts: how many outputs that are.
        """
        if self.factors is None or paths[0].drop is None:
            outs = [x_BDHW] * len(paths) if parts == 1 else x_BDHW.chunk(parts, dim=1)
            return {path.place: out for path, out in zip(paths, outs, strict=True)}
        factors_P1B11 = self.factors[self.taken : self.taken + len(paths)].flatten(1)
        self.taken += len(paths)
        x_BHWPC = torch.unflatten(x_BDHW.permute(0, 2, 3, 1), 3, (parts, -1))
        kept_BHWD = (x_BHWPC * factors_P1B11.t()[:, None, None, :, None]).flatten(3)
        kept_BDHW = kept_BHWD.permute(0, 3, 1, 2)
        outs = [kept_BDHW] if len(paths) == 1 else kept_BDHW.chunk(len(paths), dim=1)
        return {path.place: out for path, out in zip(paths, outs, strict=True)}

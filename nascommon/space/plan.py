"""Where the weights of a cell whose candidates are computed abreast stand in its matrices.

Suffixes: ``N`` places, ``C`` mixed channels of a state, ``X`` all of them, ``M`` numbers that are put into matrices.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, chain

import torch
from torch import Tensor, nn

from nascommon.space.leaving import Leaving, Places, Width

PARTIAL = 8
"""Plans of a few candidates that a cell keeps."""


class Plan:
    """What a cell computes under one choice of places, and where its weights stand in the matrices.

    Attributes:
        leaving: the candidates by the state that they leave.
        stages: of all states, the first and the last of each.
        taps_M: the order of the kernels of all depthwise convolutions in which banks take them.
        banks: how many numbers of them each bank takes.
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
        kinds = [kind for stage in self.stages for kind in stage.depthwise]
        self.taps_M = joined(tap_by_tap([[each.weight for each in kind] for kind in kinds])).to(
            device, non_blocking=True
        )
        self.banks = [source.numbers for each in leaving.values() for source in each.sources]
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
        self.weights_N = torch.tensor([*of_candidates[0], *of_edges, *of_candidates[1]], dtype=torch.long).to(
            device, non_blocking=True
        )
        inner, outer = ([*chain(*parts)] for parts in zip(*positions, strict=True)) if positions else ([], [])
        self.mixed_M = joined([*inner, *outer]).to(device, non_blocking=True)

    def _place_blocks(self, pools: Sequence[int], device: torch.device) -> None:
        C = self.width.mixed
        self.ones = sum(pools) * C
        self.sizes = [(len(stage.norms) + more) * C for stage, more in zip(self.stages, pools, strict=True)]
        placed = list(zip(_starts([size**2 for size in self.sizes]), self.stages, self.sizes, pools, strict=True))
        kernels = [start + block_positions(len(stage.norms), C, size) for start, stage, size, _ in placed]
        ones = [start + torch.arange(size - more * C, size) * (size + 1) for start, _, size, more in placed]
        self.blocks_M = joined([*kernels, *ones]).to(device, non_blocking=True)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *accumulate(sizes)][:-1]


def joined(positions: Sequence[Tensor]) -> Tensor:
    """Return positions one after the other; there may be none."""
    return torch.cat([torch.empty(0, dtype=torch.long), *positions])


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
    """Makes the plans of a cell for the places that it is asked for.

    A step that is recorded as a CUDA graph must not copy from the host, as making a plan does, and goes on reading the
    positions that it was recorded with. So plans of all candidates are kept for good, and some of those of a few
    candidates, which may be others in every step. The copies do not wait for the device, which may be busy with steps
    of another model: every induced pass brings a supernet without plans.
    """

    def __init__(self, width: Width, leaving: Mapping[int, Sequence[int]], halving: Mapping[int, bool]) -> None:
        """Take the width of a cell, the edges that leave each state, node by node, and which of these halve."""
        self.width, self.leaving, self.halving = width, leaving, halving
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
            source: Leaving(
                each, edges, self.leaving[source], bypassed[source], self.width, halves=self.halving[source]
            )
            for source, each in places.items()
            if each or bypassed[source]
        }
        return Plan(leaving, weights_EO.shape, self.width, weights_EO.device)

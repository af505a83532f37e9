"""A discretizer picks the discrete cells that mixing weights stand for.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nascommon.space.genotype import CELL_KINDS, CellGenotype, Choice, Genotype
from nascommon.space.mixing import Candidates, EdgeCandidates, Mixing
from nascommon.space.topology import Topology

INPUTS_PER_NODE = 2
"""Edges that every node keeps in the papers' evaluation networks."""

Discretizer = Callable[[Mixing, Topology, Candidates], Genotype]
"""(mixing weights, topology, candidates of every edge) -> genotype."""


def strongest_edges(mixing: Mixing, topology: Topology, candidates: Candidates) -> Genotype:
    """Keep per node the two edges whose best operation weighs most, and on each that operation (DARTS, section 2.4).

    ``none`` is never kept. Ties go to the earlier edge and the earlier candidate; edges are listed from strong to weak.
    """
    return Genotype(
        *(_strongest_cell(mixing.cell(kind).weights_EO, topology, candidates.cell(kind)) for kind in CELL_KINDS)
    )


def _strongest_cell(weights_EO: Tensor, topology: Topology, candidates: EdgeCandidates) -> CellGenotype:
    best = [_best_operation(weights_O, names) for weights_O, names in zip(weights_EO.tolist(), candidates, strict=True)]
    nodes = []
    for incoming in topology.incoming.values():
        kept = sorted(incoming, key=lambda edge: -best[edge][0])[:INPUTS_PER_NODE]
        nodes.append(tuple(Choice(best[edge][1], topology.edges[edge].source) for edge in kept))
    return CellGenotype(tuple(nodes), tuple(topology.node_states))


def _best_operation(weights_O: list[float], names: tuple[str, ...]) -> tuple[float, str]:
    """Return (weight, name) of the heaviest candidate other than ``none``; the first of equals."""
    real = [(weight, name) for weight, name in zip(weights_O, names, strict=True) if name != "none"]
    return max(real, key=lambda pair: pair[0])


def sample_genotype(
    mixing: Mixing, topology: Topology, candidates: Candidates, generator: torch.Generator | None = None
) -> Genotype:
    """Draw a genotype in proportion to the mixing weights; with equal weights, uniformly from the space.

    Per node two different edges, in proportion to their largest weight other than that of ``none``, and on each an
    operation other than ``none`` in proportion to its weight.

    Args:
        mixing: weights >= 0.
        topology: of the supernet.
        candidates: of the supernet.
        generator: on the CPU; None draws from torch's global one.
    """
    return Genotype(
        *(sample_cell(mixing.cell(kind).weights_EO, topology, candidates.cell(kind), generator) for kind in CELL_KINDS)
    )


def sample_cell(
    weights_EO: Tensor, topology: Topology, candidates: EdgeCandidates, generator: torch.Generator | None = None
) -> CellGenotype:
    """Draw one cell; see ``sample_genotype``."""
    real_EO = weights_EO.detach().double().cpu() * torch.tensor(
        [[name != "none" for name in row] for row in candidates]
    )
    nodes = []
    for incoming in topology.incoming.values():
        strength = real_EO[incoming.start : incoming.stop].amax(dim=1)
        kept = torch.multinomial(strength, min(INPUTS_PER_NODE, len(incoming)), generator=generator).sort().values
        edges = [incoming[int(position)] for position in kept]
        operations = [int(torch.multinomial(real_EO[edge], 1, generator=generator)) for edge in edges]
        nodes.append(
            tuple(
                Choice(candidates[edge][operation], topology.edges[edge].source)
                for edge, operation in zip(edges, operations, strict=True)
            )
        )
    return CellGenotype(tuple(nodes), tuple(topology.node_states))


def strongest_candidates(mixing: Mixing, candidates: Candidates, keep: int) -> Candidates:
    """Keep on every edge the ``keep`` candidates that weigh most, in their old order; ``none`` is like any other."""
    return Candidates(
        *(
            tuple(
                tuple(names[i] for i in sorted(sorted(range(len(names)), key=lambda i: -weights_O[i])[:keep]))
                for weights_O, names in zip(mixing.cell(kind).weights_EO.tolist(), candidates.cell(kind), strict=True)
            )
            for kind in CELL_KINDS
        )
    )

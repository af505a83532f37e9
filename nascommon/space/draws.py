"""An architecture drawn at random, in proportion to mixing weights or uniformly."""

from __future__ import annotations

import torch
from torch import Tensor

from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing
from nascommon.space.space import CellSpace, Space


def random_genotype(space: Space, generator: torch.Generator | None = None) -> Genotype:
    """Draw an architecture uniformly from a space."""
    return sample_genotype(equal_mixing(space), space, generator)


def sample_genotype(mixing: Mixing, space: Space, generator: torch.Generator | None = None) -> Genotype:
    """Draw a genotype in proportion to the mixing weights; with equal weights, uniformly from the space.

    Per node as many different edges as the space keeps, in proportion to their largest weight of an operation that may
    win, and on each such an operation in proportion to its weight.

    Args:
        mixing: weights >= 0.
        space: of the supernet.
        generator: on the CPU; None draws from torch's global one.
    """
    return space.genotype((kind, sample_cell(mixing[kind], cell, generator)) for kind, cell in space.cells.items())


def sample_cell(mixing: CellMixing, space: CellSpace, generator: torch.Generator | None = None) -> CellGenotype:
    """Draw one cell; see ``sample_genotype``."""
    topology, candidates = space.topology, space.candidates
    real_EO = mixing.products().detach().double().cpu() * torch.tensor(
        [[space.may_win(name) for name in row] for row in candidates]
    )
    nodes = []
    for incoming in topology.incoming.values():
        edges = _drawn_edges(real_EO, incoming, space.kept, generator)
        operations = [int(torch.multinomial(real_EO[edge], 1, generator=generator)) for edge in edges]
        nodes.append(
            tuple(
                Choice(candidates[edge][operation], topology.edges[edge].source)
                for edge, operation in zip(edges, operations, strict=True)
            )
        )
    return space.genotype(nodes, topology.outputs)


def _drawn_edges(real_EO: Tensor, incoming: range, kept: int, generator: torch.Generator | None) -> list[int]:
    strength = real_EO[incoming.start : incoming.stop].amax(dim=1)
    drawn = torch.multinomial(strength, min(kept, len(incoming)), generator=generator).sort().values
    return [incoming[int(position)] for position in drawn]

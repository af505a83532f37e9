"""A discretizer picks the discrete cells that mixing weights stand for.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.mixing import Candidates, CellMixing, CellSpace, EdgeCandidates, Mixing
from nascommon.space.topology import INPUTS, Edge, Topology

INPUTS_PER_NODE = 2
"""Edges that every node keeps in the papers' evaluation networks."""

Discretizer = Callable[[Mixing, Topology, Candidates], Genotype]
"""(mixing weights, topology, candidates of every edge) -> genotype."""

EdgeRank = Literal["product", "edge"]
"""What the edges of a node are ranked by: their best operation's weight times their own, or their own alone."""


@dataclass(frozen=True)
class Keep:
    """Which edges survive discretization.

    Attributes:
        per_node: edges to keep by node.
        rivals: nodes of which only the strongest keeps its edges; the others die, and so does every edge out of them.
        zeros: a dead node stays in the concatenation as zeros; otherwise the cell's output is narrower without it.
        threshold: an edge whose strength is below is not kept, however few there are; a cell always keeps one.
    """

    per_node: tuple[int, ...]
    rivals: tuple[int, ...] = ()
    zeros: bool = False
    threshold: float = -math.inf

    def __str__(self) -> str:
        each = set(self.per_node)
        counts = f"{each.pop()} strongest edges per node" if len(each) == 1 else f"{self.per_node} edges by node"
        rivals = f", nodes {' and '.join(map(str, self.rivals))} share theirs" if self.rivals else ""
        return counts + rivals + (f", from {self.threshold:g} on" if math.isfinite(self.threshold) else "")


def two_per_node(nodes: int) -> Keep:
    """Return the standard setting of all papers: 8 of 14 edges for 4 nodes."""
    return Keep((INPUTS_PER_NODE,) * nodes)


KeptEdges = Literal[8, 6, 5, 4, 3]
"""Edges of 14 that a cell with 4 nodes keeps (DA2S, Table 4)."""
IMBALANCED: dict[int, Keep] = {
    6: Keep((1, 1, 2, 2)),
    5: Keep((1, 1, 1, 2)),
    4: Keep((1, 1, 1, 1)),
    3: Keep((1, 1, 1, 1), rivals=(2, 3)),
}
"""DA2S' other targets: with 3 edges, the first two nodes share one."""


def keep_edges(kept: KeptEdges, nodes: int, *, zeros: bool = False) -> Keep:
    """Return what a cell of ``nodes`` nodes keeps.

    Raises:
        ValueError: other than two edges per node are asked of a cell that has not the papers' 4 nodes.
    """
    if kept == INPUTS_PER_NODE * 4:
        return two_per_node(nodes)
    keep = IMBALANCED[kept]
    if nodes != len(keep.per_node):
        raise ValueError(
            f"kept_edges: {kept} of 14 edges need search.nodes 4 (got {nodes} nodes); 8 keeps two per node"
        )
    return replace(keep, zeros=zeros)


def strongest_edges(mixing: Mixing, topology: Topology, candidates: Candidates) -> Genotype:
    """Keep per node the two edges whose best operation weighs most, and on each that operation (DARTS, section 2.4).

    ``none`` is never kept. Ties go to the earlier edge and the earlier candidate; edges are listed from strong to weak.
    """
    return strongest(two_per_node(topology.nodes))(mixing, topology, candidates)


strongest_edges.__name__ = str(Keep((INPUTS_PER_NODE,)))  # told as every other discretizer is


def strongest(keep: Keep, rank: EdgeRank = "product") -> Discretizer:
    """Keep per node the strongest edges, as many as ``keep`` says, and on each its heaviest operation."""

    def discretize(mixing: Mixing, topology: Topology, candidates: Candidates) -> Genotype:
        return Genotype(
            (kind, _strongest_cell(mixing[kind], CellSpace(topology, names), keep, rank))
            for kind, names in candidates.items()
        )

    ranked = "" if rank == "product" else ", edges ranked by their own weight"
    discretize.__name__ = f"{keep}{ranked}"
    return discretize


@dataclass(frozen=True)
class _Best:
    """The heaviest real operation of an edge."""

    operation: str
    product: float
    rank: float


def _strongest_cell(mixing: CellMixing, space: CellSpace, keep: Keep, rank: EdgeRank) -> CellGenotype:
    topology = space.topology
    best = _best_by_edge(mixing, space.candidates, rank)
    dead = _dead_nodes(best, topology, keep)
    nodes = []
    for (node, incoming), count in zip(topology.incoming.items(), keep.per_node, strict=True):
        open_edges = [edge for edge in incoming if topology.edges[edge].source not in dead and node not in dead]
        kept = sorted(open_edges, key=lambda edge: -best[edge].rank)[:count]
        strong = [edge for edge in kept if best[edge].product >= keep.threshold]
        if not strong:
            dead.add(node)
        nodes.append(tuple(Choice(best[edge].operation, topology.edges[edge].source) for edge in strong))
    if not any(nodes):  # a cell must give something: the strongest edge from a cell input
        edge = max((e for e in range(len(best)) if topology.edges[e].source < INPUTS), key=lambda e: best[e].product)
        source, node = topology.edges[edge]
        nodes[node - INPUTS] = (Choice(best[edge].operation, source),)
        dead.discard(node)
    concat = [state for state in topology.node_states if keep.zeros or state not in dead]
    return CellGenotype(tuple(nodes), tuple(concat))


def _best_by_edge(mixing: CellMixing, candidates: EdgeCandidates, rank: EdgeRank) -> list[_Best]:
    edges = [1.0] * len(candidates) if mixing.edges_E is None else mixing.edges_E.tolist()
    best = []
    for weights_O, names, edge in zip(mixing.weights_EO.tolist(), candidates, edges, strict=True):
        weight, name = _best_operation(weights_O, names)
        best.append(_Best(name, weight * edge, edge if rank == "edge" else weight * edge))
    return best


def _best_operation(weights_O: Sequence[float], names: tuple[str, ...]) -> tuple[float, str]:
    """Return (weight, name) of the heaviest candidate other than ``none``; the first of equals."""
    real = [(weight, name) for weight, name in zip(weights_O, names, strict=True) if name != "none"]
    return max(real, key=lambda pair: pair[0])


def _dead_nodes(best: list[_Best], topology: Topology, keep: Keep) -> set[int]:
    """Return the rivals that lose: all but the one whose best edge is strongest; the earlier of equals wins."""
    if not keep.rivals:
        return set()
    strength = {node: max(best[edge].product for edge in topology.incoming[node]) for node in keep.rivals}
    winner = max(keep.rivals, key=lambda node: strength[node])
    return {node for node in keep.rivals if node != winner}


def at_most_skips(discretize: Discretizer, most: int) -> Discretizer:
    """Allow the normal cell ``most`` skip connections: forbid the weakest one used and pick again (P-DARTS, 3.3).

    Picking again may bring in other skips, hence one at a time. Where only skips are left, more than ``most`` stay.
    """

    def restricted(mixing: Mixing, topology: Topology, candidates: Candidates) -> Genotype:
        genotype = discretize(mixing, topology, candidates)
        position = {edge: index for index, edge in enumerate(topology.edges)}
        main = mixing.main
        while genotype.main.skips > most:
            products_EO = main.products()
            used = [
                (edge, candidates.main[edge].index("skip_connect"))
                for node, choices in enumerate(genotype.main.nodes, start=INPUTS)
                for edge in (position[Edge(source, node)] for name, source in choices if name == "skip_connect")
            ]
            weakest = min(used, key=lambda pair: float(products_EO[pair]))
            if float(main.weights_EO[weakest]) == -torch.inf:
                break
            weights_EO = main.weights_EO.clone()
            weights_EO[weakest] = -torch.inf
            main = replace(main, weights_EO=weights_EO)
            genotype = discretize(Mixing({**mixing, mixing.main_kind: main}), topology, candidates)
        return genotype

    restricted.__name__ = f"{discretize.__name__}, at most {most} skips in the normal cell"
    return restricted


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
        (kind, sample_cell(mixing[kind], CellSpace(topology, names), generator)) for kind, names in candidates.items()
    )


def sample_cell(mixing: CellMixing, space: CellSpace, generator: torch.Generator | None = None) -> CellGenotype:
    """Draw one cell; see ``sample_genotype``."""
    topology, candidates = space.topology, space.candidates
    real_EO = mixing.products().detach().double().cpu() * torch.tensor(
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
        (
            kind,
            tuple(
                tuple(names[i] for i in _heaviest(weights_O, keep))
                for weights_O, names in zip(mixing[kind].weights_EO.tolist(), edges, strict=True)
            ),
        )
        for kind, edges in candidates.items()
    )


def _heaviest(weights_O: Sequence[float], keep: int) -> list[int]:
    return sorted(sorted(range(len(weights_O)), key=lambda i: -weights_O[i])[:keep])

"""Random candidates and genotypes for property tests."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.operations import OPERATIONS
from tests.space.kinds import two

REAL = [name for name in OPERATIONS if name != "none"]


@st.composite
def cells(draw: st.DrawFn, nodes: int) -> CellGenotype:
    """Draw a cell with any number of inputs per node; one without any is dead: read by nobody, perhaps concatenated."""
    alive: list[int] = [0, 1]
    choices: list[tuple[Choice, ...]] = []
    for state in range(2, 2 + nodes):
        pairs = st.builds(Choice, st.sampled_from(REAL), st.sampled_from(list(alive)))
        last_chance = state == 1 + nodes and len(alive) == 2
        inputs = draw(st.lists(pairs, min_size=1 if last_chance else 0, max_size=4))
        choices.append(tuple(inputs))
        alive += [state] if inputs else []
    concat = draw(st.lists(st.sampled_from(alive[2:]), min_size=1, unique=True))
    dead = [state for state in range(2, 2 + nodes) if state not in alive]
    concat += draw(st.lists(st.sampled_from(dead), unique=True)) if dead else []
    return CellGenotype(tuple(choices), tuple(concat))


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    """Draw a genotype with 1 to 6 nodes."""
    nodes = draw(st.integers(1, 6))
    return two(Genotype, draw(cells(nodes)), draw(cells(nodes)))


def random_cell(rng: random.Random, edges_from: list[list[tuple[int, tuple[str, ...]]]], keep: int) -> CellGenotype:
    """Draw a cell that keeps up to ``keep`` edges a node, all nodes concatenated.

    Args:
        rng: source of the draws.
        edges_from: per node its edges as (source, candidates of the edge).
        keep: edges per node.
    """
    nodes = []
    for incoming in edges_from:
        kept = rng.sample(incoming, min(keep, len(incoming)))
        nodes.append(tuple(Choice(rng.choice([n for n in names if n != "none"]), source) for source, names in kept))
    return CellGenotype(tuple(nodes), tuple(range(2, 2 + len(nodes))))

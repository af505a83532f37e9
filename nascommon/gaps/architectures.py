"""The architectures whose ranking is tested, each with its search score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nascommon.runtime.seeding import generator
from nascommon.search.state import SearchState
from nascommon.space.draws import sample_genotype
from nascommon.space.genotype import Genotype

FEWEST = 3
"""A ranking of fewer says nothing."""
MOST_DRAWS = 100
"""Draws per wanted architecture before giving up on finding different ones."""

Score = Callable[[SearchState, Genotype], float]


class TooFewToRankError(Exception):
    """A search left fewer architectures than a ranking needs, which only shows when it is over.

    Attributes:
        found: how many there are.
    """

    def __init__(self, found: int, why: str) -> None:
        """Take how many there are, and why they are so few, with what could be set instead."""
        super().__init__(why)
        self.found = found


@dataclass(frozen=True)
class SavedSupernet:
    """A supernet that architectures come from: a moment of a search."""

    name: str
    valid_accuracy: float | None
    """Validation accuracy in [0, 1] of the supernet with its mixing weights, as the search measured it."""
    open: Callable[[], SearchState]


@dataclass(frozen=True)
class Architecture:
    """A genotype and the search score of it; ``source`` says where both come from."""

    name: str
    genotype: Genotype
    source: SavedSupernet
    search_score: float | None = None


def from_epochs(snapshots: Sequence[SavedSupernet], count: int) -> list[Architecture]:
    """Return the different genotypes among the snapshots' epochs, the latest of equal ones, at most ``count``.

    Raises:
        TooFewToRankError: the search passed through fewer than three different genotypes.
    """
    latest: dict[Genotype, SavedSupernet] = {}
    for source in snapshots:
        state = source.open()
        genotype = state.genotype()
        latest.pop(genotype, None)  # a dict keeps the place of the first insertion, and the latest shall count
        latest[genotype] = source
    found = [Architecture(source.name, genotype, source) for genotype, source in latest.items()][-count:]
    if len(found) < FEWEST:
        raise TooFewToRankError(
            len(found),
            f"the {len(snapshots)} snapshots of the search hold only {_different(len(found))}, and a ranking needs "
            f"{FEWEST}; set kendall_tau.source: sampled, or more search.snapshots",
        )
    return found


def sampled(source: SavedSupernet, count: int, seed: int) -> list[Architecture]:
    """Draw ``count`` different genotypes from the mixing weights of a supernet.

    Raises:
        TooFewToRankError: the mixing weights are so sharp that fewer than three different ones come up.
    """
    drawn = different_draws(source.open(), count, seed)
    if len(drawn) < FEWEST:
        raise TooFewToRankError(
            len(drawn),
            f"the final mixing weights are nearly one-hot, only {_different(len(drawn))} came up, and a ranking needs "
            f"{FEWEST}; set kendall_tau.source: epochs",
        )
    return [Architecture(f"sample {index}", genotype, source) for index, genotype in enumerate(drawn)]


def different_draws(state: SearchState, count: int, seed: int) -> list[Genotype]:
    """Draw ``count`` different genotypes in proportion to the mixing weights; fewer where the weights are sharp."""
    # Duplicates are drawn again, up to a limit: near the end of a search the mixing weights are almost one-hot.
    mixing, space = state.mixing(), state.spec.space
    drawn: dict[Genotype, None] = {}
    for draw in range(MOST_DRAWS * count):
        drawn[sample_genotype(mixing, space, generator(seed, "kendall", draw))] = None
        if len(drawn) == count:
            break
    return list(drawn)


def scored(architectures: Sequence[Architecture], score: Score | None) -> list[Architecture]:
    """Give every architecture its search score.

    Args:
        architectures: those to score.
        score: accuracy of a genotype inside a supernet; None takes the supernet's own accuracy at that epoch.
    """
    result = []
    opened: tuple[SavedSupernet, SearchState] | None = None
    for architecture in architectures:
        source = architecture.source
        accuracy = source.valid_accuracy
        if score is not None:
            # Architectures of one supernet come one after the other, so only one is held in memory at a time.
            if opened is None or opened[0] is not source:
                opened = (source, source.open())
            accuracy = score(opened[1], architecture.genotype)
        result.append(replace(architecture, search_score=accuracy))
    return result


def _different(count: int) -> str:
    return f"{count} different genotype{'s' * (count != 1)}"

"""A skeleton stacks cells: it says which kind stands where, and what is built of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they are built of what stands here
    from nascommon.space.genotype import Genotype
    from nascommon.space.network import Network, NetworkSpec
    from nascommon.space.supernet import Supernet, SupernetSpec


@dataclass(frozen=True)
class Skeleton:
    """Facts that all spaces of one family of networks share, and what a genotype must tell besides its cells.

    Attributes:
        name: by which a genotype names it.
        kinds: of cells; the first is the one that most cells of a network are.
        inputs: outputs of cells before that each cell reads: the last one, or the last two.
        kind_of: (position, number of cells) -> kind of the cell there.
        halving: kinds that halve height and width and double the channels.
        supernet: builds the weight-sharing network.
        network: builds the stand-alone network of a genotype.
        keeps_none: whether ``none`` may win an edge, as each of its cells says too; a node may then read one that
            has no input itself and gives zeros.
    """

    name: str
    kinds: tuple[str, ...]
    inputs: int
    kind_of: Callable[[int, int], str]
    halving: frozenset[str]
    supernet: Callable[[SupernetSpec], Supernet]
    network: Callable[[Genotype, NetworkSpec], Network]
    keeps_none: bool = False

    def stack(self, cells: int) -> tuple[str, ...]:
        """Return the kind of each of so many cells."""
        return tuple(self.kind_of(index, cells) for index in range(cells))

    def halvings(self, cells: int) -> frozenset[int]:
        """Return the positions of the cells that halve height and width."""
        return frozenset(index for index, kind in enumerate(self.stack(cells)) if kind in self.halving)


SKELETONS: dict[str, Skeleton] = {}
"""Every skeleton by name; registering a space enters its own."""

"""A skeleton stacks cells: it says which kind stands where, and what is built of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from nascommon.space.stem import Stem

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
        step: of how many the number of cells must be a multiple.
        stems: that its networks may have.
        auxiliary: whether its networks may have an auxiliary head.
        channels: of the first cell of its networks as published.
        cells: of its networks as published.
        operations: that its genotypes can name; empty is any.
    """

    name: str
    kinds: tuple[str, ...]
    inputs: int
    kind_of: Callable[[int, int], str]
    halving: frozenset[str]
    supernet: Callable[[SupernetSpec], Supernet]
    network: Callable[[Genotype, NetworkSpec], Network]
    keeps_none: bool = False
    step: int = 1
    stems: tuple[Stem, ...] = get_args(Stem)
    auxiliary: bool = True
    channels: int = 36
    cells: int = 20
    operations: tuple[str, ...] = ()

    def misfits(self, cells: int, stem: Stem, *, auxiliary: bool = False) -> Iterator[str]:
        """Yield what keeps its networks, or its supernets, from having so many cells, that stem or that head."""
        if cells % self.step:
            yield f"cells: networks of {self.name} have a multiple of {self.step} (got {cells})"
        if stem not in self.stems:
            yield f"stem: networks of {self.name} have the stem {' or '.join(self.stems)} (got {stem})"
        if auxiliary and not self.auxiliary:
            yield f"auxiliary: networks of {self.name} have no auxiliary head; set it to false (got true)"

    def stack(self, cells: int) -> tuple[str, ...]:
        """Return the kind of each of so many cells."""
        return tuple(self.kind_of(index, cells) for index in range(cells))

    def halvings(self, cells: int) -> frozenset[int]:
        """Return the positions of the cells that halve height and width."""
        return frozenset(index for index, kind in enumerate(self.stack(cells)) if kind in self.halving)


SKELETONS: dict[str, Skeleton] = {}
"""Every skeleton by name; registering a space enters its own."""

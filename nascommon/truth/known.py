"""What is known of an architecture without training it here: accuracies, or nothing.

A truth answers for architectures that somebody has trained from scratch: all of a space, which is a table, or some of
it, which is a bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nascommon.space.genotype import Genotype
from nascommon.statistics.intervals import mean_share


@dataclass(frozen=True)
class Known:
    """What is known of one architecture.

    Attributes:
        accuracies: shares in 0..1, one for each training from scratch, in the order of its seeds; at least one.
    """

    accuracies: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.accuracies or not all(0 <= accuracy <= 1 for accuracy in self.accuracies):
            raise ValueError(f"accuracies: must be shares in 0..1, at least one (got {self.accuracies})")

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return mean_share(self.accuracies)


class Truth(Protocol):
    """A source of known accuracies, all of one protocol, so that they can be compared with each other."""

    @property
    def protocol(self) -> str:
        """How the architectures were trained and on what their accuracies were measured, in words for a report."""

    def known(self, genotype: Genotype) -> Known | None:
        """Return what is known of an architecture; None where it is unknown."""

    def genotypes(self) -> Sequence[Genotype]:
        """Return all architectures that it knows, in an order that never changes."""

"""What was seen of a million pictures is a few columns of numbers, where a record of each would take ten times that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascommon.data.pictures import DIGEST_BYTES, Seen


@dataclass(frozen=True)
class Looks:
    """Facts about N pictures; see ``Seen`` for one of them.

    Attributes:
        sides: the shorter and the longer of each in pixels, int32 [N, 2].
        gray: whether it is [N].
        digests: of its pixels, bytes [N, D]; zeros where only headers were read.
        oddities: how many have which.
    """

    sides: npt.NDArray[np.int32]
    gray: npt.NDArray[np.bool_]
    digests: npt.NDArray[np.uint8]
    oddities: Counter[str]

    @staticmethod
    def at(pictures: Iterable[Seen], total: int) -> Looks:
        """Gather at most ``total`` pictures, one at a time."""
        looks = Looks(
            np.zeros((total, 2), np.int32), np.zeros(total, bool), np.zeros((total, DIGEST_BYTES), np.uint8), Counter()
        )
        for row, seen in enumerate(pictures):
            looks.sides[row], looks.gray[row] = seen.sides, seen.gray
            if seen.digest:  # zeros that are never written take no memory
                looks.digests[row] = np.frombuffer(seen.digest, np.uint8)
            looks.oddities.update([seen.oddity] if seen.oddity else [])
        return looks

    @staticmethod
    def joined(parts: Sequence[Looks]) -> Looks:
        """Put looks one behind the other."""
        return Looks(
            np.concatenate([part.sides for part in parts]),
            np.concatenate([part.gray for part in parts]),
            np.concatenate([part.digests for part in parts]),
            sum((part.oddities for part in parts), Counter()),
        )

    def __len__(self) -> int:
        return len(self.gray)

    @property
    def conversions(self) -> str:
        """One line that counts the pictures with an oddity, by oddity; empty when there is none."""
        return ", ".join(f"{count} x {oddity}" for oddity, count in sorted(self.oddities.items()))

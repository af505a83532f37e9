"""Is one method better than another on the same seeds, and how many seeds does it take to say so?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np

from nascommon.settings import UserError
from nascommon.statistics.null import LEVEL

MOST_EXACT: Final = 16
"""Pairs up to which all 2 ** n ways of signing the differences are counted."""
DRAWS: Final = 2**MOST_EXACT
TIE: Final = 1e-9
"""Sums that differ by less than so large a part are equal but for rounding."""


def fewest_pairs(tests: int = 1) -> int:
    """Return how many pairs it takes to show a difference at ``LEVEL`` in the first of so many tests (Holm)."""
    return math.ceil(math.log2(2 * tests / LEVEL))


def smallest_p(pairs: int) -> float:
    """Return the smallest p-value that so many pairs can give, two-sided."""
    return min(1.0, math.ldexp(2.0, -pairs))


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p-value of a mean difference of pairs (Fisher's randomisation test).

    If two methods were alike, each difference might as well have the other sign: p is the share of all ways of signing
    them whose mean is as far from 0. Nothing is assumed of how they are distributed. Above ``MOST_EXACT`` pairs the
    signs of so many ways are drawn, and the observed way counts as one of them.

    Raises:
        UserError: there is no difference, or one is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise UserError(f"differences: at least one and only finite ones needed, got {list(differences)}")
    if values.size <= MOST_EXACT:
        signs = np.array(list(product((1.0, -1.0), repeat=values.size)))
    else:
        drawn = np.random.default_rng(seed).choice((1.0, -1.0), size=(DRAWS - 1, values.size))
        signs = np.vstack([np.ones(values.size), drawn])
    far = np.abs(signs @ values) >= abs(values.sum()) - TIE * np.abs(values).sum()
    return float(far.mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several (Holm 1979): each may be held against the level as if it were alone.

    The i-th smallest of m is multiplied by m - i, i counted from 0; none is less than one before it.
    """
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


FEWEST_PAIRS: Final = fewest_pairs()
"""Pairs from which on a single test can show a difference."""

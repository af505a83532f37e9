"""How much of the variance of measurements lies between what is measured, and how much is noise of the measuring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from nascommon.settings import UserError

FEWEST_GROUPS, FEWEST_VALUES = 2, 2


@dataclass(frozen=True)
class IntraclassCorrelation:
    """Share of the variance of one measurement that lies between groups, such as architectures of several trainings."""

    value: float
    """One-way ICC(1): below 0 where groups differ less than chance alone would make them."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    groups: int
    """Groups of at least two measurements, which alone tell."""
    sd_between: float
    """Standard deviation between groups, in units of the measurements; 0 where the share is not above 0."""
    sd_within: float
    """Standard deviation of measurements of one group."""

    def of_mean(self, count: int) -> float:
        """Return the share of the mean of ``count`` measurements (Spearman-Brown); not below 0."""
        return of_mean(self.value, count)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def of_mean(share: float, count: int) -> float:
    """Return the reliability of the mean of ``count`` measurements, given that of one (Spearman 1910; Brown 1910)."""
    share = max(share, 0.0)
    return count * share / (1 + (count - 1) * share)


def attainable_tau(retest_tau: float | None, trainings: int = 1) -> float | None:
    """Return the tau-b that a perfect score reaches on average, given that of two retrainings.

    Both retrainings carry noise, a perfect score none: it correlates with either by the root of what the two correlate
    with each other (correction for attenuation; Spearman, American Journal of Psychology 1904). Correlation and tau of
    normal scores are related by r = sin(pi tau / 2) (Greiner 1909; Kruskal, JASA 1958). 0 where retrainings do not
    agree. An expectation: a single score may lie above it. None where tau is undefined.

    Args:
        retest_tau: tau-b of two retrainings of the same architectures.
        trainings: the score is compared with the mean of so many retrainings; that of several is more reliable.
    """
    if retest_tau is None:
        return None
    reliability = of_mean(math.sin(math.pi / 2 * max(retest_tau, 0.0)), trainings)
    return 2 / math.pi * math.asin(math.sqrt(reliability))


def intraclass_correlation(groups: Sequence[Sequence[float]], confidence: float = 0.95) -> IntraclassCorrelation | None:
    """Return ICC(1) of measurements in groups, by one-way analysis of variance (Shrout and Fleiss 1979, case 1).

    Groups of different size count by n0 = (N - sum n_i^2 / N) / (k - 1) measurements each (Donner 1986); the interval
    is that of the F distribution, exact where all are of one size.

    Args:
        groups: measurements by group; groups of one are left out, since they say nothing about the noise.
        confidence: of the interval.

    Returns:
        None where fewer than two groups have two measurements, or all are the same.

    Raises:
        UserError: a measurement is not a finite number.
    """
    several = [np.asarray(group, dtype=np.float64) for group in groups if len(group) >= FEWEST_VALUES]
    if not all(np.isfinite(group).all() for group in several):
        raise UserError("values: only finite numbers have a variance")
    if len(several) < FEWEST_GROUPS:
        return None
    sizes = np.array([len(group) for group in several], dtype=np.float64)
    total, k = float(sizes.sum()), len(several)
    means = np.array([group.mean() for group in several])
    centre = float(sizes @ means) / total
    between = float(sizes @ (means - centre) ** 2) / (k - 1)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in several) / (total - k)
    n0 = (total - float((sizes**2).sum()) / total) / (k - 1)
    if between == 0 and within == 0:
        return None
    # The F ratio of a true share r is (1 + n0 r / (1 - r)) times a central F of these degrees of freedom.
    tail, degrees = (1 - confidence) / 2, (k - 1, total - k)
    low, high = (_share(between, within * float(stats.f.ppf(q, *degrees)), n0) for q in (1 - tail, tail))
    return IntraclassCorrelation(
        value=_share(between, within, n0),
        low=low,
        high=high,
        groups=k,
        sd_between=max((between - within) / n0, 0.0) ** 0.5,
        sd_within=within**0.5,
    )


def _share(between: float, within: float, n0: float) -> float:
    return (between - within) / (between + (n0 - 1) * within)

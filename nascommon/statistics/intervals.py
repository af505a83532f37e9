"""A number without its spread says little: mean, standard deviation, and the interval of a test accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtri

from nascommon.settings import UserError

Array = np.ndarray[Any, np.dtype[np.float64]]
BOOTSTRAPS = 2000
SHARE_DIGITS = 12


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (divisor n - 1) of `n` values; no `sd` for one value."""

    n: int
    mean: float
    sd: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard deviation; raises `UserError` for no value or one that is not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise UserError(f"values: at least one number and only finite ones needed, got {list(values)}")
    sd = float(numbers.std(ddof=1)) if numbers.size > 1 else None
    return Summary(n=int(numbers.size), mean=float(numbers.mean()), sd=sd)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return Student's interval of the mean of independent values; None of fewer than two."""
    total = summarise(values) if values else None
    if total is None or total.sd is None:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, total.n - 1)) * total.sd / math.sqrt(total.n)
    return total.mean - half, total.mean + half


def mean_share(shares: Sequence[float]) -> float:
    """Mean of shares of one test set, equal for equally many hits however they fall on the trainings.

    As sums of rounded shares such means differ in the 16th digit, and what is tied would count as better or worse;
    means of different numbers of hits differ by at least 1 / (trainings x pictures), in the ``SHARE_DIGITS`` kept.
    """
    return round(fmean(shares), SHARE_DIGITS)


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson (1927) score interval of an accuracy, as shares: what the size of the test set alone leaves open.

    It says nothing about another training seed; for that, repeat the training and give the standard deviation.
    """
    if not 0 <= correct <= total or total == 0:
        raise UserError(f"accuracy: 0 <= correct <= total and total > 0 needed, got {correct} of {total}")
    found = stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def paired_difference(first: Array, second: Array) -> tuple[float, float, float]:
    """Mean of ``first - second`` over the same samples with its interval: (mean, low, high); both lie in [0, 1].

    Pairing removes what makes a sample hard for both. The interval covers the choice of samples, not of seeds. It is
    the normal one with a sample of +1 and one of -1 added (Bonett and Price, J. Educ. Behav. Stat. 2012): without
    them, two networks that differ on none of a few images would be said to differ nowhere for certain.
    """
    differences = first - second
    padded = np.concatenate([differences, [1.0, -1.0]])
    half = float(ndtri(0.975)) * float(padded.std()) / math.sqrt(padded.size)
    centre = float(padded.mean())
    return float(differences.mean()), max(-1.0, centre - half), min(1.0, centre + half)


def bootstrap_difference(first: Sequence[float], second: Sequence[float], *, seed: int) -> tuple[float, float, float]:
    """Return the mean of ``first`` less that of ``second`` with its 95 % percentile bootstrap interval.

    The two are independent samples of at least two values each. Returns (difference, low, high).
    """
    interval = stats.bootstrap(
        (np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=BOOTSTRAPS,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(np.mean(first) - np.mean(second)), float(interval.low), float(interval.high)


def bootstrap_mean(values: Sequence[float], *, seed: int) -> tuple[float, float, float]:
    """Return the mean with its 95 % percentile bootstrap interval: (mean, low, high); one value has no spread."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    if numbers.size == 1:
        return mean, mean, mean
    interval = stats.bootstrap(
        (numbers,), np.mean, n_resamples=BOOTSTRAPS, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return mean, float(interval.low), float(interval.high)

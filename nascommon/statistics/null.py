"""The question that decides whether a search was worth it: is its architecture better than a random one?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np

from nascommon.runtime.progress import share_worse
from nascommon.settings import UserError
from nascommon.statistics.intervals import summarise, wilson_interval

LEVEL = 0.05
"""Significance level: p-values up to it give the verdict "better" or "worse", 5 % of random architectures together."""
SIDES = 2
PERCENT = 100
FEWEST_TO_SHOW = math.ceil(SIDES / LEVEL) - 1
"""With fewer random architectures no result can be shown to be better than they."""


@dataclass(frozen=True)
class NullDistribution:
    """Test accuracies (percent) of `n` architectures drawn at random and trained by one protocol.

    `quantiles` are the accuracies at evenly spaced shares from 0 to 1; for our own samples, the sorted samples.
    """

    source: str
    n: int
    mean: float
    sd: float | None
    quantiles: tuple[float, ...]

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that `n` random architectures can give."""
        return SIDES / (self.n + 1)


@dataclass(frozen=True)
class Comparison:
    """An architecture's test accuracy against random architectures of the same protocol."""

    accuracy_percent: float
    percentile: float
    """Percent of the random architectures that are worse; ties count half."""
    percentile_low: float
    """Lower end of the 95 % interval (Wilson) of the percent of all random architectures that are worse."""
    percentile_high: float
    p_value: float
    """Two-sided: twice the chance that a random architecture is as far out on the same side, ties included."""
    p_as_good: float
    """One-sided: (1 + number of random architectures that are at least as good) / (n + 1)."""
    standard_distance: float | None
    """(accuracy - mean) / sd of the random ones; `None` where they have no spread."""
    null_mean: float
    null_sd: float | None
    n: int
    smallest_p: float
    source: str
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def null_from_accuracies(
    accuracies_percent: Sequence[float], source: str = "random architectures, same protocol"
) -> NullDistribution:
    """Our own random architectures, trained exactly as the one to be judged."""
    for accuracy in accuracies_percent:
        _check_percent(accuracy)
    summary = summarise(accuracies_percent)
    values = tuple(float(value) for value in np.sort(np.asarray(accuracies_percent, dtype=np.float64)))
    return NullDistribution(source, summary.n, summary.mean, summary.sd, values)


def published_null(epoch: Literal["last_epoch", "best_epoch"] = "last_epoch") -> NullDistribution:
    """CIFAR-10 under the papers' protocol: quantiles of 214 networks (Yang, Esperanca and Carlucci, ICLR 2020).

    Compare last epochs with `last_epoch`; only numbers that a paper took at the best epoch with `best_epoch`.
    """
    text = resources.files("nascommon.statistics").joinpath("reference", "random_null.json").read_text(encoding="utf-8")
    tree = json.loads(text)
    part = tree[epoch]
    quantiles = tuple(value for _, value in sorted((float(k), float(v)) for k, v in part["quantiles_percent"].items()))
    source = f"{tree['source']}, {epoch.replace('_', ' ')}"
    return NullDistribution(source, int(tree["n"]), float(part["mean"]), float(part["sd"]), quantiles)


def compare(accuracy_percent: float, null: NullDistribution) -> Comparison:
    """Place an accuracy (percent) among the random ones: percentile, p-value, distance in sd, verdict.

    The p-value is 2 (b + 1) / (n + 1), b being the number of random architectures that are at least as good, or at
    least as bad where these are fewer.
    """
    _check_percent(accuracy_percent)
    worse, equal = _counts(accuracy_percent, null)
    percentile = PERCENT * (worse + equal / 2) / null.n
    as_good, as_bad = null.n - worse, worse + equal
    # (b + 1) / (n + 1) counts the judged architecture among the random ones, so a p-value is never 0.
    p_value = min(1.0, SIDES * (min(as_good, as_bad) + 1) / (null.n + 1))
    return Comparison(
        accuracy_percent=accuracy_percent,
        percentile=percentile,
        percentile_low=PERCENT * wilson_interval(math.floor(worse), null.n)[0],
        percentile_high=PERCENT * wilson_interval(min(math.ceil(worse + equal), null.n), null.n)[1],
        p_value=p_value,
        p_as_good=(1 + as_good) / (null.n + 1),
        standard_distance=(accuracy_percent - null.mean) / null.sd if null.sd else None,
        null_mean=null.mean,
        null_sd=null.sd,
        n=null.n,
        smallest_p=null.smallest_p,
        source=null.source,
        verdict=_verdict(percentile, p_value, null, better=as_good < as_bad),
    )


def _check_percent(accuracy: float) -> None:
    if not 0 <= accuracy <= PERCENT:
        raise UserError(f"accuracy: percent between 0 and {PERCENT} needed, got {accuracy}")


def _counts(accuracy: float, null: NullDistribution) -> tuple[float, float]:
    """Return how many of the n random architectures are worse, and how many equal.

    From quantiles: share F lies at the order statistic F (n - 1), counted from 0, so that many are worse and one is
    there; between two quantiles this is interpolated, and the one counts as "at least as good" (the careful side).
    """
    values = np.asarray(null.quantiles)
    if len(values) == null.n:
        return float(np.sum(values < accuracy)), float(np.sum(values == accuracy))
    if accuracy < values[0]:
        return 0.0, 0.0
    if accuracy > values[-1]:
        return float(null.n), 0.0
    share = float(np.interp(accuracy, values, np.linspace(0, 1, len(values))))
    return share * (null.n - 1), 1.0


def _verdict(percentile: float, p_value: float, null: NullDistribution, *, better: bool) -> str:
    place = f"ahead of {share_worse(percentile)} of {null.n} random architectures, p = {p_value:.2g}"
    if p_value <= LEVEL:
        return f"{'better' if better else 'worse'} than random: {place}"
    if null.smallest_p <= LEVEL:
        return f"not shown to be better than random: {place}"
    return (
        f"not shown to be better than random: {place}; {null.n} are too few to show it "
        f"(p cannot fall below {null.smallest_p:.2g}, {FEWEST_TO_SHOW} are needed for {LEVEL})"
    )

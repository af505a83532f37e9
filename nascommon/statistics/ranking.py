"""Do two scores put the same architectures in the same order, and could chance alone have done it?

Shapes: `N` architectures, `R` resamples or permutations, `P` pairs of architectures, `T` epochs. Higher is better.

The p-value and the interval of tau-b are those of scipy's ``permutation_test`` and ``bootstrap`` around ``kendalltau``,
which call it for one order after another: 8 architectures with a tie, all 40,320 orders and 2,000 resamples take 85 s
there and 0.2 s here (one thread each, one after the other on a busy machine with 2 cores, scipy 1.17.1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from nascommon.settings import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Label = Literal["positive", "none", "negative", "undefined"]

EXACT_UP_TO = 8
"""8! = 40,320 orders: fewer than one second; above, orders are drawn at random."""
NORMAL_FROM = 101
"""Architectures from which on the normal approximation of tau is good to three digits, and random orders are slow."""
FEWEST, MOST = 3, 5000
"""Two points always agree or disagree in full; the sign matrices are N x N."""
FEWEST_FOR_INTERVAL = 5
"""Even the perfect order of four comes by chance in 2 of 24 cases, above 5 %, so no interval of theirs may exclude 0.
Simulated for normal scores with r from 0 to 0.95 (500 draws each, n from 3 to 20): a 95 % percentile interval misses
tau by having no width, in 34 to 71 % of the draws at n = 3, 8 to 50 % at 4, 3 to 35 % at 5; of all others 95 % or
more contain it."""
PERMUTATIONS_OF_AN_EPOCH = 2000
CHUNK = 2_000_000
"""Entries of the largest temporary array."""


@dataclass(frozen=True)
class Ranking:
    """Agreement of two rankings of the same `n` architectures; `None` where a constant score leaves tau undefined."""

    n: int
    tau_a: float | None
    tau_b: float | None
    tau_c: float | None
    weighted_tau: float | None
    p_value: float | None
    """Two-sided, of tau-b against "every order of the second score is equally likely"."""
    p_value_method: Literal["exact", "monte_carlo", "normal", "undefined"]
    interval: tuple[float, float] | None
    """Percentile bootstrap of tau-b over architectures; `None` where these are too few or all resamples agree."""
    confidence: float
    degenerate_resamples: int
    """Bootstrap resamples with a constant score, left out of the interval."""
    label: Label
    top_k_overlap: dict[int, float]
    """Share of the k best by one score that are among the k best by the other; ties at the border count their share."""

    def in_words(self) -> str:
        """Write tau-b with its interval, or why there is none."""
        return tau_in_words(self.n, self.tau_b, *(self.interval or (None, None)), confidence=self.confidence)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN, lists for tuples, text keys."""
        tree = asdict(self)
        tree["interval"] = None if self.interval is None else list(self.interval)
        tree["top_k_overlap"] = {str(k): share for k, share in self.top_k_overlap.items()}
        return tree


def rank_correlation(
    search_scores: ArrayLike,
    retrain_scores: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 2000,
    permutations: int = 10_000,
    confidence: float = 0.95,
    top: Sequence[int] = (1, 3, 5),
) -> Ranking:
    """Compare two scores of the same N architectures: tau-a, tau-b, tau-c, weighted tau, p-value, interval, overlap.

    Raises `UserError` for fewer than 3 architectures, unequal lengths, or a score that is not a finite number.
    """
    x_N, y_N = _checked(search_scores, retrain_scores)
    overlap = {k: top_k_overlap(x_N, y_N, k) for k in top if 0 < k < len(x_N)}
    if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return Ranking(
            len(x_N), None, None, None, None, None, "undefined", None, confidence, resamples, "undefined", overlap
        )
    tau_a, tau_b = tau_a_and_b(x_N, y_N)
    p_value, method = permutation_p_value(x_N, y_N, permutations, seed)
    interval, degenerate = bootstrap_interval(x_N, y_N, resamples, confidence, seed)
    return Ranking(
        n=len(x_N),
        tau_a=tau_a,
        tau_b=tau_b,
        tau_c=float(stats.kendalltau(x_N, y_N, variant="c").statistic),
        weighted_tau=weighted_tau(x_N, y_N),
        p_value=p_value,
        p_value_method=method,
        interval=interval,
        confidence=confidence,
        degenerate_resamples=degenerate,
        label=_label(tau_b, p_value, 1 - confidence),
        top_k_overlap=overlap,
    )


def trajectory(scores_TN: ArrayLike, retrain_N: ArrayLike, *, epochs: Sequence[int] | None = None) -> pd.DataFrame:
    """Return per epoch how well its search scores [T, N] rank the retrained accuracies [N].

    Columns `epoch`, `tau_a`, `tau_b`, `p_value`, `n` architectures; NaN where an epoch scores all of them alike.
    """
    table_TN = np.asarray(scores_TN, dtype=np.float64)
    if table_TN.shape[1:] != np.shape(retrain_N):
        raise UserError(
            f"scores: one row per epoch and one column per retrained architecture needed, got shape {table_TN.shape} "
            f"for {np.size(retrain_N)} architectures"
        )
    numbers = range(len(table_TN)) if epochs is None else epochs
    rows = [
        (epoch, *_epoch_row(*_checked(scores_N, retrain_N))) for epoch, scores_N in zip(numbers, table_TN, strict=True)
    ]
    return pd.DataFrame(rows, columns=["epoch", "tau_a", "tau_b", "p_value"]).assign(n=np.size(retrain_N))


def tau_a_and_b(x_N: Floats, y_N: Floats) -> tuple[float, float]:
    """Return Kendall's tau-a and tau-b of scores [N] with C concordant and D discordant pairs.

    tau-a = (C - D) / (N (N - 1) / 2); tau-b divides by the geometric mean of the pairs untied in each score.
    """
    x_NN, y_NN = _signs(x_N), _signs(y_N)
    twice_difference = float((x_NN * y_NN).sum())
    untied = math.sqrt(float(np.abs(x_NN).sum()) * float(np.abs(y_NN).sum()))
    return twice_difference / (len(x_N) * (len(x_N) - 1)), twice_difference / untied


def weighted_tau(x_N: Floats, y_N: Floats) -> float:
    """Return tau-b with pairs weighed by 1 / rank of either member, rank 1 the best (Vigna, WWW 2015, hyperbolic).

    The mean of ranking by ``x_N`` and by ``y_N``, as scipy's ``weightedtau(rank=True)``, which this equals where
    nothing is tied. Tied architectures share the mean weight of their ranks, which is the average over the orders of a
    tie: scipy orders ties by the other score, which lets two independent scores agree (0.33 of three levels, n = 100).
    Independent scores have 0 on average (-0.02 where nine of ten architectures share the lower of two levels, n = 100);
    scores with the same ties in the same order have 1, and one that ties what the other parts has less, as in tau-b.
    """
    x_NN, y_NN = _signs(x_N), _signs(y_N)
    agreeing_N, untied_in_x_N, untied_in_y_N = (of.sum(axis=1) for of in (x_NN * y_NN, abs(x_NN), abs(y_NN)))
    taus = [
        w_N @ agreeing_N / math.sqrt((w_N @ untied_in_x_N) * (w_N @ untied_in_y_N))
        for w_N in (_rank_weights(x_N), _rank_weights(y_N))
    ]
    return float(np.mean(taus))


def tau_in_words(n: int, tau: float | None, low: float | None, high: float | None, *, confidence: float = 0.95) -> str:
    """Write a tau of ``n`` architectures with its interval, or why there is none."""
    if tau is None:
        return f"undefined, since one of the two is the same for all {n} architectures"
    if low is not None and high is not None:
        interval = f"{100 * confidence:g} % interval {low:.2f} to {high:.2f}"
    elif n < FEWEST_FOR_INTERVAL:
        interval = f"no interval: {n} architectures are too few, {FEWEST_FOR_INTERVAL} are needed"
    else:
        interval = "no interval: all resamples agree"
    return f"{tau:.2f} ({interval})"


def top_k_overlap(x_N: Floats, y_N: Floats, k: int) -> float:
    """Expected share of common members when ties at the border are broken at random."""
    return float(_membership(x_N, k) @ _membership(y_N, k)) / k


def permutation_p_value(
    x_N: Floats, y_N: Floats, permutations: int, seed: int
) -> tuple[float, Literal["exact", "monte_carlo", "normal"]]:
    """Two-sided p-value of tau-b: all orders up to `EXACT_UP_TO`, else (b + 1) / (m + 1) of m random ones.

    Only C - D changes with the order, never the ties, so whole numbers are compared. From `NORMAL_FROM` on: scipy's
    normal approximation with tie correction.
    """
    n = len(x_N)
    if n >= NORMAL_FROM:
        return float(stats.kendalltau(x_N, y_N, method="asymptotic").pvalue), "normal"
    row_P, column_P = np.triu_indices(n, k=1)
    x_NN, y_NN = (_signs(scores_N).astype(np.float32) for scores_N in (x_N, y_N))  # whole numbers: exact, and faster
    x_P = x_NN[row_P, column_P]
    observed = abs(x_P @ y_NN[row_P, column_P])
    hits = sum(
        int(np.count_nonzero(np.abs(y_NN[order_RN[:, row_P], order_RN[:, column_P]] @ x_P) >= observed))
        for order_RN in _orders(n, permutations, seed)
    )
    if n <= EXACT_UP_TO:
        return hits / math.factorial(n), "exact"
    return (hits + 1) / (permutations + 1), "monte_carlo"


def bootstrap_interval(
    x_N: Floats, y_N: Floats, resamples: int, confidence: float, seed: int
) -> tuple[tuple[float, float] | None, int]:
    """Percentile interval of tau-b over resampled architectures, and how many resamples had no tau.

    None below `FEWEST_FOR_INTERVAL`, and where it would have no width: the resamples of architectures in perfect order
    are in perfect order, however few they are.

    A resample is how often each architecture was drawn, w_N; its tau-b is w'(XY)w / sqrt(w'|X|w w'|Y|w) with the sign
    matrices X and Y, because an architecture drawn twice ties with itself.
    """
    if len(x_N) < FEWEST_FOR_INTERVAL:
        return None, 0
    drawn_RN = np.random.default_rng((seed, 1)).multinomial(len(x_N), np.full(len(x_N), 1 / len(x_N)), resamples)
    w_RN, x_NN, y_NN = drawn_RN.astype(np.float64), _signs(x_N), _signs(y_N)
    untied_R = _quadratic(w_RN, np.abs(x_NN)) * _quadratic(w_RN, np.abs(y_NN))
    usable_R = untied_R > 0
    if not usable_R.any():
        return None, resamples
    tau_R = _quadratic(w_RN, x_NN * y_NN)[usable_R] / np.sqrt(untied_R[usable_R])
    low, high = (float(end) for end in np.quantile(tau_R, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return (low, high) if low < high else None, int(np.count_nonzero(~usable_R))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    x_N, y_N = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x_N.ndim != 1 or x_N.shape != y_N.shape:
        raise UserError(f"scores: two lists of equal length needed, got shapes {x_N.shape} and {y_N.shape}")
    if not FEWEST <= len(x_N) <= MOST:
        raise UserError(f"scores: {FEWEST} to {MOST} architectures can be ranked, got {len(x_N)}")
    for which, scores_N in (("first", x_N), ("second", y_N)):
        bad = np.flatnonzero(~np.isfinite(scores_N))
        if bad.size:
            raise UserError(f"scores: {which} score number {bad[0] + 1} is {scores_N[bad[0]]}; finite numbers needed")
    return x_N, y_N


def _epoch_row(x_N: Floats, y_N: Floats) -> tuple[float, float, float]:
    if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return math.nan, math.nan, math.nan
    return *tau_a_and_b(x_N, y_N), permutation_p_value(x_N, y_N, PERMUTATIONS_OF_AN_EPOCH, seed=0)[0]


def _signs(x_N: Floats) -> Floats:
    return np.sign(x_N[:, None] - x_N[None, :])


def _quadratic(w_RN: Floats, matrix_NN: Floats) -> Floats:
    return np.asarray(((w_RN @ matrix_NN) * w_RN).sum(axis=1))


def _orders(n: int, permutations: int, seed: int) -> Iterator[Ints]:
    """Chunks [R, N] of orders: every one of them for small n, else random ones."""
    if n <= EXACT_UP_TO:
        yield np.array(list(itertools.permutations(range(n))), dtype=np.int64)
        return
    draw = np.random.default_rng((seed, 0))
    chunk = max(1, CHUNK // (n * n))
    for start in range(0, permutations, chunk):
        size = min(chunk, permutations - start)
        yield draw.permuted(np.tile(np.arange(n), (size, 1)), axis=1)


def _membership(x_N: Floats, k: int) -> Floats:
    """Chance of each architecture to be among the k best when ties are broken at random."""
    border = np.sort(x_N)[-k]
    above, at = x_N > border, x_N == border
    return np.where(above, 1.0, np.where(at, (k - above.sum()) / at.sum(), 0.0))


def _rank_weights(x_N: Floats) -> Floats:
    """1 / rank, the best first; tied architectures share the mean of theirs."""
    _, level_N, count_L = np.unique(-x_N, return_inverse=True, return_counts=True)
    mean_L = np.add.reduceat(1 / np.arange(1.0, len(x_N) + 1), np.cumsum(count_L) - count_L) / count_L
    return np.asarray(mean_L[level_N])


def _label(tau: float, p_value: float, level: float) -> Label:
    if p_value > level or tau == 0:
        return "none"
    return "positive" if tau > 0 else "negative"

"""Where one cell stands among all of the table: its rank, its regret, and what no search at all would find."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nascommon.settings import UserError
from nascommon.space.genotype import Genotype
from nascommon.space.nasbench201 import NAME
from nascommon.space.nasbench201_text import from_digits, to_string
from nascommon.truth.table import DataSet, Table

Values = NDArray[np.float64]
PERCENT = 100
DRAWS = (1, 10, 100)
"""Numbers of random cells whose expected best is told beside that for the cost of the search."""


@dataclass(frozen=True)
class Standing:
    """One architecture among all of a space.

    Attributes:
        accuracy: share in 0..1.
        rank: 1 for the best; as many are better as the rank says, less one.
        percentile: percent of all that are worse.
        regret: share that the best has more.
        total: number of architectures.
    """

    accuracy: float
    rank: int
    percentile: float
    regret: float
    total: int


def standing(accuracy_N: Values, row: int) -> Standing:
    """Return where the architecture in a row stands among all, of which these are the accuracies [N]."""
    own = accuracy_N[row]
    better, worse = int((accuracy_N > own).sum()), int((accuracy_N < own).sum())
    total = len(accuracy_N)
    return Standing(float(own), 1 + better, PERCENT * worse / total, float(accuracy_N.max() - own), total)


def expected_of_best(chosen_by_N: Values, accuracy_N: Values, k: int) -> float:
    """Return the mean accuracy of the best of k different architectures drawn uniformly; exact.

    Sorted upwards, the i-th of N is the best of a draw of k with chance C(i - 1, k - 1) / C(N, k). Ties are broken by
    order, which changes nothing where ``chosen_by_N`` is the accuracy itself.

    Args:
        chosen_by_N: what the best is chosen by [N].
        accuracy_N: what is told of it [N].
        k: number of draws, at least 1; more than N draw all.
    """
    total = len(accuracy_N)
    k = min(k, total)
    i = np.arange(total, k, -1)
    # The best of all is drawn with chance k / N; from there on C(i - 2, k - 1) / C(i - 1, k - 1) = (i - k) / (i - 1).
    chance_I = k / total * np.concatenate([[1.0], np.cumprod((i - k) / (i - 1))])
    best_first = np.argsort(chosen_by_N, kind="stable")[::-1]
    return float(chance_I @ accuracy_N[best_first][: len(chance_I)])


def judge(table: Table, genotype: Genotype, own: DataSet) -> dict[str, Any]:
    """Return what the table says of a cell, as plain values.

    Args:
        table: accuracies of all cells.
        genotype: the cell.
        own: the set that it was searched on, by which counts and twins are told.

    Raises:
        UserError: it is no cell of the table.
    """
    row = table.row(genotype)
    if row is None:
        raise UserError(f"{genotype}: no cell of {NAME}")
    accuracy_N = table.test[own]
    return {
        "cell": to_string(genotype),
        "row": row,
        "params": int(table.params[row]),
        "macs": int(table.macs[row]),
        "own_set": own,
        "sets": {
            name: {**asdict(standing(values_N, row)), "best": float(values_N.max()), "mean": float(values_N.mean())}
            for name, values_N in table.test.items()
        },
        "twins": [float(accuracy_N[other]) for other in table.twins(row)],
        "counts": [
            _count("parameters", table, table.params, own),
            _count("multiply-adds", table, table.macs, own),
        ],
    }


def _count(what: str, table: Table, count_N: NDArray[np.int64], own: DataSet) -> dict[str, Any]:
    """Return what a count is worth as a score without any search, and where the cell stands that has most of it."""
    row = int(count_N.argmax())
    result: Any = spearmanr(count_N, table.test[own])
    cell = {"what": what, "spearman": float(result.statistic), "cell": to_string(from_digits(table.digits[row]))}
    return {**cell, **asdict(standing(table.test[own], row))}


def random_search(table: Table, own: DataSet, trainings: float) -> dict[str, Any]:
    """Return what drawing cells uniformly and training each finds on average, exactly, as plain values.

    Args:
        table: accuracies of all cells.
        own: the set whose test accuracy counts.
        trainings: number of cells that the search's cost would have trained; less than one still draws one.

    Returns:
        By the number of draws, as text, the mean test accuracy of the best: ``best`` by test accuracy itself, which
        nobody can choose by, and ``chosen`` by the validation accuracy of one training on CIFAR-10.
    """
    accuracy_N = table.test[own]
    draws = max(1, min(round(trainings), len(table)))
    expected = {
        str(k): {
            "best": expected_of_best(accuracy_N, accuracy_N, k),
            "chosen": expected_of_best(table.valid, accuracy_N, k),
        }
        for k in sorted({*DRAWS, draws})
    }
    return {"trainings": trainings, "draws": draws, "expected": expected}

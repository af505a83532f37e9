"""The table of NAS-Bench-201: the accuracy of each of its 15,625 cells, which others have trained from scratch.

Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020. Where the
figures come from stands in ``nascommon/truth/reference/NOTICE.md``.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nascommon.runtime.artefacts import read_packaged
from nascommon.space.genotype import Genotype
from nascommon.space.nasbench201 import NAME
from nascommon.space.nasbench201_text import canonical, from_digits, to_digits
from nascommon.truth.known import Known

DataSet = Literal["cifar10", "cifar100", "imagenet16-120"]
DATA_SETS: dict[DataSet, str] = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}
"""The sets that the cells were trained on, as reports write them."""
PROTOCOL = "NAS-Bench-201: 16 channels, 5 cells per stage, 200 epochs, batch 256, without cutout"
DISTINCT = 6466
"""Different graphs among the cells: cells that are isomorphic were trained one by one."""
SHA256 = "c60d53fcf78faa3b058fe2a7dee3efe14284c0f4c4c7c2d709b178baaad27645"
FILE = resources.files("nascommon.truth").joinpath("reference", "nasbench201.csv.xz")
_TEST: dict[DataSet, str] = {
    "cifar10": "c10_test_v10",
    "cifar100": "c100_test_v10",
    "imagenet16-120": "in16_test_v10",
}
_PERCENT = 100


@dataclass(frozen=True, eq=False)
class Table:
    """All cells in the benchmark's own order; accuracies are shares in 0..1, arrays [N].

    Attributes:
        digits: each cell as six digits (``nascommon.space.nasbench201_text``).
        test: test accuracy on each set after 200 epochs, mean over the benchmark's seeds, release 1.0.
        seeds: test accuracies of single seeds on CIFAR-10, one to three for a cell, release 1.1; not to be compared
            with ``test``, which is another release.
        valid: validation accuracy on CIFAR-10 of one training on half of the training images, 200 epochs.
        valid_12_epochs: the same after a schedule of 12 epochs.
        params: trainable numbers of the CIFAR-10 network.
        macs: multiply-adds of its convolutions and linear layers for an image of 32 x 32.
    """

    digits: tuple[str, ...]
    test: Mapping[DataSet, NDArray[np.float64]]
    seeds: tuple[tuple[float, ...], ...]
    valid: NDArray[np.float64]
    valid_12_epochs: NDArray[np.float64]
    params: NDArray[np.int64]
    macs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.digits)

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {digits: row for row, digits in enumerate(self.digits)}

    @functools.cached_property
    def _graphs(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, digits in enumerate(self.digits):
            rows.setdefault(canonical(from_digits(digits)), []).append(row)
        return rows

    def twins(self, row: int) -> list[int]:
        """Return the rows of the other cells that are the same graph; each was trained on its own."""
        return [other for other in self._graphs[canonical(from_digits(self.digits[row]))] if other != row]

    def row(self, genotype: Genotype) -> int | None:
        """Return the benchmark's index of a cell; None for an architecture of another space."""
        return self._rows[to_digits(genotype)] if genotype.skeleton == NAME else None


@functools.cache
def load_table() -> Table:
    """Return the packaged table; read and verified once.

    Raises:
        UserError: the file is missing or is not the one that belongs to this version.
    """
    return read_table(FILE)


def read_table(file: Traversable) -> Table:
    """Read the table from a file, which must have the content that ``SHA256`` says.

    Raises:
        UserError: it cannot be read or has other content, such as the first part of it alone.
    """
    frame = pd.read_csv(io.BytesIO(read_packaged(file, SHA256)), compression="xz", dtype={"ops": str})
    return Table(
        digits=tuple(frame["ops"]),
        test={name: _share(frame[column]) for name, column in _TEST.items()},
        seeds=tuple(
            tuple(float(seed) / _PERCENT for seed in seeds.split(";")) for seeds in frame["c10_test_v11_seeds"]
        ),
        valid=_share(frame["c10_valid_1trial"]),
        valid_12_epochs=_share(frame["c10_valid_e12"]),
        params=frame["params"].to_numpy(np.int64),
        macs=frame["macs"].to_numpy(np.int64),
    )


def _share(percent: pd.Series[float]) -> NDArray[np.float64]:
    return percent.to_numpy(np.float64) / _PERCENT


@dataclass(frozen=True)
class TableTruth:
    """One kind of figure of the table as a truth; a comparison takes one of them, so that releases are not mixed.

    Attributes:
        protocol: what the accuracies are, in words.
        accuracies: of the cell in a row of the table.
    """

    protocol: str
    accuracies: Callable[[int], tuple[float, ...]]

    def known(self, genotype: Genotype) -> Known | None:
        """Return what the table says of a cell; None for an architecture of another space."""
        row = load_table().row(genotype)
        return None if row is None else Known(self.accuracies(row))

    def genotypes(self) -> Sequence[Genotype]:
        """Return all 15,625 cells, in the benchmark's own order."""
        return [from_digits(digits) for digits in load_table().digits]


def table_truth(data_set: DataSet = "cifar10") -> TableTruth:
    """Return test accuracies of release 1.0: one for each cell, the mean over the benchmark's seeds."""
    accuracy_N = load_table().test[data_set]
    words = f"test accuracy on {DATA_SETS[data_set]}, mean over the seeds, release 1.0 of {PROTOCOL}"
    return TableTruth(words, lambda row: (float(accuracy_N[row]),))


def seeds_truth() -> TableTruth:
    """Return test accuracies of release 1.1 on CIFAR-10: one to three seeds for each cell."""
    return TableTruth(
        f"test accuracy on CIFAR-10, single seeds, release 1.1 of {PROTOCOL}", load_table().seeds.__getitem__
    )


def no_table(source: str) -> str:
    """Say why the table is silent on a search of its own space that sees other pictures."""
    return f"the table of {NAME} knows {', '.join(DATA_SETS.values())}; this search sees {source}"


def find_table(space: str, source: str) -> DataSet | None:
    """Return the set whose column of the table is the truth of a search in ``space`` on pictures of ``source``.

    None where the table does not hold what such a search is about.
    """
    return next((name for name in get_args(DataSet) if name == source), None) if space == NAME else None

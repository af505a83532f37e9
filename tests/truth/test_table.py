"""The packaged table is the benchmark's, whole, and what is known of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nascommon.settings import UserError
from nascommon.space.nasbench201_text import canonical, from_digits
from nascommon.space.published import PUBLISHED
from nascommon.truth.judgement import Values, standing
from nascommon.truth.published import published_values
from nascommon.truth.table import (
    DATA_SETS,
    DISTINCT,
    FILE,
    DataSet,
    find_table,
    load_table,
    read_table,
    seeds_truth,
    table_truth,
)

ALL_SKIP = 1835


def tau(first: Sequence[float] | Values, second: Sequence[float] | Values) -> float:
    return float(kendalltau(first, second).statistic)


def test_every_cell_is_there_once_and_is_read_once() -> None:
    table = load_table()
    assert len(table) == len(set(table.digits)) == 5**6 == 15_625
    assert load_table() is table


@pytest.mark.parametrize(
    ("data_set", "best", "row"),
    [("cifar10", 94.373, 6111), ("cifar100", 73.513, 9930), ("imagenet16-120", 47.311, 857)],
)
def test_the_best_cells_are_the_benchmarks(data_set: DataSet, best: float, row: int) -> None:
    accuracy_N = load_table().test[data_set]
    assert int(accuracy_N.argmax()) == row
    assert 100 * accuracy_N[row] == pytest.approx(best, abs=5e-4)


def test_the_all_skip_cell_is_the_published_result_of_darts() -> None:
    row = published_values().set_index("method").loc["DARTS-V1 (1st order)"]
    table = load_table()
    assert table.digits[ALL_SKIP] == "111111"
    ours = [round(100 * float(table.test[name][ALL_SKIP]), 2) for name in DATA_SETS]
    assert ours == [row["c10_test"], row["c100_test"], row["in16_test"]] == [54.30, 15.61, 16.32]
    assert standing(table.test["cifar10"], ALL_SKIP).percentile == pytest.approx(2.5, abs=0.05)


def test_known_summary_figures_come_out() -> None:
    table = load_table()
    accuracy_N = table.test["cifar10"]
    assert 100 * accuracy_N.mean() == pytest.approx(87.04, abs=0.005)
    assert tau(table.valid, accuracy_N) == pytest.approx(0.879, abs=5e-4)
    assert tau(table.valid_12_epochs, accuracy_N) == pytest.approx(0.594, abs=5e-4)
    three = [seeds for seeds in table.seeds if len(seeds) == 3]
    assert len(three) == 7961
    assert tau([seeds[0] for seeds in three], [seeds[1] for seeds in three]) == pytest.approx(0.909, abs=5e-4)


def test_a_count_ranks_well_and_both_counts_rank_alike() -> None:
    table = load_table()
    assert spearmanr(table.params, table.test["cifar10"]).statistic == pytest.approx(0.751, abs=5e-4)
    assert spearmanr(table.params, table.macs).statistic == pytest.approx(1)


def test_the_counts_of_all_cells_follow_from_their_operations() -> None:
    table = load_table()
    conv_3x3, conv_1x1 = (np.array([digits.count(digit) for digits in table.digits]) for digit in "32")
    assert (table.params == 73_306 + 243_040 * conv_3x3 + 28_000 * conv_1x1).all()
    assert (table.macs == 7_783_040 + 35_389_440 * conv_3x3 + 3_932_160 * conv_1x1).all()


def test_so_many_cells_are_different_graphs() -> None:
    assert len({canonical(genotype) for genotype in table_truth().genotypes()}) == DISTINCT


def test_a_truth_knows_the_cells_of_this_space_alone() -> None:
    skips = from_digits("111111")
    known = table_truth("cifar100").known(skips)
    assert known is not None
    assert known.accuracies == pytest.approx((0.156067,))
    assert table_truth().known(PUBLISHED["DARTS_V2"]) is None
    assert "CIFAR-100" in table_truth("cifar100").protocol


def test_single_seeds_are_of_another_release() -> None:
    known = seeds_truth().known(from_digits("111111"))
    assert known is not None
    assert known.accuracies == pytest.approx((0.6121, 0.3913, 0.6255))
    assert "release 1.1" in seeds_truth().protocol
    assert "release 1.0" in table_truth().protocol


def test_the_order_of_the_cells_is_the_tables() -> None:
    genotypes = table_truth().genotypes()
    assert len(genotypes) == 15_625
    assert genotypes[ALL_SKIP] == from_digits("111111")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", FILE.read_bytes()[:-1]])
def test_a_torn_or_wrong_table_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "nasbench201.csv.xz"
    file.write_bytes(content)
    with pytest.raises(
        UserError, match=r"nasbench201\.csv\.xz: torn or changed: its SHA-256 must be c60d53fcf78f"
    ) as e:
        read_table(file)
    assert "\n" not in str(e.value)


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.xz: cannot be read \(No such file or directory\); install"):
        read_table(tmp_path / "gone.xz")


@pytest.mark.parametrize(
    ("space", "source", "found"),
    [("nasbench201", "cifar10", "cifar10"), ("nasbench201", "digits", None), ("darts", "cifar10", None)],
)
def test_the_table_is_the_truth_of_its_space_on_its_pictures(space: str, source: str, found: str | None) -> None:
    assert find_table(space, source) == found


def test_published_values_are_accuracies_with_a_source() -> None:
    values = published_values()
    assert values["method"].is_unique
    assert values["source"].notna().all()
    for column in ("c10_test", "c100_test", "in16_test"):
        assert values[column].dropna().between(10, 95).all()

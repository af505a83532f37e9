"""The packaged numbers of the papers are complete and those that the papers print."""

from __future__ import annotations

import math

import pytest

from nascommon.report.published import published_results
from tests.oracles import rules

PRINTED = rules.oracle("published")["methods"]


def test_every_method_is_named_once_with_a_result_and_a_source() -> None:
    table = published_results()
    assert {"method", "source", "cifar10_statistic", "search_hardware"} <= set(table.columns)
    assert table["method"].is_unique
    assert table["source"].notna().all()
    errors = table[["cifar10_test_error_percent", "imagenet_top1_error_percent"]]
    assert errors.notna().any(axis=1).all()


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("cifar10_test_error_percent", 1, 10),
        ("cifar10_params_millions", 1, 30),
        ("imagenet_top1_error_percent", 15, 35),
        ("imagenet_top5_error_percent", 3, 15),
        ("imagenet_mult_adds_millions", 300, 1500),
    ],
)
def test_numbers_have_the_unit_of_their_column(column: str, low: float, high: float) -> None:
    assert published_results()[column].dropna().between(low, high).all()


@pytest.mark.parametrize("method", PRINTED)
def test_the_packaged_numbers_are_those_of_the_papers(method: str) -> None:
    row = published_results().set_index("method").loc[method]
    assert {name: None if math.isnan(row[name]) else float(row[name]) for name in PRINTED[method]} == PRINTED[method]

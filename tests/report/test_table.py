"""The table of results puts ours first, keeps data sets apart, and reads well as Markdown."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from nascommon.report.published import published_results
from nascommon.report.table import COLUMNS, comparison_table, to_markdown

OURS: dict[str, object] = {"what": "found", "data set": "digits", "test error %": 3.14159, "params M": 0.12345}
BOTH, ONE, MOBILE = "DARTS (2nd order)", "DARTS (1st order)", "MobileNet"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def published(*methods: str) -> pd.DataFrame:
    table = published_results()
    return table[table["method"].isin(methods)]


def test_our_rows_come_first_in_their_order_and_all_columns_are_there() -> None:
    table = comparison_table([OURS, {**OURS, "what": "random"}], published_results())
    assert tuple(table.columns) == COLUMNS
    assert table["what"].tolist()[:2] == ["found", "random"]
    assert table["whose"].tolist() == ["ours"] * 2 + ["paper"] * (len(table) - 2)
    assert table["test error %"][0] == 3.14159


def test_a_column_that_the_table_does_not_know_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"unknown columns \['test error'\]"):
        comparison_table([OURS, {"what": "x", "test error": 3.0}], published_results())


def test_a_method_with_results_on_both_data_sets_becomes_two_rows() -> None:
    cifar, imagenet = comparison_table([], published(BOTH)).to_dict("records")
    assert (cifar["data set"], cifar["test error %"], cifar["± sd"], cifar["params M"]) == ("CIFAR-10", 2.76, 0.09, 3.3)
    assert (imagenet["data set"], imagenet["test error %"], imagenet["params M"]) == ("ImageNet", 26.7, 4.7)
    assert (imagenet["top-5 error %"], imagenet["paper_flops M"]) == (8.7, 574)
    assert math.isnan(cifar["top-5 error %"])
    assert cifar["what"] == imagenet["what"] == BOTH
    assert cifar["search cost"] == "1 GPU-days"


@pytest.mark.parametrize(("method", "data_set"), [(ONE, "CIFAR-10"), (MOBILE, "ImageNet")])
def test_a_method_with_one_result_becomes_one_row(method: str, data_set: str) -> None:
    assert comparison_table([], published(method))["data set"].tolist() == [data_set]


def test_no_published_result_is_lost_and_every_one_has_a_note() -> None:
    source, table = published_results(), comparison_table([], published_results())
    results = source[["cifar10_test_error_percent", "imagenet_top1_error_percent"]]
    assert len(table) == results.notna().to_numpy().sum()
    assert table["note"].str.len().gt(0).all()
    assert not table["note"].str.contains("nan").any()


def test_markdown_is_aligned() -> None:
    lines = to_markdown(comparison_table([OURS], published_results())).splitlines()
    assert len({len(line) for line in lines}) == 1
    bars = {tuple(place for place, mark in enumerate(line) if mark == "|") for line in lines}
    assert len(bars) == 1
    names, rules = cells(lines[0]), cells(lines[1])
    assert {name: rule.endswith(":") for name, rule in zip(names, rules, strict=True)}["test error %"]
    assert not rules[names.index("what")].endswith(":")


def test_markdown_rounds_and_leaves_unknown_numbers_blank() -> None:
    head, _, ours, paper = to_markdown(comparison_table([OURS], published(ONE))).splitlines()
    row = dict(zip(cells(head), cells(ours), strict=True))
    assert (row["test error %"], row["params M"], row["± sd"]) == ("3.14", "0.123", "")
    assert dict(zip(cells(head), cells(paper), strict=True))["± sd"] == "0.14"


def test_markdown_leaves_out_empty_columns_and_notes() -> None:
    table = comparison_table([{**OURS, "note": "long"}], published(ONE))
    shown = cells(to_markdown(table).splitlines()[0])
    assert shown == ["whose", "what", "data set", "test error %", "± sd", "params M", "search cost"]


def test_a_bar_in_a_name_does_not_open_a_column() -> None:
    head, rule, ours = to_markdown(comparison_table([{**OURS, "what": "a|b"}], published())).splitlines()
    assert r"a\|b" in ours
    assert len(cells(head)) == len(cells(rule)) == len(cells(ours.replace(r"\|", "/")))

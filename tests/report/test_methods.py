"""Every method is told in words, and the README's table is that of the records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nascommon.method import REGISTRY
from nascommon.report.methods import PAPERS, method_table, record

README = Path(__file__).parents[2] / "README.md"
TABLE_BEGIN, TABLE_END = "<!-- methods: begin -->", "<!-- methods: end -->"


def test_the_methods_table_of_the_readme_says_what_the_records_say() -> None:
    text = README.read_text(encoding="utf-8")
    shown = text[text.index(TABLE_BEGIN) + len(TABLE_BEGIN) : text.index(TABLE_END)].strip().splitlines()
    rows = method_table().splitlines()
    # A method of your own need not stand in it.
    told = "run `python -m stages.check --table` and paste its output into README.md"
    assert shown == [row for row in rows if row in shown], told
    assert {"`darts`", "`da2s`", "`custom`"} <= {row.split("|")[1].strip() for row in shown}


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_record_is_words_and_numbers(name: str) -> None:
    entry = REGISTRY[name]
    choices = record(entry.recipe(entry.settings(), PAPERS))
    said = " ".join(choices.values())
    assert all(choices.values())
    assert not re.search(r"<| at 0x|\bTrue\b|\bFalse\b|\bNone\b", said), choices


def test_how_a_genotype_is_taken_and_whether_none_is_a_candidate_are_said_in_words() -> None:
    told = {name: record(entry.recipe(entry.settings(), PAPERS)) for name, entry in REGISTRY.items()}
    assert {name: told[name]["select"] for name in ("da2s", "random")} == {
        "da2s": "the discretized mixing weights", "random": "drawn uniformly",
    }  # fmt: skip
    assert (told["da2s"]["none"], told["darts"]["none"]) == ("no candidate", "a candidate, too")


def test_what_tells_methods_apart_is_in_their_rows() -> None:
    rows = {line.split("|")[1].strip(" `"): line for line in method_table().splitlines()[2:]}
    assert set(rows) == set(REGISTRY)
    assert "cross edge softmax" in rows["ecdarts"]
    assert "induced" in rows["ecdarts"]
    assert "1/4" in rows["pcdarts"]
    assert "at most 2 skips" in rows["pdarts"]
    assert "entropy" in rows["da2s"]

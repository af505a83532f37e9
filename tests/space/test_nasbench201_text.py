"""Strings and digits of NAS-Bench-201 are read and written, and isomorphic cells are known as one."""

from __future__ import annotations

from collections import Counter

import pytest

from nascommon.search.choose import find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.genotype_text import parse_genotype
from nascommon.space.nasbench201_text import all_genotypes, canonical, from_digits, from_string, to_digits, to_string
from nascommon.space.published import PUBLISHED

TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
CELL = CellGenotype(
    (
        (Choice("nor_conv_3x3", 0),),
        (Choice("skip_connect", 1),),
        (Choice("avg_pool_3x3", 0), Choice("nor_conv_1x1", 1)),
    ),
    concat=(3,),
    inputs=1,
    dead_inputs=True,
)


def test_a_string_says_the_operation_of_every_edge() -> None:
    genotype = from_string(TEXT)
    assert genotype == Genotype({"cell": CELL}, "nasbench201")
    assert to_string(genotype) == TEXT
    assert to_digits(genotype) == "301420"
    assert from_digits("301420") == genotype


def test_all_cells_are_distinct_and_survive_both_ways() -> None:
    cells = list(all_genotypes())
    assert len(set(cells)) == len(cells) == 5**6
    assert [to_digits(cell) for cell in cells[:2]] == ["000000", "000001"]
    for cell in cells[::101]:
        assert from_string(to_string(cell)) == from_digits(to_digits(cell)) == cell


def test_the_benchmark_counts_6466_cells_that_are_not_isomorphic() -> None:
    classes = Counter(map(canonical, all_genotypes()))
    assert len(classes) == 6466
    assert classes.total() == 5**6


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("100030", "000300", True),  # a skip connection is its source
        ("310000", "130000", True),  # nothing reaches the output
        ("000003", "030003", False),
        ("300030", "000300", False),  # one convolution more
        ("340011", "430011", False),  # the same function, but behind a skip connection terms are not sorted anew
        ("300010", "301001", False),  # the same function, but with one zero more
    ],
)
def test_isomorphic_cells_share_a_key(one: str, other: str, *, same: bool) -> None:
    assert (canonical(from_digits(one)) == canonical(from_digits(other))) is same


def test_edges_of_a_node_may_stand_in_any_order() -> None:
    *nodes, last = CELL.nodes
    turned = Genotype({"cell": CellGenotype((*nodes, last[::-1]), (3,), 1, dead_inputs=True)}, "nasbench201")
    assert to_digits(turned) == "301420"
    assert canonical(turned) == canonical(from_string(TEXT))


def test_a_string_is_a_genotype_wherever_one_is_asked_for() -> None:
    assert parse_genotype(f"{TEXT}\n", "cell.txt") == find_genotype(TEXT) == from_string(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("nor_conv_1x1", "nor_conv_5x5"),
            r"unknown operation 'nor_conv_5x5'.*nown are none, skip_connect, [a-z0-9_, ]*$",
        ),
        (TEXT.replace("~2", "~1"), r"a cell of nasbench201 is written \|op~0\|\+"),
        (TEXT[:-1], r"a cell of nasbench201 is written"),
        ("|nor_conv_3x3~0|", r"a cell of nasbench201 is written"),
        (f"{TEXT}+|none~0|", r"a cell of nasbench201 is written"),
    ],
)
def test_another_string_is_refused_in_a_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^cell.txt: {message}") as caught:
        parse_genotype(text, "cell.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("digits", ["", "00000", "0000000", "000005", "00000a", "000000\n"])
def test_other_digits_are_refused(digits: str) -> None:
    with pytest.raises(UserError, match="has 6 digits from 0 to 4"):
        from_digits(digits)


def test_a_cell_of_another_space_has_no_string() -> None:
    with pytest.raises(UserError, match="is a genotype of darts, not of nasbench201"):
        to_string(PUBLISHED["DARTS_V2"])
    pooled = Genotype(
        {"cell": CellGenotype(((Choice("max_pool_3x3", 0),), (), ()), (3,), 1, dead_inputs=True)}, "nasbench201"
    )
    with pytest.raises(UserError, match="node 1: max_pool_3x3@0 does not fit"):
        to_digits(pooled)

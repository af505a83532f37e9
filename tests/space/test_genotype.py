"""A genotype survives JSON, reads the lists of the released codes, and refuses what no network could be built of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from nascommon.settings import UserError
from nascommon.space.genotype import (
    DARTS_KINDS,
    CellGenotype,
    Choice,
    Genotype,
    format_cell,
    genotype_from_json,
)
from nascommon.space.published import PUBLISHED
from tests.oracles import rules
from tests.space.kinds import two
from tests.space.strategies import genotypes

SEP, SKIP = Choice("sep_conv_3x3", 0), Choice("skip_connect", 1)
SMALL = CellGenotype(((SEP, SKIP),), (2,))


@settings(max_examples=40)
@given(genotypes())
def test_any_genotype_survives_the_json_round_trip(genotype: Genotype) -> None:
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


@settings(max_examples=40)
@given(genotypes())
def test_edges_and_skips_are_counted_one_by_one(genotype: Genotype) -> None:
    for cell in (genotype["normal"], genotype["reduction"]):
        operations = [operation for node in cell.nodes for operation, _ in node]
        assert cell.edges == len(operations)
        assert cell.skips == operations.count("skip_connect")


@pytest.mark.parametrize("name", sorted(rules.genotypes()))
def test_the_released_lists_and_our_own_form_read_the_same(name: str) -> None:
    released = rules.genotypes()[name]
    genotype = genotype_from_json(released, name)
    assert genotype == genotype_from_json(genotype.to_json())
    pairs = [list(choice) for node in genotype["normal"].nodes for choice in node]
    assert pairs == released["normal"]
    assert list(genotype["reduction"].concat) == released["reduce_concat"]


def test_cell_returns_the_cell_of_that_kind() -> None:
    genotype = PUBLISHED["DARTS_V2"]
    assert tuple(genotype) == DARTS_KINDS
    assert genotype.main is genotype["normal"]


def test_a_cell_is_written_on_one_line_with_a_dash_for_a_dead_node() -> None:
    cell = CellGenotype(((), (SEP, SKIP)), (3,))
    assert format_cell(cell) == "- | sep_conv_3x3@0 skip_connect@1"
    assert str(two(Genotype, SMALL, cell)).startswith("normal: sep_conv_3x3@0 skip_connect@1 / reduction: - |")


@pytest.mark.parametrize(
    ("nodes", "concat", "message"),
    [
        (((Choice("conv", 0),),), (2,), r"unknown operation 'conv'.*sep_conv_3x3"),
        (((Choice("none", 0),),), (2,), "unknown operation 'none'"),
        (((Choice("skip_connect", 2),),), (2,), r"0\.\.1 \(got 2\)"),
        (((Choice("skip_connect", -1),),), (2,), r"got -1"),
        (((SEP,),), (), "concat"),
        (((SEP,),), (2, 2), "concat"),
        (((SEP,),), (1,), "concat"),
        (((SEP,),), (3,), "concat"),
        (((), (Choice("skip_connect", 2),)), (3,), "node 2 has no input but is one"),
        (((SEP,), (), (SEP, Choice("skip_connect", 3))), (2, 4), "node 3 has no input but is one"),
        (((), (SEP,)), (2,), r"concat needs a node that has an input \(got \[2\]\)"),
        (((), ()), (2, 3), r"concat needs a node that has an input \(got \[2, 3\]\)"),
    ],
)
def test_a_cell_that_cannot_be_built_is_refused(
    nodes: tuple[tuple[Choice, ...], ...], concat: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        CellGenotype(nodes, concat)


def test_a_dead_node_may_be_concatenated_beside_one_that_has_an_input() -> None:
    cell = CellGenotype(((), (SEP,)), (2, 3))
    assert (cell.edges, cell.concat) == (1, (2, 3))
    genotype = two(Genotype, cell, SMALL)
    assert genotype_from_json(json.loads(json.dumps(genotype.to_json()))) == genotype


def released(**changes: Any) -> dict[str, Any]:
    pairs = [["skip_connect", 0], ["skip_connect", 1]]
    return {"normal": pairs, "normal_concat": [2], "reduce": pairs, "reduce_concat": [2], **changes}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "JSON object"),
        ({}, "schema"),
        ({"schema": 2}, "schema"),
        ({"schema": 1, "normal": []}, "normal"),
        (
            {**two(Genotype, SMALL, SMALL).to_json(), "reduction": {"nodes": [5], "concat": [2]}},
            "reduction.*node is a list",
        ),
        (released(normal=[["skip_connect", 0]]), "normal.*two"),
        (released(normal=[["skip_connect", "0"], ["skip_connect", 1]]), r"pair \[operation, source\]"),
        (released(normal=[["skip_connect", True], ["skip_connect", 1]]), r"pair \[operation, source\]"),
        (released(normal=["skip_connect", "skip_connect"]), r"pair \[operation, source\]"),
        (released(normal_concat=None), "concat"),
        (released(reduce_concat=[2.0]), "concat"),
    ],
)
def test_json_that_is_no_genotype_is_refused_by_file_and_key(tree: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"cell\.json: .*{message}"):
        genotype_from_json(tree, "cell.json")

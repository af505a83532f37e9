"""What the released codes print is read as it stands; nothing of it is evaluated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nascommon.settings import UserError
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.genotype_text import parse_genotype
from nascommon.space.published import PUBLISHED
from tests.oracles import rules
from tests.space.kinds import two


def printed(released: dict[str, Any]) -> str:
    """The line that the searches of DARTS and its children print."""
    pairs = {name: [tuple(pair) for pair in released[name]] for name in ("normal", "reduce")}
    normal, reduce = released["normal_concat"], released["reduce_concat"]
    return (
        f"Genotype(normal={pairs['normal']!r}, normal_concat=range({normal[0]}, {normal[-1] + 1}), "
        f"reduce={pairs['reduce']!r}, reduce_concat={reduce!r})"
    )


RELEASED = rules.genotypes()["DARTS_V2"]
LINE = printed(RELEASED)


@pytest.mark.parametrize("name", [n for n, g in rules.genotypes().items() if len(g["normal_concat"]) > 3])
def test_the_printed_line_of_every_published_cell_reads_as_that_cell(name: str) -> None:
    assert parse_genotype(printed(rules.genotypes()[name]), name) == PUBLISHED[name]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"2019-11-20 03:14:15,926 genotype = {LINE}\n", id="log line"),
        pytest.param(f"DARTS_V2 = {LINE}  # 3.3M", id="assignment"),
        pytest.param(LINE.replace("), (", "),  # node\n ("), id="lines with comments"),
        pytest.param(f"epoch 1 {LINE}\nepoch 2 {LINE}", id="the same twice"),
        pytest.param("\ufeff" + json.dumps(RELEASED), id="JSON with a byte order mark"),
        pytest.param("\ufeff" + json.dumps(PUBLISHED["DARTS_V2"].to_json()), id="our JSON with a byte order mark"),
        pytest.param(repr(RELEASED), id="printed dictionary"),
        pytest.param(re.sub(r"\w+=", "", LINE), id="by position"),
        pytest.param(LINE[:-1] + ", connectN=None, connects=None)", id="with unused fields"),
    ],
)  # fmt: skip
def test_one_genotype_has_many_coats(text: str) -> None:
    assert parse_genotype(text, "cell.txt") == PUBLISHED["DARTS_V2"]


def test_a_list_per_node_may_hold_any_number_of_inputs() -> None:
    text = (
        "Genotype(normal=[[('sep_conv_3x3', 0), ('skip_connect', 1)], [('dil_conv_3x3', 2)]], "
        "normal_concat=range(2, 4), reduce=((('max_pool_3x3', 0), ('max_pool_3x3', 1)), "
        "(('skip_connect', 2), ('max_pool_3x3', 0))), reduce_concat=[2, 3])"
    )
    sep, skip, dil = Choice("sep_conv_3x3", 0), Choice("skip_connect", 1), Choice("dil_conv_3x3", 2)
    genotype = parse_genotype(text, "cell.txt")
    assert genotype["normal"] == CellGenotype(((sep, skip), (dil,)), (2, 3))
    assert [len(node) for node in genotype["reduction"].nodes] == [2, 2]
    as_json = {"normal": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["dil_conv_3x3", 2]]], "normal_concat": [2, 3]}
    as_json |= {"reduce": as_json["normal"], "reduce_concat": [2, 3]}
    assert parse_genotype(json.dumps(as_json), "cell.json") == two(Genotype, genotype["normal"], genotype["normal"])


def test_fairdarts_triples_are_operation_node_source_and_name_dead_nodes_by_silence() -> None:
    text = (
        "Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), ('max_pool_3x3', 4, 0), "
        "('sep_conv_3x3', 5, 0)], normal_concat=range(2, 6), "
        "reduce=[('max_pool_3x3', 2, 0), ('skip_connect', 3, 2)], reduce_concat=[2, 3])"
    )
    genotype = parse_genotype(text, "fair.txt")
    assert [[tuple(choice) for choice in node] for node in genotype["normal"].nodes] == [
        [("sep_conv_3x3", 0), ("sep_conv_5x5", 1)], [], [("max_pool_3x3", 0)], [("sep_conv_3x3", 0)],
    ]  # fmt: skip
    assert genotype["normal"].concat == (2, 3, 4, 5)
    assert genotype["reduction"] == CellGenotype(((Choice("max_pool_3x3", 0),), (Choice("skip_connect", 2),)), (2, 3))


def test_the_weight_in_gdas_triples_is_dropped() -> None:
    weighed = {name: [(*pair, 0.13) for pair in RELEASED[name]] for name in ("normal", "reduce")}
    text = printed(RELEASED | weighed)
    assert "0.13" in text
    assert parse_genotype(text, "gdas.txt") == PUBLISHED["DARTS_V2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither JSON nor a printed line"),
        ("a cat", "neither JSON nor a printed line"),
        (LINE[:-1], "never closed"),
        (f"{LINE}\n{LINE.replace('sep_conv_3x3', 'sep_conv_5x5', 1)}", "2 different genotypes"),
        (LINE.replace("sep_conv_3x3", "sepconv3", 1), r"unknown operation 'sepconv3' \(known: .*sep_conv_3x3"),
        (LINE.replace("range(2, 6)", "__import__('os').system('touch hacked')"), "names, numbers and range"),
        (LINE.replace("range(2, 6)", "range(2, 10**9)"), "names, numbers and range"),
        (LINE.replace("range(2, 6)", "range(2, 999999999)"), "different intermediate nodes"),
        (LINE.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', True)", 1), r"pair \[operation, source\]"),
        (
            "Genotype(normal=[('skip_connect', 999999, 0)], normal_concat=[2], reduce=[], reduce_concat=[2])",
            "below 100",
        ),
        ("[" * 50_000, "neither JSON nor a printed line"),
        ("9" * 6_000, "neither JSON nor a printed line"),
        ("x" * 200_000, "200,000 characters"),
        ("[]", r"JSON object \(got list\)"),
    ],
)
def test_what_is_no_genotype_is_one_line_that_names_the_file(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^cell\.txt: .*{message}") as caught:
        parse_genotype(text, "cell.txt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("nodes", "concat", "message"), [
    ([[["nor_conv_3x3", 0]]], [1], r"has 3 nodes and concat \[3\] \(got 1 and \[1\]\)"),
    ([[["nor_conv_3x3", 0]], [], []], [1], r"has 3 nodes and concat \[3\] \(got 3 and \[1\]\)"),
    ([[["sep_conv_3x3", 0]], [], []], [3], "sep_conv_3x3@0 does not fit a cell"),
])  # fmt: skip
def test_what_is_no_cell_of_the_benchmark_is_refused_and_not_taken_for_one(
    nodes: list[Any], concat: list[int], message: str
) -> None:
    tree = {"schema": 1, "skeleton": "nasbench201", "cell": {"nodes": nodes, "concat": concat}}
    with pytest.raises(UserError, match=f"^a.json: .*{message}"):
        parse_genotype(json.dumps(tree), "a.json")


def test_a_skeleton_that_is_no_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"^a.json: skeleton: unknown \['nasbench201'\]"):
        parse_genotype('{"schema": 1, "skeleton": ["nasbench201"]}', "a.json")

"""Command lines that must be refused, and the files that they are given."""

# ruff: noqa: E501 -- a table reads best with a case a row

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nascommon.space.published import PUBLISHED


@dataclass(frozen=True)
class Call:
    """A command line that is refused; ``content`` is what stands in FILE."""

    name: str
    stage: str
    arguments: str
    message: str
    content: bytes | None = None


def genotype(**changes: Any) -> bytes:
    """Our JSON form of DARTS_V2, changed."""
    return json.dumps({**PUBLISHED["DARTS_V2"].to_json(), **changes}).encode()


def normal(**changes: Any) -> bytes:
    """DARTS_V2 with its normal cell changed."""
    cell = PUBLISHED["DARTS_V2"].to_json()["normal"]
    return genotype(normal={**cell, **changes})


def nodes(first: Any) -> bytes:
    """DARTS_V2 with the first node of its normal cell replaced."""
    return normal(nodes=[first, *PUBLISHED["DARTS_V2"].to_json()["normal"]["nodes"][1:]])


ODD = json.dumps({
    "normal": [["skip_connect", 0]] * 3, "normal_concat": [2], "reduce": [["skip_connect", 0]] * 2, "reduce_concat": [2],
}).encode()  # fmt: skip

CELL = b"|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"

CALLS = (
    Call("no such genotype", "inspect", "DARTS_V3", r"DARTS_V3: neither a file nor a published genotype; published are DARTS_V1"),
    Call("genotype is a folder", "inspect", ".", r"^error: \.: .*(folder|directory|not a file)"),
    Call("genotype is no JSON", "inspect", "FILE", r"FILE: normal: must be a list with two", b"Genotype(normal=[('skip_connect', 0)])"),
    Call("genotype is a list", "inspect", "FILE", r"FILE: a genotype is a JSON object \(got list\)", b"[]"),
    Call("wrong schema", "inspect", "FILE", r"FILE: schema: must be 1 \(got 7\)", genotype(schema=7)),
    Call("no schema", "inspect", "FILE", r"FILE: schema: must be 1 \(got None\)", b"{}"),
    Call("cell without nodes", "inspect", "FILE", r"FILE: reduction: must be an object with the lists", genotype(reduction={})),
    Call("unknown operation", "inspect", "FILE", r"FILE: normal: node 2: unknown operation 'conv' \(known: max_pool_3x3", nodes([["conv", 0]])),
    Call("none is no choice", "inspect", "FILE", r"FILE: normal: node 2: unknown operation 'none'", nodes([["none", 0]])),
    Call("later source", "inspect", "FILE", r"FILE: normal: node 2: source must be an earlier state 0\.\.1 \(got 2\)", nodes([["skip_connect", 2]])),
    Call("negative source", "inspect", "FILE", r"FILE: normal: node 2: source .*\(got -1\)", nodes([["skip_connect", -1]])),
    Call("pair of three", "inspect", "FILE", r"FILE: normal: an input is a pair \[operation, source\]", nodes([["skip_connect", 0, 1]])),
    Call("source is a truth", "inspect", "FILE", r"FILE: normal: an input is a pair \[operation, source\]", nodes([["skip_connect", True]])),
    Call("node is a word", "inspect", "FILE", r"FILE: normal: a node is a list .*\(got 'skip_connect'\)", nodes("skip_connect")),
    Call("concat twice", "inspect", "FILE", r"FILE: normal: concat must list different .*\(got \[2, 2\]\)", normal(concat=[2, 2])),
    Call("concat of an input", "inspect", "FILE", r"FILE: normal: concat .*out of \[2, 3, 4, 5\] \(got \[1\]\)", normal(concat=[1])),
    Call("concat empty", "inspect", "FILE", r"FILE: normal: concat", normal(concat=[])),
    Call("concat missing", "inspect", "FILE", r"FILE: normal concat: must be a list", normal(concat=None)),
    Call("dead node used", "inspect", "FILE", r"FILE: normal: node 2 has no input but is one", nodes([])),
    Call("released list of odd length", "inspect", "FILE", r"FILE: normal: must be a list with two \[operation, source\] pairs per node", ODD),
    Call("released form without a cell", "inspect", "FILE", r"FILE: normal: must be a list .*\(got None\)", b'{"reduce": [], "normal_concat": [2]}'),
    Call("one channel", "inspect", "DARTS_V2 --channels 1", r"--channels.*2"),
    Call("no cells", "inspect", "DARTS_V2 --cells 0", r"--cells"),
    Call("cells without end", "inspect", "DARTS_V2 --cells 1000000", r"--cells.*less than or equal to 1000"),
    Call("pictures without end", "inspect", "DARTS_V2 --size 10000000", r"--size.*less than or equal to 4096"),
    Call("unknown stem", "inspect", "DARTS_V2 --stem svhn", r"--stem.*svhn.*cifar.*imagenet"),
    Call("size that does not fit", "inspect", "DARTS_V2 --size 30", r"--size: images of 30 x 30 do not fit the cifar stem"),
    Call("odd channels for imagenet", "inspect", "DARTS_V2 --stem imagenet --channels 47", r"--channels: .*even number \(got 47\)"),
    Call("drawing of another kind", "inspect", "DARTS_V2 --draw cells.pdf", r"--draw: the file must end in \.svg or \.png \(got cells\.pdf\)"),
    Call("depth that the space has not", "inspect", "FILE --cells 20", r"--cells: networks of nasbench201 have a multiple of 3 \(got 20\)", CELL),
    Call("stem that the space has not", "inspect", "FILE --stem imagenet", r"--stem: networks of nasbench201 have the stem cifar", CELL),
    Call("nothing to inspect", "inspect", "", r"(?i)missing argument.*genotype"),
    Call("unknown option", "search", "--paramz other.yaml", r"No such option: --paramz"),
    Call("other params file missing", "prepare", "--params other.yaml", r"other\.yaml: cannot be read"),
    Call("pairs missing", "kendall_tau", "--pairs nowhere.csv", r"nowhere\.csv: cannot be read \(No such file or directory\)"),
    Call("pairs empty", "kendall_tau", "--pairs FILE", r"FILE: empty; two columns of numbers needed", b"\n"),
    Call("pairs of one column", "kendall_tau", "--pairs FILE", r"FILE: exactly two columns of numbers needed, found 1 \(a\)", b"a\n1\n2\n3\n"),
    Call("pairs of three columns", "kendall_tau", "--pairs FILE", r"FILE: exactly two columns .* found 3 \(a, b, c\)", b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n"),
    Call("pairs with a hole", "kendall_tau", "--pairs FILE", r"FILE:3: b: a number is missing \(got ''\)", b"a,b\n1,2\n3,\n5,6\n7,8\n"),
    Call("pairs with NaN", "kendall_tau", "--pairs FILE", r"FILE:3: b: a number is missing \(got 'nan'\)", b"a,b\n1,2\n3,nan\n5,6\n7,8\n"),
    Call("pairs ragged", "kendall_tau", "--pairs FILE", r"FILE:3: 3 columns, but 2 in line 1", b"a,b\n1,2\n3,4,5\n"),
    Call("pairs too few", "kendall_tau", "--pairs FILE", r"3 to \d+ architectures can be ranked, got 2", b"a,b\n1,2\n3,4\n"),
    Call("pairs of bytes", "kendall_tau", "--pairs FILE", r"FILE: not a UTF-8 text file", b"\xff\xfe1"),
    Call("pairs are a folder", "kendall_tau", "--pairs .", r"cannot be read \(Is a directory\)"),
)  # fmt: skip

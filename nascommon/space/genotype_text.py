"""Genotypes as other codes print them: parsed as data, never evaluated.

Known forms, all with the fields ``normal``, ``normal_concat``, ``reduce``, ``reduce_concat``:

- ``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), ...)``, the line that the searches of DARTS
  and its children print, and the same as a dictionary or as JSON: two pairs (operation, source) per node;
- a list per node inside of ``normal``, as in the codes that allow any number of inputs;
- triples (operation, source, weight) of the released GDAS, whose weight is dropped;
- triples (operation, node, source) of the released FairDARTS, where a node may have any number of inputs or none;
- the strings of NAS-Bench-201, ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|``.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from nascommon.settings import UserError
from nascommon.space.genotype import DARTS_INPUTS, Genotype, genotype_from_json
from nascommon.space.nasbench201 import NAME
from nascommon.space.nasbench201_text import from_string, to_string

LONGEST_TEXT = 100_000
"""Characters; a genotype has about a thousand."""
MOST_STATES = 100
"""Bounds ``range`` and node numbers, so that a hostile text cannot ask for more nodes than it spells out."""
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
"""Fields in the order of the released named tuple."""
STRING_START = "|"
"""With which a string of NAS-Bench-201 begins, and no other form, nor a sensible name of a file."""
_START = re.compile(r"\bGenotype\s*\(")


def parse_genotype(text: str, origin: str) -> Genotype:
    """Read a genotype from JSON (ours or released lists, with or without a byte order mark) or from a printed line.

    Around the printed ``Genotype(...)`` there may be anything, such as the date of a log; the text holds exactly one.

    Args:
        text: what a file holds.
        origin: what to call the text in an error, such as the file's name.

    Raises:
        UserError: naming ``origin`` and what is wrong.
    """
    text = text.removeprefix("\ufeff").strip()
    if len(text) > LONGEST_TEXT:
        raise UserError(f"{origin}: {len(text):,} characters are no genotype; keep the one line 'Genotype(...)'")
    try:
        if text.startswith(STRING_START):
            return from_string(text)
        tree = _per_node(_tree(text))
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error
    return _in_its_space(genotype_from_json(tree, origin), origin)


def _in_its_space(genotype: Genotype, origin: str) -> Genotype:
    """Return a genotype; of the skeleton of NAS-Bench-201 it must be one of the cells that were trained."""
    try:
        if genotype.skeleton == NAME:
            to_string(genotype)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error
    return genotype


def _tree(text: str) -> Any:
    """Return plain lists and dictionaries, from JSON or from a Python literal."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _literal(_python(_call(text)))


def _call(text: str) -> str:
    """Cut ``Genotype(...)`` out of the text around it; a text without one is returned as it is."""
    starts = [match.start() for match in _START.finditer(text)]
    if not starts:
        return text
    calls = {_to_closing(text[start:]) for start in starts}
    if len(calls) > 1:
        raise UserError(
            f"holds {len(calls)} different genotypes; keep the one that is meant (a log's last is the result)"
        )
    return calls.pop()


def _to_closing(text: str) -> str:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and depth == 0:
            return text[: position + 1]
    raise UserError("'Genotype(' is never closed; copy the whole line")


def _python(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            "neither JSON nor a printed line 'Genotype(normal=[...], normal_concat=range(2, 6), ...)'"
        ) from error


def _literal(node: ast.expr) -> Any:
    """Turn the literals that a printed genotype consists of into lists, dictionaries, strings and numbers."""
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(first)), ast.Constant(value=int(end))]):
            return list(range(max(first, 0), min(end, MOST_STATES)))
        case ast.Call(func=ast.Name(id="Genotype"), args=args, keywords=words):
            fields = dict(zip(FIELDS, args, strict=False)) | {word.arg: word.value for word in words if word.arg}
            return {name: _literal(value) for name, value in fields.items()}
    raise UserError(f"a genotype has lists, pairs, names, numbers and range(a, b) only (got {ast.unparse(node)[:60]})")


def _per_node(tree: Any) -> Any:
    """Give a released genotype's cells a list of pairs per node; any other tree is returned as it is."""
    if not isinstance(tree, dict) or not {"reduce", "normal_concat"} & set(tree):
        return tree
    return tree | {name: _cell(tree.get(name), tree.get(f"{name}_concat")) for name in ("normal", "reduce")}


def _cell(cell: Any, concat: Any) -> Any:
    if not isinstance(cell, list):
        return cell
    if cell and all(_is_fairdarts(entry) for entry in cell):
        return _by_node(cell, concat)
    return [[_pair(entry) for entry in node] if _is_node(node) else _pair(node) for node in cell]


def _is_node(entry: Any) -> bool:
    return isinstance(entry, list) and all(isinstance(inner, list) for inner in entry)


def _is_fairdarts(entry: Any) -> bool:
    match entry:
        case [str(), int(node), int(source)]:
            return type(node) is type(source) is int
    return False


def _by_node(triples: list[Any], concat: Any) -> list[list[Any]]:
    """Group (operation, node, source) by node; a node that no triple names has no input."""
    states = [node for _, node, _ in triples] + [
        s for s in (concat if isinstance(concat, list) else []) if type(s) is int
    ]
    if not DARTS_INPUTS <= min(states) <= max(states) < MOST_STATES:
        raise UserError(
            f"nodes are numbered from {DARTS_INPUTS} on, below {MOST_STATES} (got {min(states)} to {max(states)})"
        )
    nodes = range(DARTS_INPUTS, max(states) + 1)
    return [[[op, source] for op, node, source in triples if node == state] for state in nodes]


def _pair(entry: Any) -> Any:
    """Drop the weight of a triple (operation, source, weight)."""
    match entry:
        case [operation, source, float()]:
            return [operation, source]
    return entry

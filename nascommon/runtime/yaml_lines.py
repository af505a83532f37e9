"""YAML becomes plain Python, every key knows its line, and a file that is hostile or no YAML is refused at once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nascommon.settings import UserError, cut

Position = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists."""
Lines = dict[Position, int]
SCALARS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": float,
    "null": lambda _text: None,
}
"""Reader of a scalar by YAML tag; any other is text."""
LARGEST = 256 * 1024
"""Bytes; thirty times the longest preset, read in a few seconds."""
DEEPEST = 20
"""Levels; more than any params file has, and few enough to stop at an alias of itself."""
MOST_VALUES = 100_000
"""Values with all aliases written out; no file of ``LARGEST`` bytes has as many without them."""


class _Loader(yaml.SafeLoader):
    """The YAML 1.2 core schema: ``3e-4`` is a number, ``yes`` and ``012`` are what they look like."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 -- PyYAML copies it before the first change
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Build a node, which PyYAML does by recursion, down to a certain depth."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


# YAML 1.1, which PyYAML reads by default, makes 3e-4 a text, yes a truth value and 012 the number ten.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Return the mapping that a file holds, and the line of every key and list entry.

    Raises:
        UserError: the file cannot be read, is too large or is no mapping; a line for each mistake.
    """
    text = _text(path)
    try:
        node = _composed(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"character U+{error.character:04X}"
        raise UserError(f"{path}:{line}: not YAML: holds the control {character}; delete it") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(
            f"{path}:{line}: not YAML: {error.problem}{_hint(text.splitlines()[line - 1 : line])}"
        ) from error
    reader = _Reader()
    tree = reader.to_python(node, ())
    if reader.complaints:
        raise UserError(*(f"{path}:{complaint}" for complaint in reader.complaints))
    if not isinstance(tree, dict):
        raise UserError(f"{path}:1: must hold sections such as 'search:' (got {type(tree).__name__})")
    return tree, reader.lines


@functools.lru_cache(maxsize=64)
def _composed(text: str) -> yaml.Node | None:
    """Return the nodes of a text; nobody changes them, and the same file is read again and again."""
    return yaml.compose(text, Loader=_Loader)


def _hint(lines: list[str]) -> str:
    """Say what may be meant by a value that begins like a block of text, as strings of NAS-Bench-201 do."""
    value = lines[0].partition(": ")[2].strip() if lines else ""
    return f"; a value that begins with | stands in quotes: '{value}'" if value.startswith("|") else ""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)  # never more, whatever was named by mistake, /dev/zero included
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}); copy a file of presets/ there") from error
    if len(content) > LARGEST:
        raise UserError(
            f"{path}: is larger than {LARGEST // 1024} KiB, so it holds no settings; copy a file of presets/"
        )
    return text


@dataclass
class _Reader:
    """Turns nodes into plain Python, noting lines and complaints (``LINE: KEY: what is wrong``) on the way."""

    lines: Lines = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    values: int = 0

    def to_python(self, node: yaml.Node | None, position: Position) -> Any:
        """Return what a node holds; None for what a complaint is about."""
        self.values += 1
        # An alias is expanded at each of its places: nine lines of nine aliases each make 9^9 values.
        match node:
            case _ if self.values > MOST_VALUES:
                if self.values == MOST_VALUES + 1:
                    self.complain(node, position[:1], f"aliases blow it up to more than {MOST_VALUES} values")
                return None
            case yaml.Node() if len(position) > DEEPEST:
                self.complain(node, position[:1], "is nested too deep; an alias contains itself")
                return None
            case yaml.MappingNode():
                return self._mapping(node, position)
            case yaml.SequenceNode():
                for index, item in enumerate(node.value):
                    self.lines[*position, index] = item.start_mark.line + 1
                return [self.to_python(item, (*position, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node, position)
        return None

    def _mapping(self, node: yaml.MappingNode, position: Position) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(key_node, position, "a key must be a word")
                continue
            key = str(key_node.value)
            if key in tree:
                self.complain(key_node, (*position, key), "is given twice")
            self.lines[*position, key] = key_node.start_mark.line + 1
            tree[key] = self.to_python(value_node, (*position, key))
        return tree

    def _scalar(self, node: yaml.ScalarNode, position: Position) -> Any:
        try:
            return SCALARS.get(node.tag.rpartition(":")[2], str)(node.value)
        except ValueError:  # also of an integer of more digits than Python reads
            self.complain(node, position, f"is no number (got {cut(repr(node.value))})")
            return None

    def complain(self, node: yaml.Node | None, position: Position, what: str) -> None:
        """Note what is wrong, and where."""
        line = node.start_mark.line + 1 if node else 1
        self.complaints.append(f"{line}: {key_name(position)}: {what}")


def key_name(position: Position) -> str:
    """Return a position as the user writes it: ``search.cells``."""
    return cut(".".join(map(str, position)), 200)

"""No setting of a method is ignored: another value gives a record that does something else."""

from __future__ import annotations

from functools import reduce
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import pytest

from nascommon.method import REGISTRY
from nascommon.settings import Settings
from nascommon.space.operations import CANDIDATES
from tests.methods.behaviour import alike, record

Path = tuple[str | int, ...]

OTHER: dict[str, Any] = {
    "candidates": CANDIDATES[1:7],
    "cells": 5,
    "keep": 3,
    "survivors": (4, 2),
    "most_skips": 1,
    "clip": 2.5,
    "lr_min": 1e-4,
    "channel_divisor": 2,
    "passes": ("soft", "induced"),
}
"""Another value of lists, of what may be null, and of numbers that not any other may follow.

``other`` finds one for all other numbers; literals, switches and kinds need none."""
BY_PHASE = {"cells": (4, 6, 8), "added_channels": (0, 8, 8), "skip_dropout": (0.1, 0.4, 0.7)}
"""Those of P-DARTS that are lists."""
EDGES = {"relax": {"edges": "softmax"}}
ALONGSIDE: dict[str, dict[str, Any]] = {
    "da2s.dead_node": {"kept_edges": 3},
    "custom.discretize.rank": EDGES,
    "custom.penalty.entropy": EDGES | {"penalty": {"entropy": {}}},
    "custom.penalty.zero_one": {"relax": {"operations": "sigmoid"}},
    "custom.phases": {"phases": ({}, {})},
}
"""Other settings that make a setting, or all below it, matter at all."""


class Leaf(NamedTuple):
    """A single value of a section, and what has to be set before so that it is there."""

    path: Path
    annotation: Any
    before: tuple[tuple[Path, Any], ...] = ()

    def below(self, where: Path, *before: tuple[Path, Any]) -> Leaf:
        """Return the same as seen from a section around it."""
        inside = tuple(((*where, *path), value) for path, value in self.before)
        return Leaf((*where, *self.path), self.annotation, (*before, *inside))


def inner(annotation: Any) -> list[type[Settings]]:
    """Return the sections that a setting may hold, also where it may be null or is one of a list."""
    parts = get_args(annotation) if get_origin(annotation) in (tuple, UnionType, Union) else (annotation,)
    return [part for part in parts if isinstance(part, type) and issubclass(part, Settings)]


def leaves(settings: type[Settings]) -> list[Leaf]:
    """Return every single value of a section, those of the sections inside included, of each of their kinds."""
    found = []
    for name, field in settings.model_fields.items():
        sections = [] if name in OTHER else inner(field.annotation)
        where: Path = (name, 0) if get_origin(field.annotation) is tuple else (name,)
        if len(sections) != 1:
            kinds = tuple(section.model_fields["kind"].default for section in sections)
            found.append(Leaf((name,), Literal[kinds] if kinds else field.annotation))
        for section in sections:
            kind = section.model_fields.get("kind")
            before = [] if kind is None else [(where, {"kind": kind.default})]
            found += [leaf.below(where, *before) for leaf in leaves(section) if leaf.path != ("kind",)]
    return found


def choices(annotation: Any) -> tuple[Any, ...]:
    """Return all values of a literal or a switch; nothing for other settings."""
    return (True, False) if annotation is bool else get_args(annotation) * (get_origin(annotation) is Literal)


def other(method: str, path: Path, value: Any) -> Any:
    """Return another value than the present one."""
    name = str(path[-1])
    if method == "pdarts" and name in BY_PHASE:
        return BY_PHASE[name]
    if name in OTHER:
        return OTHER[name]
    assert type(value) in (int, float), f"methods.{method}: there is no other value of {name}; add one to OTHER"
    return value + 1 if type(value) is int else value / 2 or 0.5


def at(tree: Any, path: Path) -> Any:
    """Return what stands at a path."""
    return reduce(lambda part, key: part[key], path, tree)


def changed(tree: Any, path: Path, value: Any) -> Any:
    """Return the settings with one value set."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        return tuple(changed(part, rest, value) if index == head else part for index, part in enumerate(tree))
    return tree | {head: changed(tree[head], rest, value)}


CASES = {
    ".".join(map(str, (name, *leaf.path, *(f"({set_to['kind']})" for _, set_to in leaf.before)))): (name, leaf)
    for name, entry in sorted(REGISTRY.items())
    for leaf in leaves(entry.settings)
}


@pytest.mark.parametrize("case", CASES)
def test_another_value_of_a_setting_gives_a_method_that_does_something_else(case: str) -> None:
    name, leaf = CASES[case]
    alongside = next((tree for key, tree in ALONGSIDE.items() if f"{case}.".startswith(f"{key}.")), {})
    tree = REGISTRY[name].settings.model_validate(alongside).model_dump()
    for path, value in leaf.before:
        tree = changed(tree, path, value)
    tree = REGISTRY[name].settings.model_validate(tree).model_dump()
    before = record(name, **tree)
    assert alike(before, record(name, **tree))
    tried = choices(leaf.annotation) or (other(name, leaf.path, at(tree, leaf.path)),)
    methods = [before, *(record(name, **changed(tree, leaf.path, value)) for value in tried)]
    same = sum(alike(one, two) for index, one in enumerate(methods) for two in methods[:index])
    assert same == bool(choices(leaf.annotation))  # one of all choices is the default


def test_choices_of_every_kind_are_tried() -> None:
    kinds = {"custom.arch_gradient", "custom.arch_gradient.radius.(unrolled)", "custom.relax.edges.scale.(softmax)"}
    assert kinds | {"darts.arch_gradient", "darts.arch_gradient.radius.(unrolled)"} <= set(CASES)

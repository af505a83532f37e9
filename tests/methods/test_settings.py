"""No setting of a method is ignored: another value gives a record that does something else."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, get_args, get_origin

import pytest

from nascommon.method import REGISTRY
from nascommon.settings import Settings
from nascommon.space.operations import CANDIDATES
from tests.methods.behaviour import alike, record

Path = tuple[str | int, ...]

OTHER: dict[str, Any] = {
    "epochs": 40,
    "warmup": 3,
    "batch_size": 17,
    "samples": 9,
    "finite_difference_radius": 0.5,
    "alpha_scale": 0.5,
    "beta_scale": 0.5,
    "candidates": CANDIDATES[1:7],
    "channel_divisor": 2,
    "cells": 5,
    "added_channels": 8,
    "keep": 3,
    "skip_dropout": 0.3,
    "survivors": (4, 2),
    "most_skips": 1,
    "factor": 7.0,
    "count_weight": 0.9,
    "zero_one": 3.0,
    "zero_one_weight": 3.0,
    "beta_decay": 3.0,
    "threshold": 0.5,
    "decay": 3.0,
    "skip_strength": 0.5,
    "stop_at_skips": 5,
    "first_temperature": 5.0,
    "last_temperature": 1.0,
    "first_radius": 0.5,
    "last_radius": 0.6,
    "lr": 0.5,
    "lr_min": 1e-4,
    "momentum": 0.3,
    "weight_decay": 0.1,
    "clip": 2.5,
    "warmup_epochs": 2,
    "beta1": 0.3,
    "beta2": 0.4,
    "alpha_delay": 1,
}
"""Another value than the default of every method, by the name of the setting; literals and switches need none."""
BY_PHASE = {"cells": (4, 6, 8), "added_channels": (0, 8, 8), "skip_dropout": (0.1, 0.4, 0.7)}
"""Those of P-DARTS that are lists."""
EDGES = {"relax": {"edges": "softmax"}}
ALONGSIDE: dict[str, dict[str, Any]] = {
    "da2s.dead_node": {"kept_edges": 3},
    "custom.beta_scale": EDGES,
    "custom.discretize.rank": EDGES,
    "custom.penalty.entropy": EDGES | {"penalty": {"entropy": {}}},
    "custom.penalty.zero_one": {"relax": {"operations": "sigmoid"}},
    "custom.phases": {"phases": ({}, {})},
}
"""What makes a setting, or all below it, matter at all."""


def inner(annotation: Any) -> type[Settings] | None:
    """Return the section that a setting holds, also where it may be null or is one of a list."""
    parts = get_args(annotation) if get_origin(annotation) in (tuple, UnionType) else (annotation,)
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Settings)), None)


def leaves(settings: type[Settings]) -> list[tuple[Path, Any]]:
    """Return every single value of a section with its annotation, those of the sections inside included."""
    found: list[tuple[Path, Any]] = []
    for name, field in settings.model_fields.items():
        section = inner(field.annotation)
        if section is None:
            found.append(((name,), field))
            continue
        where: Path = (name, 0) if get_origin(field.annotation) is tuple else (name,)
        found += [((*where, *path), leaf) for path, leaf in leaves(section)]
    return found


def choices(field: Any) -> tuple[Any, ...]:
    """Return all values of a literal or a switch; nothing for other settings."""
    return (
        (True, False)
        if field.annotation is bool
        else get_args(field.annotation) * (get_origin(field.annotation) is Literal)
    )


def other(method: str, path: Path) -> Any:
    """Return another value than the default."""
    if path == ("passes",):
        return ("soft", "induced")
    name = str(path[-1])
    assert name in OTHER, f"methods.{method}: there is no other value of {name} to try; add one to OTHER"
    return BY_PHASE[name] if method == "pdarts" and name in BY_PHASE else OTHER[name]


def changed(tree: Any, path: Path, value: Any) -> Any:
    """Return the settings with one value set."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        return tuple(changed(part, rest, value) if index == head else part for index, part in enumerate(tree))
    return tree | {head: changed(tree[head], rest, value)}


CASES = {
    ".".join(map(str, (name, *path))): (name, path, field)
    for name, entry in sorted(REGISTRY.items())
    for path, field in leaves(entry.settings)
}


@pytest.mark.parametrize("case", CASES)
def test_another_value_of_a_setting_gives_a_method_that_does_something_else(case: str) -> None:
    name, path, field = CASES[case]
    alongside = next((tree for key, tree in ALONGSIDE.items() if f"{case}.".startswith(f"{key}.")), {})
    tree = REGISTRY[name].settings.model_validate(alongside).model_dump()
    before = record(name, **tree)
    assert alike(before, record(name, **tree))
    tried = choices(field) or (other(name, path),)
    methods = [before, *(record(name, **changed(tree, path, value)) for value in tried)]
    same = sum(alike(one, two) for index, one in enumerate(methods) for two in methods[:index])
    assert same == bool(choices(field))  # one of all choices is the default

"""Every number of the settings has a limit, so that a slip of a digit is a line and not an endless run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from nascommon.config import Params
from nascommon.settings import UserError


def numbers(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every whole or real number of a JSON schema, with the way to it."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            yield where, schema
        for name, part in schema.items():
            yield from numbers(part, f"{where}.{name}")
    elif isinstance(schema, list):
        for part in schema:
            yield from numbers(part, where)


def test_every_number_has_a_lower_and_an_upper_limit() -> None:
    found = list(numbers(Params.model_json_schema()))
    assert len(found) > 100
    for where, schema in found:
        if "enum" in schema or "const" in schema:
            continue
        assert schema.keys() & {"maximum", "exclusiveMaximum"}, where
        assert schema.keys() & {"minimum", "exclusiveMinimum"}, where


def test_every_default_is_far_from_its_limit() -> None:
    for where, schema in numbers(Params.model_json_schema()):
        if schema.get("maximum", 0) > 1 and isinstance(schema.get("default"), int | float):
            assert schema["default"] <= schema["maximum"] / 8, where


def test_each_mistake_is_one_line_whatever_stands_in_it() -> None:
    error = UserError("a\nb\x1b[31m.png: torn", f"{'x' * 5000}: missing; name another", "\udcff.png: is no UTF-8")
    assert str(error).splitlines() == [
        r"a\nb\x1b[31m.png: torn",
        f"{'x' * 664}...{'x' * 310}: missing; name another",
        r"\udcff.png: is no UTF-8",
    ]


def test_an_error_comes_back_from_another_process_as_it_was() -> None:
    error = UserError("a\nb", *map(str, range(100)))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UserError(str(UserError("a\nb")))) == r"a\nb"


def test_at_most_fifty_mistakes_are_told_and_the_others_counted() -> None:
    assert str(UserError(*map(str, range(60)))).splitlines() == [*map(str, range(50)), "... and 10 more"]
    assert str(UserError(*map(str, range(50)))).splitlines() == [*map(str, range(50))]

"""Every number of the settings has a limit, so that a slip of a digit is a line and not an endless run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nascommon.config import Params


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

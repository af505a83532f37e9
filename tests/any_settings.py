"""Values of any setting, drawn from the schema of all settings that pydantic knows: at the bounds and within them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from nascommon.config import Params
from nascommon.space.operations import OPERATIONS
from nascommon.space.space import SPACES

Schema = dict[str, Any]
Values = st.SearchStrategy[Any]
CLASSES = st.sampled_from([None, ["3", "1"], ["1"], ["2", "2"], []])
TEXTS: dict[str, Values] = {
    "data.classes": CLASSES,
    "transfer.data.classes": CLASSES,
    "search.space": st.sampled_from(sorted(SPACES)),
    "search.candidates": st.none() | st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4),
    "discretize.genotype": st.sampled_from([None, "DARTS_V2", "PDARTS"]),
    "baseline.bank": st.sampled_from([None, "bank.csv"]),
}
"""What is drawn of settings that are words. Others of them name folders and machines, and are left out."""
LEFT_OUT = ("search.method", "device", "executor", "tracking", "launch", "methods")


@cache
def schema() -> Schema:
    """Return the schema of all settings."""
    return Params.model_json_schema()


def resolved(part: Schema) -> Schema:
    """Return the part of the schema that a part may only name."""
    while "$ref" in part:
        part = schema()["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def keys(part: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every dotted key with its schema: sections as a whole, and what is in them."""
    for name, inner in resolved(part).get("properties", {}).items():
        yield f"{prefix}{name}", inner
        yield from keys(inner, f"{prefix}{name}.")


def values(part: Schema) -> Values:
    """Return what draws values that a part of the schema allows; nothing of free text."""
    part = resolved(part)
    if choices := part.get("anyOf") or part.get("oneOf"):
        return st.one_of([values(choice) for choice in choices])
    if "enum" in part or "const" in part:
        return st.sampled_from(part.get("enum") or [part["const"]])
    return KINDS[part["type"]](part)


def _integers(part: Schema) -> Values:
    low, high = part.get("minimum", 0), part.get("exclusiveMaximum", part.get("maximum", 2**31) + 1) - 1
    return st.sampled_from([low, high]) | st.integers(low, min(high, low + 12))


def _floats(part: Schema) -> Values:
    below, above = "exclusiveMinimum" in part, "exclusiveMaximum" in part
    low = float(part["exclusiveMinimum" if below else "minimum"])
    high = float(part["exclusiveMaximum" if above else "maximum"])
    ends = [end for end, shut in ((low, below), (high, above)) if not shut]
    return st.floats(low, high, exclude_min=below, exclude_max=above) | st.sampled_from([*ends, (low + high) / 2])


def _lists(part: Schema) -> Values:
    if "prefixItems" in part:
        return st.tuples(*map(values, part["prefixItems"])).map(list)
    items = values(part["items"])
    return items if items.is_empty else st.lists(items, min_size=part.get("minItems", 0), max_size=4)


def _sections(part: Schema) -> Values:
    """Draw sections in which any key may be left out that has a default; none where one must be given as text."""
    drawn = {name: strategy for name, inner in part["properties"].items() if not (strategy := values(inner)).is_empty}
    if not drawn.keys() >= {*part.get("required", ())}:
        return st.nothing()
    required = {name: drawn.pop(name) for name in part.get("required", ())}
    return st.fixed_dictionaries(required, optional=drawn)


KINDS: dict[str, Callable[[Schema], Values]] = {
    "boolean": lambda _part: st.booleans(), "null": lambda _part: st.none(), "integer": _integers, "number": _floats,
    "array": _lists, "object": _sections, "string": lambda _part: st.nothing(),
}  # fmt: skip


@cache
def changes(method: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return what draws one to three settings of a run of ``method`` by dotted key, each of which may be so alone."""
    pairs = [
        st.tuples(st.just(key), strategy)
        for key, part in keys(schema())
        if not key.startswith(LEFT_OUT) or key.startswith(f"methods.{method}.")
        if not (strategy := TEXTS[key] if key in TEXTS else values(part)).is_empty
    ]
    return st.lists(st.one_of(pairs), min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(dict)

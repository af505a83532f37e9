"""Which settings of a run are not the defaults: the method's, which are its paper's, and this program's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from nascommon.config import Params

SECTIONS = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate", "data")


def differing(params: Params) -> list[dict[str, str]]:
    """Return key, value and default of every setting that differs from its default, the method's first.

    A section that is left out, or of another kind than the default's, is told as a whole.
    """
    name = params.search.method
    sections: dict[str, BaseModel] = {f"methods.{name}": params.method_settings()}
    sections |= {section: getattr(params, section) for section in SECTIONS}
    spaces_own = params.search.model_copy(update={"nodes": None}).chosen_space().cells.main.topology.nodes
    same = {"search.nodes": spaces_own}  # what the default, null, comes to
    return [
        {"key": key, "here": _written(value), "default": _written(default)}
        for prefix, section in sections.items()
        for key, value, default in _compared(section.model_dump(mode="json"), _defaults(section), f"{prefix}.")
        if value not in (default, same.get(key, default))
    ]


def _compared(here: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, value, default); mappings of the same keys are compared key by key."""
    for name, value in here.items():
        default = defaults[name]
        if isinstance(value, dict) and isinstance(default, dict) and value.keys() == default.keys():
            yield from _compared(value, default, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, default


def _defaults(section: BaseModel) -> dict[str, Any]:
    """Return the defaults of a section as plain values; what must be given is a choice, and stands for its own."""
    usual = {
        name: getattr(section, name) if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in type(section).model_fields.items()
    }
    tree: dict[str, Any] = type(section).model_construct(**usual).model_dump(mode="json")
    given = {name: usual[name] for name, field in type(section).model_fields.items() if field.is_required()}
    return tree | {name: _defaults(value) for name, value in given.items() if isinstance(value, BaseModel)}


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

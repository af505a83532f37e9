"""Which settings of a run are not the defaults: the method's, which are its paper's, and this program's."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from nascommon.config import Params
from nascommon.settings import leaves

SECTIONS = ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate", "data")
CHOICES = frozenset({"search.method"})
"""Keys that are a choice and no deviation from anything."""


def differing(params: Params) -> list[dict[str, str]]:
    """Return key, value and default of every setting that differs from its default, the method's first."""
    name = params.search.method
    sections: dict[str, BaseModel] = {f"methods.{name}": params.method_settings()}
    sections |= {section: getattr(params, section) for section in SECTIONS}
    spaces_own = params.search.model_copy(update={"nodes": None}).chosen_space().cells.main.topology.nodes
    same = {"search.nodes": spaces_own}  # what the default, null, comes to
    return [
        {"key": key, "here": _written(value), "default": _written(default)}
        for prefix, section in sections.items()
        for key, value, default in _compared(section, prefix)
        if key not in CHOICES and value not in (default, same.get(key, default))
    ]


def _compared(section: BaseModel, prefix: str) -> list[tuple[str, Any, Any]]:
    """Return (key, value, default) of what has a default."""
    defaults = dict(leaves(_defaults(type(section)), f"{prefix}."))
    return [(key, value, defaults[key]) for key, value in leaves(section.model_dump(mode="json"), f"{prefix}.")
            if key in defaults]  # fmt: skip


def _defaults(section: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of a section as plain values, without those of keys that must be given."""
    given = {
        name: field.get_default(call_default_factory=True)
        for name, field in section.model_fields.items()
        if not field.is_required()
    }
    tree: dict[str, Any] = section.model_construct(**given).model_dump(mode="json", include=set(given))
    return tree


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""A method's record in words, and all methods in one table."""

from __future__ import annotations

import dataclasses
from typing import Any

from tabulate import tabulate

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, Phase, SearchSize

PAPERS = SearchSize(channels=16, cells=8, nodes=4)
"""The size of the papers' searches, for which the table is made."""


def record(method: Method) -> dict[str, str]:
    """Return the method's choices in words: functions by name, settings by value."""
    return {field.name: words(getattr(method, field.name)) for field in dataclasses.fields(method)}


def words(value: Any) -> str:
    """Return one choice in words."""
    if value is None:
        return "none"
    if callable(value):
        return str(value.__name__).replace("_", " ")
    if hasattr(value, "model_dump"):
        return ", ".join(f"{key} {setting}" for key, setting in value.model_dump().items())
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, tuple):
        return "; ".join(phase(part) if isinstance(part, Phase) else str(part) for part in value)
    return str(value)


def phase(part: Phase) -> str:
    """Describe a phase."""
    return ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(part).items() if value is not None)


def method_table() -> str:
    """Return the table of all methods as Markdown, from their records with the papers' values."""
    head = ["method", "mixing weights", "drawn", "penalty", "phases", "channels", "gradient", "passes", "genotype"]
    rows = []
    for name in sorted(REGISTRY):
        entry = REGISTRY[name]
        method = entry.recipe(entry.settings(), PAPERS)
        rows.append([
            f"`{name}`", words(method.relax), words(method.sample), words(method.penalty).replace("no penalty", "none"),
            _phases(method.phases), "all" if method.channel_divisor == 1 else f"1/{method.channel_divisor}",
            words(method.arch_gradient).replace("_", " "), ", then ".join(method.passes), _genotype(method),
        ])  # fmt: skip
    return str(tabulate(rows, head, tablefmt="github", stralign=None, disable_numparse=True))


def _phases(phases: tuple[Phase, ...]) -> str:
    return "; ".join(
        f"{part.epochs} epochs, {part.cells} cells"
        + (f", warm-up {part.warmup}" if part.warmup else "")
        + (f", skip dropout {part.skip_dropout:g}" if part.skip_dropout else "")
        + (f", keeps {part.keep}" if part.keep else "")
        for part in phases
    )


def _genotype(method: Method) -> str:
    if method.samples:
        return "drawn uniformly" if method.samples == 1 else f"best of {method.samples} draws"
    stop = f"; stops: {words(method.stop)}" if method.stop else ""
    return words(method.discretize) + stop

"""A method's record in words, and all methods in one table."""

from __future__ import annotations

import dataclasses
from typing import Any

from tabulate import tabulate

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, Phase, SearchSize
from nascommon.parts.choices import BestOf, Discretized, Drawn, MixedOp
from nascommon.settings import Settings
from nascommon.space.space import SPACES

PAPERS = SearchSize(channels=16, cells=8, space=SPACES["darts"])
"""The size of the papers' searches, for which the table is made."""


def record(method: Method) -> dict[str, str]:
    """Return the method's choices in words: functions by name, settings by value."""
    choices = {field.name: words(getattr(method, field.name)) for field in dataclasses.fields(method)}
    return {**choices, "select": _selection(method), "none": "a candidate, too" if method.none else "no candidate"}


def words(value: Any) -> str:
    """Return one choice in words; those that stand for what it leaves out are left out."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset | tuple):
        return "; ".join(map(words, value) if isinstance(value, tuple) else sorted(value))
    if not isinstance(value, Settings) and not dataclasses.is_dataclass(value):
        return value.__name__.replace("_", " ") if callable(value) else str(value)
    parts = dict(vars(value)) or {"kind": type(value).__name__.lower()}
    kind = parts.pop("kind", "").replace("_", " ")
    told = ", ".join(f"{name} {words(part)}" for name, part in parts.items() if part is not None)
    return f"{kind} ({told})" if kind and told else kind + told


def method_table() -> str:
    """Return the table of all methods as Markdown, from their records with the papers' values."""
    head = ["method", "mixing weights", "drawn", "penalty", "phases", "channels", "gradient", "passes", "genotype"]
    rows = []
    for name in sorted(REGISTRY):
        entry = REGISTRY[name]
        method = entry.recipe(entry.settings(), PAPERS)
        rows.append([
            f"`{name}`", words(method.relax), words(method.sample and method.sample.draw),
            words(method.penalty).replace("no penalty", "none"),
            _phases(method.phases), _channels(method.mixed_op),
            _gradient(method), ", then ".join(choice.kind for choice in method.passes), _genotype(method),
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


def _channels(mixed_op: MixedOp) -> str:
    return "all" if mixed_op.channel_divisor == 1 else f"1/{mixed_op.channel_divisor}"


def _gradient(method: Method) -> str:
    return "none" if method.arch_gradient is None else words(method.arch_gradient.approximation)


def _genotype(method: Method) -> str:
    if not isinstance(method.select, Discretized):
        return _selection(method)
    return words(method.discretize.pick) + (f"; stops: {words(method.stop)}" if method.stop else "")


def _selection(method: Method) -> str:
    match method.select:
        case Drawn():
            return "drawn uniformly"
        case BestOf(count):
            return f"best of {count} draws"
        case Discretized():
            return "the discretized mixing weights"

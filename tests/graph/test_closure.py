"""dvc.yaml names all code that can change a stage's numbers, and none that cannot."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nascommon.config import Params
from nascommon.method import REGISTRY
from nascommon.runtime.graph import dependencies
from nascommon.settings import Settings

ROOT = Path(__file__).parents[2]
STAGES = ("inventory", "prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate")
CHANGES_NO_NUMBER = {
    "nascommon.config": "composes the sections, whose own modules count; what it defines itself must be in the file",
    "nascommon.settings": "types of values, and what may be refused",
    "nascommon.pipeline.recording": "what MLflow is told of a whole pipeline",
    "nascommon.pipeline.run": "around the work of a stage: device, tracking, checkpoints, messages",
    "nascommon.pipeline.closing": "what is printed last",
    "nascommon.pipeline.paths": "names of folders, which dvc.yaml names too",
    "nascommon.pipeline.memory_limit": "whether a stage may start, and how many networks are trained at a time",
    "nascommon.pipeline.estimate": "times steps on this machine, which no second run repeats",
    "nascommon.pipeline.given": "finds the genotype that data/given.json already stands for",
    "nascommon.pipeline.rankable": "whether what follows the search could be done at all",
    "nascommon.pipeline.protocol_evidence": "gathers from files and git what the rules of good practice are judged by",
    "nascommon.cost.footprint": "predicts memory, for the same refusal",
    "nascommon.export": "the trained network as MLflow gets it; nothing of it is measured",
    "nascommon.report.figures": "how pictures of the curves look",
    "nascommon.report.plots": "as above",
    "nascommon.report.sampled": "how figures are put in words",
    "nascommon.runtime.artefacts": "how files are written and checked",
    "nascommon.runtime.atomic": "as above",
    "nascommon.runtime.records": "as above",
    "nascommon.runtime.yaml_lines": "reads params.yaml, whose values DVC watches",
    "nascommon.runtime.checkpoint": "a resumed run equals an unbroken one, as its tests show",
    "nascommon.runtime.launching": "starts what computes",
    "nascommon.runtime.executor": "many trainings at a time equal one after the other, as its tests show",
    "nascommon.runtime.interleaved": "as above",
    "nascommon.pipeline.side_by_side": "as above",
    "nascommon.runtime.steps": "pauses, and computes nothing",
    "nascommon.runtime.divergence": "stops what has no numbers any more",
    "nascommon.runtime.home": "where files lie, whose content counts",
    "nascommon.runtime.hardware": "which device computes",
    "nascommon.runtime.progress": "what is shown meanwhile",
    "stages.cli": "the command line",
}
"""Modules and packages that are imported and yet no dependency, with the reason; nothing is followed through them."""
NOT_USED_THERE = {
    "evaluate": {  # loads networks with the code that trains them
        "nascommon/runtime/dial.py",
        "nascommon/runtime/optimisers.py",
        "nascommon/runtime/ranks.py",
        "nascommon/runtime/replay.py",
        "nascommon/runtime/seeding.py",
    },
    "kendall_tau": {"nascommon/statistics/pairs.py"},  # --pairs only
}
"""Imported, but no number of the stage goes through it."""


@cache
def imports(module: str) -> frozenset[str]:
    """Modules of the project that a module imports when it is loaded, or later."""
    found = set()
    for node in ast.walk(ast.parse(source(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(name for name in found if name.startswith(("nascommon.", "stages.")) and source(name).is_file())


def source(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def exempt(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in CHANGES_NO_NUMBER)


def closure(stage: str) -> set[str]:
    """Return the files that a stage imports, directly or not, but for what changes no number."""
    seen: set[str] = set()
    waiting = {f"stages.{stage}"}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= {name for name in imports(module) if name not in seen and not exempt(name)}
    return {source(module).relative_to(ROOT).as_posix() for module in seen}


def covers(dependency: str, path: str) -> bool:
    return path == dependency or path.startswith(f"{dependency}/")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_can_change_its_numbers(stage: str) -> None:
    code = dependencies(stage, "darts").code
    missing = {path for path in closure(stage) if not any(covers(dependency, path) for dependency in code)}
    assert missing == NOT_USED_THERE.get(stage, set())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_use(stage: str) -> None:
    used = closure(stage) | {home(section) for key in dependencies(stage, "darts").keys for section in sections(key)}
    unused = [dep for dep in dependencies(stage, "darts").code if not any(covers(dep, path) for path in used)]
    assert unused == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("method", sorted(REGISTRY))
def test_a_stage_depends_on_the_defaults_of_the_sections_that_it_reads(stage: str, method: str) -> None:
    """A key that is left out of params.yaml has its value from there, and DVC does not see it."""
    found = dependencies(stage, method)
    homes = {home(section) for key in found.keys for section in sections(key)}
    assert {path for path in homes if not any(covers(dependency, path) for dependency in found.code)} == set()


def test_what_changes_no_number_is_a_reason_for_something() -> None:
    imported = {name for stage in STAGES for path in closure(stage) for name in imports(path[:-3].replace("/", "."))}
    assert {name for name in CHANGES_NO_NUMBER if not any(exempt_by(name, module) for module in imported)} == set()


def exempt_by(name: str, module: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def sections(key: str) -> set[type[Settings]]:
    """Return the classes of settings at a key of params.yaml and below it."""
    annotation: Any = Params
    for part in key.split("."):
        annotation = classes(annotation)[0].model_fields[part].annotation
    found: set[type[Settings]] = set()
    waiting = classes(annotation)
    while waiting:
        section = waiting.pop()
        found.add(section)
        waiting += [one for field in section.model_fields.values() for one in classes(field.annotation)]
    return found


def classes(annotation: Any) -> list[type[Settings]]:
    choices = [annotation, *getattr(annotation, "__args__", ())]
    return [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Settings)]


def home(section: type[Settings]) -> str:
    return source(section.__module__).relative_to(ROOT).as_posix()

"""What a study is of: every method with every seed, and which runs that have finished, or wait, are among these.

A run is known by its settings, code and pictures, never by its name or place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nascommon.config import Params
from nascommon.method import REGISTRY
from nascommon.pipeline import experiments
from nascommon.pipeline.experiments import Task
from nascommon.pipeline.inventory import GIVEN, INVENTORY, given, present
from nascommon.pipeline.run import method_hash, protocol
from nascommon.runtime.artefacts import digest
from nascommon.settings import UserError

ALL: Final = "all"
"""In the place of methods: every one there is."""


@dataclass(frozen=True, order=True)
class Cell:
    """One run of the study."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a study is of.

    Attributes:
        params: settings of all runs but for method and seed.
        cells: every method with every seed.
        pictures: MD5 of what the inventory says of pictures and a given genotype, by file.
    """

    params: Params
    cells: tuple[Cell, ...]
    pictures: Mapping[Path, str]

    @property
    def methods(self) -> dict[str, Params]:
        """Settings with each method selected, by its name, in the order asked for."""
        return {cell.method: settings_of(self.params, cell) for cell in self.cells}

    @property
    def seeds(self) -> list[int]:
        """Seeds that every method runs with, in the order asked for."""
        return list(dict.fromkeys(cell.seed for cell in self.cells))

    @property
    def in_words(self) -> str:
        """What was asked for."""
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        return f"{', '.join(self.methods)} with {seeds}, settings of {self.params.file}"

    @property
    def size(self) -> str:
        """How many runs it is of."""
        return f"{len(self.cells)} run{'s' * (len(self.cells) > 1)}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        methods, seeds, space = len(self.methods), len(self.seeds), self.params.search.space
        where = self.params.data.source + ("" if space == "darts" else f", space {space}")
        return f"Study of {methods} method{'s' * (methods > 1)} with {seeds} seed{'s' * (seeds > 1)} on {where}"

    @property
    def key(self) -> str:
        """Hash of the settings, which seeds that are added do not change."""
        return digest(protocol(self.params))

    def cell_of(self, rev: str) -> Cell | None:
        """Return the run that a commit of DVC's is of; None where it is none of these settings and this code."""
        settings = experiments.settings_at(rev)
        if settings is None or not experiments.code_is_that_of(rev) or protocol(settings) != protocol(self.params):
            return None
        cell = Cell(settings.search.method, settings.seed)
        if cell not in self.cells or method_hash(settings) != method_hash(settings_of(self.params, cell)):
            return None
        return cell

    def done(self) -> dict[Cell, str]:
        """Return the commits of the runs that have finished with these pictures, the newest of each."""
        found: dict[Cell, str] = {}
        for rev in experiments.finished():
            cell = self.cell_of(rev)
            same = all(experiments.recorded(rev, file) == md5 for file, md5 in self.pictures.items())
            if cell is not None and same:
                found.setdefault(cell, rev)
        return found

    def tasks(self) -> dict[Task, Cell]:
        """Return the tasks of DVC's queue that are runs of this study."""
        return {task: cell for task in experiments.tasks() if (cell := self.cell_of(task.rev)) is not None}


def plan_of(params: Params, methods: Sequence[str], seeds: Sequence[int]) -> Plan:
    """Check every run before any is queued.

    Raises:
        UserError: a method is unknown, a seed is none, the settings of a method do not fit, or git lacks code.
    """
    methods = sorted(REGISTRY) if list(methods) == [ALL] else methods
    if unknown := sorted(set(methods) - REGISTRY.keys()):
        raise UserError(f"--methods: unknown: {', '.join(unknown)}; known are {', '.join(sorted(REGISTRY))}, or {ALL}")
    cells = tuple(dict.fromkeys(Cell(method, seed) for method in methods for seed in seeds))
    if not cells:
        raise UserError("--methods and --seeds: at least one of each is needed")
    for cell in cells:
        settings_of(params, cell)
    if untracked := experiments.untracked_code():
        raise UserError(f"{', '.join(untracked[:3])}: not in git, so that queued runs lack it; `git add` it")
    seen = {INVENTORY: present(params.file), GIVEN: given(params.file)}
    return Plan(params, cells, {file: hashlib.md5(text.encode()).hexdigest() for file, text in seen.items()})  # noqa: S324


def settings_of(params: Params, cell: Cell) -> Params:
    """Return the settings of a run."""
    return params.changed({"search.method": cell.method, "seed": cell.seed})

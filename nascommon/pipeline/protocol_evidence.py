"""What is known of a run and of those beside it, by files: params.yaml, dvc.lock, results, and the tracking store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nascommon.config import Params
from nascommon.pipeline.paths import EVALUATE, KENDALL, METRICS, RETRAIN, ROOT, SEARCH
from nascommon.pipeline.run import method_hash, protocol
from nascommon.runtime.graph import CODE, code_version, dependencies, stages_of
from nascommon.runtime.reading import value_at
from nascommon.runtime.revision import revision
from nascommon.runtime.yaml_lines import read_yaml
from nascommon.settings import UserError
from nascommon.tracking.across import FinishedRun
from nascommon.tracking.tracker import finished_runs
from nascommon.training.artefact import DESCRIPTION

LOCK, GRAPH = Path("dvc.lock"), CODE / "dvc.yaml"
CODE_FILES = (":(top)nascommon", ":(top)stages", ":(top)dvc.yaml")
"""What a commit must hold for a result to be made again; settings are in dvc.lock."""
BIRTHS = {"search": SEARCH / "search.json", "retrain": RETRAIN / DESCRIPTION, "kendall_tau": KENDALL / "ranking.json"}
OF_ITS_METHOD = ("search", "kendall_tau")
"""Stages that run anew for every method and seed; a retraining of a given genotype serves several methods."""
UNJUDGED = ("inventory", "evaluate")
"""Stages that dvc.lock need not have: the first always runs, the last is the one that judges."""


@dataclass(frozen=True)
class Evidence:
    """Facts that rules are judged by.

    Attributes:
        params: settings, as they are now.
        given: params.yaml as it is written.
        lock: entries of dvc.lock by stage; empty where there is none.
        results: of ``evaluate``; None where there are none of these settings.
        births: provenance of what these stages left, unless it is of another method or seed.
        code: version of the code that is here, by stage.
        commit: of the checkout, shortened; empty outside of git.
        dirty: whether code is there that the commit does not hold.
        runs: finished ``evaluate`` of this tracking store, of all settings.
        figures: metrics by stage; none of a stage that another method or seed ran.
        strangers: method and seed of the results that are there, where they are not these.
    """

    params: Params
    given: Mapping[str, Any]
    lock: Mapping[str, Any]
    results: Mapping[str, Any] | None
    births: Mapping[str, Mapping[str, Any]]
    code: Mapping[str, str]
    commit: str
    dirty: bool
    runs: Sequence[FinishedRun]
    figures: Mapping[str, Mapping[str, Any]]
    strangers: str = ""

    @cached_property
    def alike(self) -> list[FinishedRun]:
        """Tracked runs whose settings differ from these in nothing but method and seed."""
        mine = protocol(self.params)
        return [run for run in self.runs if run.protocol == mine]

    @property
    def seeds(self) -> list[int]:
        """Seeds that the method ran with under these settings, in this run and in those that are tracked."""
        settings = method_hash(self.params)
        own = set() if self.results is None else {self.params.seed}
        return sorted(own | {run.seed for run in self.tried if run.settings == settings})

    @property
    def tried(self) -> list[FinishedRun]:
        """Tracked runs of the method, whatever its own settings."""
        return [run for run in self.alike if run.method == self.params.search.method]

    @property
    def variants(self) -> set[str]:
        """Hashes of the method's own settings, in this run and in those that are tracked."""
        own = set() if self.results is None else {method_hash(self.params)}
        return own | {run.settings for run in self.tried}

    @property
    def whose_runs(self) -> str:
        """Where runs were looked for."""
        count = len(self.runs)
        return f"{count} tracked run{'s' * (count != 1)}" if count else "this run alone"

    @property
    def no_results(self) -> str:
        """Why there are no results."""
        if self.strangers:
            return f"there are no results yet of {self.params.search.method}, seed {self.params.seed}: {self.strangers}"
        return "there are no results yet"

    @property
    def truth(self) -> Mapping[str, Any] | None:
        """What a table knows of the found architecture."""
        truth = None if self.results is None else self.results["truth"]
        return None if truth is None or "unknown" in truth else truth

    @cached_property
    def stages(self) -> frozenset[str]:
        """Stages that dvc.lock must have."""
        return frozenset(stages_of(GRAPH.read_text(encoding="utf-8"))) - frozenset(UNJUDGED)

    @cached_property
    def locked(self) -> dict[str, dict[str, Any]]:
        """Settings of every stage in dvc.lock, by dotted key."""
        return {stage: value_at(entry, ("params", "params.yaml")) or {} for stage, entry in self.lock.items()}

    def changed(self, stage: str) -> list[str]:
        """Return the keys whose values in dvc.lock are not those of params.yaml."""
        keys = dependencies(stage, self.params.search.method).keys
        locked = self.locked.get(stage, {})
        return [key for key in keys if key not in locked or locked[key] != value_at(self.given, tuple(key.split(".")))]

    def measured(self, stage: str, name: str) -> float | None:
        """Return a figure of a stage; None where it is not there."""
        value = self.figures.get(stage, {}).get(name)
        return None if value is None else float(value)


def evidence_of(params: Params, results: Mapping[str, Any] | None = None, runs: Sequence[FinishedRun] = ()) -> Evidence:
    """Gather what the folder of params.yaml holds.

    Args:
        params: settings, as they are now.
        results: of ``evaluate``; read from its file where they are not given.
        runs: tracked runs. A report, which must not change with what else has run, is judged by none.
    """
    results = _read(EVALUATE / "results.json") if results is None else results
    here = revision(ROOT, CODE_FILES)
    method = params.search.method
    births = {stage: birth for stage, file in BIRTHS.items() if (birth := _birth(_read(file)))}
    others = {stage for stage in OF_ITS_METHOD if stage in births and not _is_of(params, births[stage])}
    ours = results is not None and _is_of(params, _birth(results))
    return Evidence(
        params=params,
        given=_yaml(params.file),
        lock=value_at(_yaml(LOCK), ("stages",)) or {},
        results=results if ours else None,
        births={stage: birth for stage, birth in births.items() if stage not in others},
        code={stage: code_version(stage, method) for stage in ("search", "retrain")},
        commit=here.commit[:8],
        dirty=here.dirty,
        runs=runs,
        figures={stage: _read(METRICS / f"{stage}.json") or {} for stage in OF_ITS_METHOD if stage not in others},
        strangers="" if ours or results is None else _whose(results),
    )


def tracked_evidence(params: Params) -> Evidence:
    """Gather what the folder of params.yaml and the tracking store hold."""
    return evidence_of(params, runs=finished_runs(params.tracking, ROOT, "evaluate"))


def _birth(tree: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the birth certificate in a file, which stands there by itself or among its other keys."""
    birth: Mapping[str, Any] = (tree or {}).get("provenance", tree or {})
    return birth


def _is_of(params: Params, birth: Mapping[str, Any]) -> bool:
    return (birth.get("method"), birth.get("seed")) == (params.search.method, params.seed)


def _whose(results: Mapping[str, Any]) -> str:
    birth = _birth(results)
    return f"{EVALUATE} has those of {birth.get('method')}, seed {birth.get('seed')}"


def _yaml(file: Path) -> dict[str, Any]:
    try:
        return read_yaml(file)[0]
    except UserError:
        return {}


def _read(file: Path) -> dict[str, Any] | None:
    try:
        tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree

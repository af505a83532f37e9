"""Of what a stage's files were made (settings, code, inputs), as noted beside its seconds, and whether that is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nascommon.config import Params
from nascommon.pipeline.paths import ROOT, TIMES
from nascommon.runtime.artefacts import read_json
from nascommon.runtime.graph import code_version, dependencies, input_digests, maker
from nascommon.runtime.reading import value_at
from nascommon.settings import leaves

METHOD = "search.method"


@dataclass(frozen=True)
class Change:
    """What is other now than when the results in data/evaluate were made.

    Attributes:
        noted: whether their stage noted of what they were made; else nothing of this is known.
        settings: dotted keys of params.yaml.
        code: stages whose code is other.
        renewed: stages whose files are other.
    """

    noted: bool = True
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything is other, or may be."""
        return self != UNCHANGED


UNCHANGED = Change()


def birth(stage: str, params: Params) -> dict[str, Any]:
    """Return what decides a stage's figures by dvc.yaml: settings by dotted key, hash of the code, hashes of inputs."""
    method = params.search.method
    return {
        "settings": settings_of(stage, params),
        "code": code_version(stage, method),
        "inputs": input_digests(stage, method, ROOT),
    }


def settings_of(stage: str, params: Params) -> dict[str, Any]:
    """Return the settings that a stage depends on, by dotted key, with all defaults."""
    tree = params.model_dump(mode="json")
    keys = dependencies(stage, params.search.method).keys
    return dict(leaves({key: value_at(tree, tuple(key.split("."))) for key in keys}))


def change(params: Params, stages: Iterable[str]) -> Change:
    """Return what is other now than when ``evaluate``, which depends on every setting, made its results.

    Args:
        params: settings, as they are now.
        stages: whose code counts.
    """
    born = noted("evaluate")
    if "settings" not in born:
        return Change(noted=False)
    settings = _differing(born["settings"], settings_of("evaluate", params))
    code = () if METHOD in settings else tuple(stage for stage in stages if _other_code(stage, params))
    inputs = _differing(born["inputs"], input_digests("evaluate", params.search.method, ROOT))
    return Change(True, settings, code, tuple(dict.fromkeys(map(maker, inputs))))


def is_of(stage: str, params: Params) -> bool:
    """Return whether a stage noted that what it left is of these settings."""
    then = noted(stage).get("settings")
    return then is not None and not _differing(then, settings_of(stage, params))


def noted(stage: str) -> dict[str, Any]:
    """Return what a stage noted of its run; {} where it left nothing."""
    file = TIMES / f"{stage}.json"
    found: dict[str, Any] = read_json(file) if file.exists() else {}
    return found


def _other_code(stage: str, params: Params) -> bool:
    return noted(stage).get("code") not in (None, code_version(stage, params.search.method))


def _differing(then: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys whose values differ; of another method its name alone, since all its settings have others."""
    found = [key for key in {**now, **then} if then.get(key) != now.get(key)]
    return tuple(key for key in found if METHOD not in found or not key.startswith("methods."))

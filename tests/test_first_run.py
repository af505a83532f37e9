"""README shows the first run as it came out, and not of a preset that has changed since."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nascommon.runtime.artefacts import read_json

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "results" / "first-run"


@pytest.fixture(scope="module")
def renew() -> ModuleType:
    spec = importlib.util.spec_from_file_location("renew", FOLDER / "renew.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def known(renew: Any) -> dict[str, Any]:
    return dict(read_json(renew.FIGURES))


def test_readme_says_what_came_out(renew: Any, known: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert renew.block(known) in readme
    assert renew.with_block(readme, known) == readme
    stale = {**known, "rows": {**known["rows"], "accuracy": "99.99 %"}}
    assert renew.with_block(readme, stale) != readme


def test_the_figures_are_of_the_default_preset_as_it_is(renew: Any, known: dict[str, Any], tmp_path: Path) -> None:
    renewed = "the default preset has changed: make run, then python results/first-run/renew.py"
    assert renew.settings(ROOT / "params.yaml") == known["settings"], renewed
    changed = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    changed.write_text(text.replace("seed: 0", "seed: 1", 1), encoding="utf-8")
    assert renew.settings(changed) != known["settings"]


def test_the_report_beside_it_says_the_same(renew: Any, known: dict[str, Any]) -> None:
    page = renew.REPORT.read_text(encoding="utf-8")
    assert known["title"] in page
    assert known["rows"]["accuracy"].partition(" (")[0] in page
    assert len(page) < 3_000_000

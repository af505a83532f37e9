"""DVC learns from the inventory that a bank has grown, and check says what that reruns."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from nascommon.pipeline import check
from nascommon.pipeline.inventory import BANK, banked, write_inventory
from tests.stages.project import new_project


def test_a_bank_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project(tmp_path / "project")
    params = project.change(baseline__bank="own.csv").params
    monkeypatch.setattr("nascommon.pipeline.check.shutil.which", lambda _name: "dvc")
    monkeypatch.setattr(
        "nascommon.pipeline.check.subprocess.run", lambda *_, **__: SimpleNamespace(returncode=0, stdout="{}")
    )
    with contextlib.chdir(project.folder):
        write_inventory(Path("params.yaml"))
        assert json.loads(BANK.read_text(encoding="utf-8")) == {"baseline.bank": None}
        assert check.what_reruns(Path("params.yaml"), {}) == "nothing: all stages are up to date"
        Path("own.csv").write_text("a row\n", encoding="utf-8")
        first = banked(params)
        assert "kendall_tau and evaluate (the bank has changed)" in check.what_reruns(Path("params.yaml"), {})
        write_inventory(Path("params.yaml"))
        assert BANK.read_text(encoding="utf-8") == first
        Path("own.csv").write_text("a row\nanother\n", encoding="utf-8")
        assert banked(params) != first

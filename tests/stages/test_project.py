"""A process that a test starts finds the modules that its caller finds, those of this checkout first."""

from __future__ import annotations

import os

import pytest

from tests.stages import project
from tests.stages.project import ROOT, Project


def test_a_process_of_its_own_finds_what_its_caller_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "MODULES", ["/dependencies", "/more"])
    assert Project.environment(ROOT)["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/dependencies", "/more"]
    assert Project.environment(A="b") == {**Project.environment(), "A": "b"}

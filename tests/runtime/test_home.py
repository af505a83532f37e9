"""A copy of the project that DVC runs an experiment in has its home in the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.runtime.home import COPIES, at_home, home


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path.resolve()


def go(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)


@pytest.mark.parametrize("copy", ["tmpab12", "standalone/tmpab12"])
def test_a_queued_copy_is_at_home_in_the_project(copy: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(project / COPIES / copy, monkeypatch)
    assert home() == project
    assert at_home("pictures") == project / "pictures"
    assert at_home("/else/where") == Path("/else/where")
    assert at_home("~/mine") == Path.home() / "mine"


def test_everywhere_else_home_is_the_working_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(project, monkeypatch)
    assert home() == Path()
    assert at_home("pictures") == Path("pictures")
    go(project.with_name("other") / COPIES / "tmpab12", monkeypatch)
    assert home() == Path()
    monkeypatch.delenv("DVC_ROOT")
    assert home() == Path()

"""A copy of the project that DVC runs an experiment in has its home in the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.runtime.home import COPIES, at_home, home


def go(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)


@pytest.mark.parametrize("copy", ["tmpab12", "standalone/tmpab12", "study-darts-0"])
@pytest.mark.parametrize("named", ["project", "copy", "nothing"])
def test_a_copy_is_at_home_in_the_project(
    copy: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path.resolve()
    place = project / COPIES / copy
    monkeypatch.delenv("DVC_ROOT", raising=False)
    if named != "nothing":  # DVC itself names the copy, where it runs an experiment in a copy that it did not make
        monkeypatch.setenv("DVC_ROOT", str(project if named == "project" else place))
    go(place, monkeypatch)
    assert home() == project
    assert at_home("pictures") == project / "pictures"
    assert at_home("/else/where") == Path("/else/where")
    assert at_home("~/mine") == Path.home() / "mine"


def test_everywhere_else_home_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for place in (tmp_path, tmp_path / "stages"):
        go(place, monkeypatch)
        assert home() == Path()
        assert at_home("pictures") == Path("pictures")

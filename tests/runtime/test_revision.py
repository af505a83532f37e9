"""A commit is named, dirty where code or settings differ from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nascommon.runtime.revision import revision


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag is not a hash")
    return tmp_path


def test_a_clean_checkout_is_named_by_its_commit(repository: Path) -> None:
    (repository / "untracked.txt").write_text("a")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    assert str(revision(repository)) == head.stdout[:8]


def test_a_changed_checkout_is_called_dirty(repository: Path) -> None:
    clean = str(revision(repository))
    (repository / "a.py").write_text("2\n")
    assert str(revision(repository)) == f"{clean}-dirty"


def test_what_a_pipeline_writes_makes_nothing_dirty_but_new_code_and_settings_do(repository: Path) -> None:
    clean = str(revision(repository))
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    git(repository, "add", "dvc.lock")
    git(repository, "commit", "-m", "second")
    clean = str(revision(repository))
    (repository / "dvc.lock").write_text("schema: '3.0'\n")
    (repository / "metrics.json").write_text("{}\n")
    assert str(revision(repository)) == clean
    (repository / "params.yaml").write_text("seed: 1\n")
    assert str(revision(repository)) == f"{clean}-dirty"


def test_a_checkout_is_as_dirty_seen_from_a_folder_in_it(repository: Path) -> None:
    clean, below = str(revision(repository)), repository / "benchmarks"
    below.mkdir()
    (repository / "a.py").write_text("2\n")
    assert str(revision(below)) == f"{clean}-dirty"


def test_outside_of_git_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert str(revision(tmp_path)) == "unknown"


def test_without_git_or_the_folder_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(revision(tmp_path / "missing")) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(revision(tmp_path)) == "unknown"


def test_a_git_that_hangs_does_not_hold_up_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*words: object, timeout: float, **options: object) -> None:
        raise subprocess.TimeoutExpired("git", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert str(revision(tmp_path)) == "unknown"

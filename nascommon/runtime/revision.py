"""Which code ran: the commit of the checkout, and the content of the files that a stage's numbers come from."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

import nascommon

SOURCES = (":(top)*.py", ":(top)*.yaml", ":(top)*.toml")
"""What makes a checkout dirty, wherever in it: code and settings. dvc.lock and metrics change while a pipeline runs."""
CODE = Path(nascommon.__file__).parents[1]
"""The folder that holds the packages and, in a checkout, dvc.yaml."""
PACKAGES = ("nascommon", "stages")


@dataclass(frozen=True)
class Revision:
    """The commit of a checkout.

    Attributes:
        commit: its full hash; empty outside of git.
        dirty: whether code or settings are there that the commit does not hold.
    """

    commit: str
    dirty: bool

    def __str__(self) -> str:
        return f"{self.commit[:8]}{'-dirty' * self.dirty}" if self.commit else "unknown"


def revision(folder: Path) -> Revision:
    """Return the commit of the checkout that holds ``folder``."""
    commit = _git(folder, "rev-parse", "HEAD")
    return Revision(commit, bool(commit and _git(folder, "status", "--porcelain", "--", *SOURCES)))


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@functools.cache
def code_version(stage: str, method: str, root: Path = CODE) -> str:
    """Return a hash of the code that a stage's numbers come from: its dependencies in dvc.yaml.

    Args:
        stage: a stage of dvc.yaml.
        method: the selected search method; the others do not count.
        root: the folder that holds the code; without a dvc.yaml there, all code counts.
    """
    content = hashlib.sha256()
    for file in sorted(_code_files(root, stage, method)):
        content.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return content.hexdigest()[:16]


def _code_files(root: Path, stage: str, method: str) -> Iterator[Path]:
    graph = root / "dvc.yaml"
    paths = list(PACKAGES)
    if graph.is_file():
        deps = yaml.safe_load(graph.read_text(encoding="utf-8"))["stages"][stage]["deps"]
        paths = [dep.replace("${search.method}", method) for dep in deps if dep.startswith(PACKAGES)]
    for path in paths:
        found = root / path
        yield from found.rglob("*.py") if found.is_dir() else (found,)

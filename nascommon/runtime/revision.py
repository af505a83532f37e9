"""The commit of the checkout that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = (":(top)*.py", ":(top)*.yaml", ":(top)*.toml")
"""Files whose changes make a checkout dirty: code and settings. dvc.lock and metrics change while a pipeline runs."""


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


def revision(folder: Path, sources: Sequence[str] = SOURCES) -> Revision:
    """Return the commit of the checkout that holds ``folder``, dirty where ``sources`` (patterns of git) differ."""
    commit = _git(folder, "rev-parse", "HEAD")
    return Revision(commit, bool(commit and _git(folder, "status", "--porcelain", "--", *sources)))


def _git(folder: Path, *words: str) -> str:
    try:
        # The answer is a label and no reason to fail: without git, or where it takes too long, it is "unknown".
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

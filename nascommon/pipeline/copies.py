"""A run of a study in a copy of the project, as DVC's queue makes one, wherever somebody does the piece of work.

Checkpoints, DVC's cache and the finished experiment are in the project itself: a run whose worker was lost finds there
the stages that it had finished and the epochs of the one that it was at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from nascommon.pipeline.experiments import EXPERIMENT, dvc, git, words_of
from nascommon.runtime.executor import Piece, Processes, Tell
from nascommon.runtime.home import COPIES

ONE_PIECE = ("++executor=processes", "++jobs=1")
"""A run has the CPUs of one piece of work, so its own pieces are done one after the other, and within it."""


def run_in_copy(project: Path, rev: str, cell: tuple[str, int], tell: Tell) -> str:
    """Run the pipeline on settings and code of a commit; return its last words if it failed.

    Args:
        project: the folder, at whose HEAD the experiment is listed.
        rev: the commit.
        cell: method and seed in place of those of the commit.
        tell: unused.
    """
    # In a process whose children end with it: those of a lost worker would go on, at the same checkpoints.
    (words,) = Processes(1).run([Piece("run", _run, (project, rev, cell))])
    return words


def _run(project: Path, rev: str, cell: tuple[str, int], _tell: Tell) -> str:
    method, seed = cell
    copy = project / COPIES / f"study-{method}-{seed}"
    shutil.rmtree(copy, ignore_errors=True)  # of a worker that was lost
    try:
        _make(project, copy, rev)
        name = f"{method}-{seed}-{uuid4().hex[:6]}"
        changes = (f"search.method={method}", f"seed={seed}", *ONE_PIECE)
        words = ["dvc", "exp", "run", "--name", name, *(word for change in changes for word in ("-S", change))]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            words, cwd=copy, env={**os.environ, "PATH": path}, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            return words_of(done.stdout)
        _bring_home(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return ""


def _make(project: Path, copy: Path, rev: str) -> None:
    """Make a copy that shares the objects of git and the cache of DVC, with the files of a commit."""
    cache = dvc("cache", "dir").strip()
    git("clone", "--quiet", "--shared", "--no-checkout", str(project), str(copy))
    git("-C", str(copy), "checkout", "--quiet", "--detach", git("rev-parse", "HEAD").strip())
    git("-C", str(copy), "read-tree", "-u", "--reset", rev)
    for key in ("user.name", "user.email"):
        if said := re.search(rf"^{key}=(.*)$", git("config", "--list"), re.MULTILINE):
            git("-C", str(copy), "config", key, said[1])
    dvc("--cd", str(copy), "config", "--local", "cache.dir", str(project / cache))


def _bring_home(copy: Path) -> None:
    """Give the project the experiment that the copy has finished."""
    refs = git("-C", str(copy), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    for ref in (line.split()[1] for line in refs if EXPERIMENT.match(line)):
        git("-C", str(copy), "push", "--quiet", "origin", f"{ref}:{ref}")

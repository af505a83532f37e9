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
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from nascommon.pipeline.experiments import EXPERIMENT, dvc, git, mostly_cached, stages_in, words_of
from nascommon.runtime.executor import Piece, Processes, Tell
from nascommon.runtime.home import COPIES

ONE_PIECE = ("++executor=processes", "++jobs=1")
"""A run has the CPUs of one piece of work, so its own pieces are done one after the other, and within it."""


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes:
        words: its last ones if it failed, else none.
        cached: whether most of its stages came from DVC's cache.
    """

    words: str = ""
    cached: bool = False


def run_in_copy(project: Path, rev: str, cell: tuple[str, int], tell: Tell) -> Ended:
    """Run the pipeline on settings and code of a commit.

    Args:
        project: the folder, at whose HEAD the experiment is listed.
        rev: the commit.
        cell: method and seed in place of those of the commit.
        tell: unused.
    """
    # In a process whose children end with it: those of a lost worker would go on, at the same checkpoints.
    (ended,) = Processes(1).run([Piece("run", _run, (project, rev, cell))])
    return ended


def _run(project: Path, rev: str, cell: tuple[str, int], _tell: Tell) -> Ended:
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
            return Ended(words_of(done.stdout))
        _bring_home(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return Ended(cached=mostly_cached(stages_in(done.stdout, run_alone=True)))


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

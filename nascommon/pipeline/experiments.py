"""DVC's experiments and its queue, as the study uses them: what has finished, what waits, and adding a grid."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from nascommon.config import Params, load_params
from nascommon.pipeline.paths import EVALUATE, ROOT
from nascommon.runtime.artefacts import read_json, write_bytes
from nascommon.runtime.home import COPIES
from nascommon.settings import UserError, one_line

State = Literal["Queued", "Running", "Success", "Failed"]
CODE: Final = ("nascommon", "stages", "dvc.yaml")
STAGES: Final = 9
"""Stages of dvc.yaml, each of which a run begins or skips."""
PARAMS: Final = Path("params.yaml")
ASIDE: Final = Path(".checkpoints/params.yaml")
"""The user's params.yaml while that of a preset is in its place."""
EXPERIMENT: Final = re.compile(r"^(\w+) refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/")
_TASK: Final = re.compile(r"^(?P<rev>[0-9a-f]{7,40})\s.*\s(?P<state>Queued|Running|Success|Failed)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """An entry of DVC's queue."""

    rev: str
    """Commit that holds its settings."""
    state: State


def tasks() -> list[Task]:
    """Return what DVC has in its queue, done or not."""
    listed = _TASK.finditer(dvc("queue", "status"))
    return [Task(found["rev"], found["state"]) for found in listed]  # type: ignore[arg-type]


def worker_lives() -> bool:
    """Return whether a worker of this project's queue is there.

    Looked for among the processes: DVC asks its workers over the queue, and one that is slow to answer seems dead.
    """
    here = ROOT.resolve()
    return any(
        "queue-worker" in (process.info["cmdline"] or []) and Path(process.info["cwd"] or "/").is_relative_to(here)
        for process in psutil.process_iter(["cmdline", "cwd"])
    )


def finished() -> list[str]:
    """Return the commits of all experiments that have ended well, the newest first."""
    listed = git("for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)", "refs/exps")
    return [found[1] for line in listed.splitlines() if (found := EXPERIMENT.match(line))]


def add_grid(methods: Sequence[str], seeds: Sequence[int]) -> None:
    """Queue every method with every seed, on params.yaml as it is."""
    methods_of, seeds_of = ",".join(methods), ",".join(map(str, seeds))
    dvc("exp", "run", "--queue", "-S", f"search.method={methods_of}", "-S", f"seed={seeds_of}")


def start_worker() -> None:
    """Let DVC work the queue off in a process of its own, a task at a time: runs of one seed share stages.

    It outlives this process and must not hold its output open, nor hear the Ctrl-C of its terminal.

    Raises:
        UserError: DVC refuses.
    """
    null = subprocess.DEVNULL
    words = ("dvc", "queue", "start", "--jobs", "1")
    done = subprocess.run(words, cwd=ROOT, check=False, stdin=null, stdout=null, stderr=null, start_new_session=True)
    if done.returncode:
        raise UserError(f"`{' '.join(words)}` failed with status {done.returncode}; run it to see why")


def drop(over: Sequence[Task]) -> None:
    """Remove tasks that have failed, or whose worker has died: to DVC these run for ever."""
    dead = [task.rev for task in over if task.state == "Running"]
    if dead:
        dvc("queue", "kill", *dead)
        for copy in abandoned():  # what the dead have left; checkpoints are not in it
            shutil.rmtree(copy, ignore_errors=True)
    dvc("queue", "remove", *(task.rev for task in over))


def abandoned() -> list[Path]:
    """Return DVC's copies of the project in which nobody works: another experiment may run beside the queue."""
    places = [Path(process.info["cwd"] or "/") for process in psutil.process_iter(["cwd"])]
    copies = [copy.resolve() for copy in COPIES.glob("tmp*")]
    return [copy for copy in copies if not any(place.is_relative_to(copy) for place in places)]


def last_words(rev: str) -> str:
    """Return what a task said at its end, on a line."""
    try:
        return words_of(dvc("queue", "logs", rev))
    except UserError:
        return words_of("")


def words_of(log: str) -> str:
    """Return what is most telling of what a run has printed, on a line."""
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return one_line((errors or lines or ["it left no words"])[0].strip())


def stages_of(rev: str, *, run_alone: bool = False) -> list[str]:
    """Return the stages that a task has begun, in order; if asked so, without those that came from DVC's cache."""
    try:
        return stages_in(dvc("queue", "logs", rev), run_alone=run_alone)
    except UserError:
        return []


def stages_in(log: str, *, run_alone: bool = False) -> list[str]:
    """Return the same of what a run has printed."""
    said = "Running stage" if run_alone else "(?:Running stage|Stage)"
    return re.findall(rf"^{said} '(\w+)'", log, re.MULTILINE)


def mostly_cached(run_alone: Sequence[str]) -> bool:
    """Return whether most stages of a run that has ended were in DVC's cache, by those that were not.

    The time of such a run tells nothing of others.
    """
    return 2 * len(run_alone) < STAGES


@cache
def settings_at(rev: str) -> Params | None:
    """Return the settings of a commit; None where they are none of this version."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, PARAMS.name)
        try:
            file.write_text(git("show", f"{rev}:{PARAMS}"), encoding="utf-8")
            return load_params(file)
        except UserError:
            return None


@cache
def code_is_that_of(rev: str) -> bool:
    """Return whether the code that is here is that of a commit."""
    asked = subprocess.run(["git", "diff", "--quiet", rev, "--", *CODE], cwd=ROOT, check=False, capture_output=True)
    return asked.returncode == 0


def ended_at(rev: str) -> str:
    """Return when an experiment was committed, which is when it ended: date and time of that machine, to the minute."""
    return git("show", "--no-patch", "--format=%cd", "--date=format:%Y-%m-%d %H:%M", rev).strip()


def recorded(rev: str, file: Path) -> str | None:
    """Return the MD5 that dvc.lock of a commit has of an output; None where it has none."""
    try:
        lock = git("show", f"{rev}:dvc.lock")
    except UserError:
        return None
    found = re.search(rf"^ +- path: {re.escape(file.as_posix())}\n(?: +hash: md5\n)? +md5: (\w+)", lock, re.MULTILINE)
    return found[1] if found else None


def results_at(rev: str, kept: Path) -> dict[str, Any]:
    """Return what ``evaluate`` found in an experiment, from DVC's cache; kept as a file for the next time."""
    file = kept / f"{rev}.json"
    if not file.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        dvc("get", "--force", "--rev", rev, "--out", str(file), ".", str(EVALUATE / "results.json"))
    tree: dict[str, Any] = read_json(file)
    return tree


@contextmanager
def in_place(preset: Path | None) -> Iterator[None]:
    """Put a preset in the place of params.yaml while experiments are queued; a kill in between loses nothing."""
    put_back()
    if preset is None or preset.resolve() == PARAMS.resolve():
        yield
        return
    write_bytes(ASIDE, PARAMS.read_bytes())
    try:
        write_bytes(PARAMS, preset.read_bytes())
        yield
    finally:
        put_back()


def put_back() -> None:
    """Put the user's params.yaml back where a preset was left in its place."""
    if ASIDE.is_file():
        write_bytes(PARAMS, ASIDE.read_bytes())
        ASIDE.unlink()


def snapshot(preset: Path | None) -> str:
    """Return a commit that no branch shows, with what git tracks as it is here and a preset as its params.yaml."""
    with in_place(preset):
        return git("stash", "create").strip() or git("rev-parse", "HEAD").strip()


def untracked_code() -> list[str]:
    """Return code that git does not hold: DVC's copies of the project would lack it."""
    return git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()


def dvc(*words: str) -> str:
    """Run a command of DVC and return what it prints.

    Raises:
        UserError: it failed.
    """
    return _run("dvc", *words)


def git(*words: str) -> str:
    """Run a command of git and return what it prints.

    Raises:
        UserError: it failed.
    """
    return _run("git", *words)


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError(f"{words[0]}: not on the PATH; activate the environment") from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise UserError(one_line(f"{' '.join(words[:3])} failed: {' '.join(said[:2]) or done.returncode}"))
    return done.stdout

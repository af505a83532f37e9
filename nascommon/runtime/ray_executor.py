"""Pieces of work are done by Ray, on this machine or on a cluster; what a lost worker was at, another takes up.

A piece is done in the folder of the project, which all machines of a cluster share, so whoever takes it up finds the
checkpoint of the one before. Ray itself repeats nothing here: it would neither say so nor know how far a piece came.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic

import psutil
import torch

from nascommon.runtime.executor import (
    LOCAL_RAY,
    LOOK_SECONDS,
    Failure,
    OnMessage,
    OnResult,
    Piece,
    Result,
    attempt,
    ignore,
    raise_failure,
)  # fmt: skip
from nascommon.runtime.hardware import cores
from nascommon.settings import UserError, one_line

STARTS: Final = 3
"""Times that Ray is started before it is given up: it allows itself half a minute, too little for a busy machine."""
LOSSES: Final = 3
"""Workers that a piece may lose in a row without telling anything in between."""
STORE_BYTES: Final = 2**28
"""Memory for results of a Ray of one machine; what is more goes to the disk."""
KNOCK_SECONDS: Final = 10.0
KEPT: Final = "What is finished is kept, and the next run goes on from there"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Capacity:
    """What fits into a cluster.

    Attributes:
        pieces: how many pieces at a time.
        memories: in how many memories: GPUs, or machines where none is used.
    """

    pieces: int
    memories: int


@dataclass(frozen=True)
class OnRay:
    """Up to ``count`` pieces at a time, each where Ray finds the CPUs and GPUs for it.

    Attributes:
        where: ``ray`` for this machine, or the address of a cluster.
        count: how many at a time.
        threads: CPUs of each, and threads that torch takes.
        gpus: GPUs of each.
    """

    where: str
    count: int
    threads: int = 1
    gpus: int = 0

    def run(
        self, pieces: Sequence[Piece[Result]], *, on_message: OnMessage = ignore, on_result: OnResult[Result] = ignore
    ) -> list[Result]:
        """Do all pieces; see ``Executor``.

        Raises:
            UserError: what a piece raised as such, its workers were lost again and again, or Ray is not there or goes
                away; the message names the piece or the setting.
            RuntimeError: a piece raised anything else; its traceback is a note.
        """
        ray, results = connected(self.where), dict[int, Result]()
        with _naming_the_end_of_ray(ray, self.where), _work(ray, pieces, self) as work:
            while work.goes_on():
                for index, kind, content in work.news():
                    if kind == "message":
                        on_message(index, content)
                        continue
                    if kind == "failure":
                        raise_failure(pieces[index].name, content)
                    results[index] = content
                    on_result(index, content)
        return [results[index] for index in range(len(pieces))]


@dataclass
class _Work(Generic[Result]):
    """Pieces that wait, pieces that Ray is at, and the desk at which these leave what they tell."""

    ray: Any
    pieces: Sequence[Piece[Result]]
    how: OnRay
    desk: Any
    waiting: deque[int]
    at: dict[Any, int] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)

    def goes_on(self) -> bool:
        """Give Ray as many pieces as it may have; return whether there are any."""
        while self.waiting and len(self.at) < self.how.count:
            index = self.waiting.popleft()
            options = {"num_cpus": self.how.threads, "num_gpus": self.how.gpus, "name": self.pieces[index].name}
            task = self.ray.remote(_do).options(**options, max_retries=0, runtime_env=_environment())
            packed = pickle.dumps(self.pieces[index])
            self.at[task.remote(packed, index, str(Path.cwd()), self.how.threads, self.desk)] = index
        return bool(self.at)

    def news(self) -> Iterator[tuple[int, str, Any]]:
        """Yield (index, kind, content) of what has been told and has ended, a moment later at most."""
        ended, _ = self.ray.wait(list(self.at), timeout=LOOK_SECONDS)
        # Only now: a piece waits until what it tells lies at the desk, so of one that has ended nothing is missing.
        for index, told in self.ray.get(self.desk.take.remote()):
            self.losses.pop(index, None)
            yield index, "message", pickle.loads(told)  # noqa: S301 -- our own worker wrote it
        for task in ended:
            index = self.at.pop(task)
            try:
                yield index, *self.ray.get(task)
            except self.ray.exceptions.RayTaskError:
                raise
            except self.ray.exceptions.RayError as lost:
                self._again(index, lost)

    def _again(self, index: int, lost: Exception) -> None:
        """Let another worker take a piece up.

        Raises:
            UserError: that has been tried often enough.
        """
        name, reason = self.pieces[index].name, _reason(lost)
        self.losses[index] += 1
        if self.losses[index] == LOSSES:
            raise UserError(f"{name}: {LOSSES} workers in a row were lost ({reason}). {KEPT}")
        _log.warning(one_line(f"{name}: its worker was lost ({reason}); another takes it up from its checkpoint"))
        self.waiting.appendleft(index)


@contextmanager
def _naming_the_end_of_ray(ray: Any, where: str) -> Iterator[None]:
    """Say in one line that not a worker but Ray itself was lost: its head, or the desk."""
    try:
        yield
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as lost:
        raise UserError(one_line(f"executor: {where}: Ray was lost ({_reason(lost)}). {KEPT}")) from lost


def _reason(lost: Exception) -> str:
    """Return the first sentence of what Ray says of a loss."""
    return str(lost).partition("\n")[0].partition(". ")[0]


@contextmanager
def _work(ray: Any, pieces: Sequence[Piece[Result]], how: OnRay) -> Iterator[_Work[Result]]:
    """Open a desk; at the end, however it comes, stop what is under way."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    desk = ray.remote(_desk()).options(num_cpus=0, scheduling_strategy=here).remote()
    work = _Work(ray, pieces, how, desk, deque(range(len(pieces))))
    try:
        yield work
    finally:
        for task in work.at:
            ray.cancel(task, force=True)
        ray.kill(desk)


def _desk() -> type:
    """Return the class of a desk; made here, so that Ray sends it whole and its process need not import torch."""

    class Desk:
        def __init__(self) -> None:
            self.lies: list[tuple[int, bytes]] = []

        def put(self, index: int, told: bytes) -> None:
            self.lies.append((index, told))

        def take(self) -> list[tuple[int, bytes]]:
            taken, self.lies = self.lies, []
            return taken

    return Desk


def _do(packed: bytes, index: int, folder: str, threads: int, desk: Any) -> tuple[str, Any]:
    """Do a piece in a worker; see ``attempt``."""
    import ray

    try:
        os.chdir(folder)
    except OSError as error:
        text = f"{folder}: not on {socket.gethostname()} ({error.strerror}); all machines of a cluster must share it"
        return "failure", Failure(type(error).__name__, text, "", mendable=True)
    torch.set_num_threads(threads)
    return attempt(packed, partial(_tell, ray, desk, index))


def _tell(ray: Any, desk: Any, index: int, content: Any) -> None:
    """Leave at the desk what a piece tells."""
    ray.get(desk.put.remote(index, pickle.dumps(content)))


def _environment() -> dict[str, Any]:
    """Return what workers need to find the modules of this process."""
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}}


def capacity(where: str, cpus: int, gpus: int) -> Capacity:
    """Return what fits where pieces are done.

    Args:
        where: ``ray`` or the address of a cluster, which is asked.
        cpus: CPUs of a piece.
        gpus: GPUs of a piece.

    Raises:
        UserError: not even one piece fits, or the cluster is not there.
    """
    machines = [(cores(), torch.cuda.device_count())] if where == LOCAL_RAY else _machines(where)
    fitting = [min([has_cpus // cpus, *([has_gpus // gpus] if gpus else [])]) for has_cpus, has_gpus in machines]
    if not sum(fitting):
        wanted = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
        raise UserError(f"executor: {where}: no machine has {wanted}; set threads or device to what one has")
    return Capacity(sum(fitting), sum(fitting) if gpus else sum(map(bool, fitting)))


def _machines(where: str) -> list[tuple[int, int]]:
    """Return CPUs and GPUs of every machine of a cluster."""
    alive = [node["Resources"] for node in connected(where).nodes() if node["Alive"]]
    return [(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in alive]


def connected(where: str) -> Any:
    """Return the module ray, connected to where pieces are done until this process ends.

    Raises:
        UserError: Ray is not installed, does not start, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody unasked
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"executor: {where}: Ray is not installed; pip install ray (the extra `ray` of this project), or set "
            "executor: processes"
        ) from error
    if not ray.is_initialized():
        logging.getLogger("ray").setLevel(logging.ERROR)  # it greets at length
        _start(ray, where)
    return ray


def _knock(where: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would wait for minutes."""
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"executor: {where}: no cluster of Ray answers ({reason}); see docs/cluster.md") from error


def _start(ray: Any, where: str) -> None:
    """Start a Ray of this machine, or connect to a cluster."""
    if where != LOCAL_RAY:
        _knock(where)
    own = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": STORE_BYTES}
    options = {"address": "local", **own} if where == LOCAL_RAY else {"address": where}
    for left in reversed(range(STARTS if where == LOCAL_RAY else 1)):
        before = set(psutil.Process().children())
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises bare exceptions, too
            ray.shutdown()
            for process in set(psutil.Process().children()) - before:  # a start that failed leaves them behind
                process.kill()
            if not left:
                reason = str(error).partition("\n")[0]
                raise UserError(f"executor: {where}: Ray is not there ({reason}); see docs/cluster.md") from error
        else:
            return

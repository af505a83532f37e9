"""Pieces of work are done in processes of their own, side by side; none of them outlives this one.

A member of the crew is a fresh interpreter at the other end of a socket. It does not import the script of its parent,
as ``multiprocessing`` would have it do, and it is in a session of its own, so that Ctrl-C in a terminal reaches the
parent alone. When its parent ends, however that happens, the socket closes and the member stops at once, in the middle
of whatever it does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from nascommon.settings import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[Any], None]

LOOK_SECONDS = 1.0
"""Between two looks whether a member is alive: a child that it left behind may hold its socket open."""


@dataclass(frozen=True)
class _Failure:
    """What a member tells of an exception."""

    kind: str
    text: str
    trace: str
    mendable: bool


@dataclass
class _Member:
    """A process, the line to it, and the index of the task that it is at."""

    process: subprocess.Popen[bytes]
    line: Connection
    index: int | None = None

    def say(self, packed: bytes) -> None:
        """Send; that a member has died is noticed by listening to it."""
        with suppress(OSError):
            self.line.send_bytes(packed)

    def hear(self, name: str) -> tuple[str, Any]:
        """Return the next (kind, content).

        Raises:
            UserError: the process is gone.
        """
        gone = self.process.poll() is not None
        if gone and not self.line.poll():
            self._died(name)
        try:
            kind, content = pickle.loads(self.line.recv_bytes())  # noqa: S301 -- our own process wrote it
        except (EOFError, OSError):
            self._died(name)
        return kind, content

    def _died(self, name: str) -> NoReturn:
        status = self.process.wait()
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:
            how += ", as happens when memory runs out; a lower number of jobs needs less"
        raise UserError(f"{name}: its process {how}. What is finished is kept, and the next run goes on from there")


def side_by_side(
    tasks: Sequence[Task],
    work: Callable[[Task, Tell], Result],
    *,
    processes: int,
    name: Callable[[Task], str],
    on_message: Callable[[int, Any], None],
    on_result: Callable[[int, Result], None],
) -> None:
    """Do ``work(task, tell)`` for every task, up to ``processes`` at a time; the first that fails stops all.

    Args:
        tasks: what to do, each picklable; they begin in this order.
        work: sent to each process once; picklable, so nothing of it may belong to ``__main__``.
        processes: how many at a time.
        name: what a task is called when it fails.
        on_message: (index, what the task told), in this process.
        on_result: (index, what came of the task), in this process, in the order in which they end.

    Raises:
        UserError: what a task raised as such, or its process was killed.
        RuntimeError: a task raised anything else; its traceback is a note.
    """
    waiting = deque(enumerate(tasks))
    with _crew(min(processes, len(tasks)), work) as members:
        for member in members:
            _give(member, waiting)
        while busy := [member for member in members if member.index is not None]:
            for member in _audible(busy):
                assert member.index is not None
                kind, content = member.hear(name(tasks[member.index]))
                if kind == "message":
                    on_message(member.index, content)
                    continue
                if kind == "failure":
                    _raise(name(tasks[member.index]), content)
                index = member.index
                _give(member, waiting)
                on_result(index, content)


def _give(member: _Member, waiting: deque[tuple[int, Task]]) -> None:
    """Give a member the next task, or nothing more to do."""
    if not waiting:
        member.index = None
        return
    member.index, task = waiting.popleft()
    member.say(pickle.dumps(task))


def _audible(members: list[_Member]) -> list[_Member]:
    """Wait for members that have said something or are gone."""
    while True:
        ready = wait([member.line for member in members], LOOK_SECONDS)
        heard = [member for member in members if member.line in ready or member.process.poll() is not None]
        if heard:
            return heard


def _raise(name: str, failure: _Failure) -> NoReturn:
    if failure.mendable:
        raise UserError(f"{name}: {failure.text}")
    error = RuntimeError(f"{name}: {failure.kind}: {failure.text}")
    error.add_note(f"In its own process:\n{failure.trace}")
    raise error


@contextmanager
def _crew(count: int, work: Callable[..., Any]) -> Iterator[list[_Member]]:
    """Start the processes and send them the work; at the end, however it comes, stop them."""
    packed = pickle.dumps(work)
    members: list[_Member] = []
    try:
        members.extend(_start() for _ in range(count))
        for member in members:
            member.say(packed)
        yield members
    finally:
        for member in members:
            member.line.close()
            member.process.kill()
        for member in members:
            member.process.wait()


def _start() -> _Member:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,
        )
    return _Member(process, ours)


def serve(descriptor: int) -> None:
    """Do what the parent sends, until it closes the line: the whole life of a member."""
    line = Connection(descriptor)
    heard: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(line, heard), daemon=True).start()
    packed_work = heard.get()
    work: Callable[..., Any] | None = None
    while True:
        packed = heard.get()
        try:
            work = work or pickle.loads(packed_work)  # noqa: S301 -- our own parent wrote it
            result = work(pickle.loads(packed), lambda content: _say(line, "message", content))  # noqa: S301
        except Exception as error:  # noqa: BLE001 -- the parent raises it
            mendable = isinstance(error, UserError)
            _say(line, "failure", _Failure(type(error).__name__, str(error), traceback.format_exc(), mendable))
        else:
            _say(line, "result", result)


def _listen(line: Connection, heard: SimpleQueue[bytes]) -> None:
    try:
        while True:
            heard.put(line.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)  # the parent is gone or has what it wanted; nobody waits for an answer


def _say(line: Connection, kind: str, content: Any) -> None:
    line.send_bytes(pickle.dumps((kind, content)))

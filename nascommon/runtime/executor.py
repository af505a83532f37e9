"""Independent pieces of work are done one by one, or side by side in processes that do not outlive this one.

Each process is a fresh interpreter at the other end of a socket. It does not import the script of
its parent, as ``multiprocessing`` would have it do, and it is in a session of its own, so that Ctrl-C in a terminal
reaches the parent alone. When its parent ends, however that happens, the socket closes and the member stops at once, in
the middle of whatever it does.
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
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import torch

from nascommon.runtime.mendable import mendable
from nascommon.runtime.steps import Steps, finished
from nascommon.settings import UserError

Result = TypeVar("Result")
Tell = Callable[[Any], None]
"""Sends what is picklable to whoever waits for the piece of work, while it is done."""
OnMessage = Callable[[int, Any], None]
OnResult = Callable[[int, Result], None]


def ignore(*_arguments: object) -> None:
    """Do nothing: the default of every hook."""


PROCESSES, LOCAL_RAY = "processes", "ray"
"""Where pieces are done; anything else is the address of a cluster of Ray."""
LOOK_SECONDS = 1.0
"""Between two looks whether a member is alive: a child that it left behind may hold its socket open."""


@dataclass(frozen=True)
class Failure:
    """Report about an exception from where a piece of work was done."""

    kind: str
    text: str
    trace: str
    mendable: bool


@dataclass
class _Member:
    """A process, the line to it, and the index of the piece of work that it is at."""

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


@dataclass(frozen=True)
class Piece(Generic[Result]):
    """A piece of work that depends on no other: a description of it that another process, or machine, can carry out.

    Attributes:
        name: what it is called when it fails.
        function: called with the arguments and then with a ``Tell``; of a module that can be imported. It returns the
            result, or the ``Steps`` that come to it.
        arguments: picklable and small. What is large, such as pictures, is named, and opened by whoever does the work.
    """

    name: str
    function: Callable[..., Result] | Callable[..., Steps[Result]]
    arguments: tuple[Any, ...] = ()

    def steps(self, tell: Tell) -> Steps[Result]:
        """Do it, with a pause after each step if it has any."""
        done = self.function(*self.arguments, tell)
        return (yield from done) if isinstance(done, Generator) else done


class Executor(Protocol):
    """Does pieces of work; which one does them changes no result."""

    def run(
        self, pieces: Sequence[Piece[Result]], *, on_message: OnMessage = ignore, on_result: OnResult[Result] = ignore
    ) -> list[Result]:
        """Do all pieces and return their results in the order of the pieces; the first that fails ends all.

        Args:
            pieces: begun in this order.
            on_message: (index of the piece, what it told), here and while it runs.
            on_result: (index of the piece, its result), here, in the order in which the pieces end.

        Raises:
            UserError: what a piece raised as such, or what became of it, such as a process that was killed.
            Exception: whatever else a piece raised; see the implementation.
        """
        ...


class InLine:
    """One piece after the other, in this process; what a piece raises comes through as it is."""

    def run(
        self, pieces: Sequence[Piece[Result]], *, on_message: OnMessage = ignore, on_result: OnResult[Result] = ignore
    ) -> list[Result]:
        """Do all pieces; see ``Executor``."""
        results = []
        for index, piece in enumerate(pieces):
            results.append(finished(piece.steps(partial(on_message, index))))
            on_result(index, results[-1])
        return results


IN_LINE = InLine()


@dataclass(frozen=True)
class Processes:
    """Up to ``count`` pieces at a time, each in a process of its own, which does one after the other.

    Attributes:
        count: how many at a time.
        threads: CPU threads that torch takes in each; None leaves it to torch.
    """

    count: int
    threads: int | None = None

    def run(
        self, pieces: Sequence[Piece[Result]], *, on_message: OnMessage = ignore, on_result: OnResult[Result] = ignore
    ) -> list[Result]:
        """Do all pieces; see ``Executor``.

        Raises:
            UserError: what a piece raised as such, its process was killed, or the memory of the GPU is full; the
                message names the piece.
            RuntimeError: a piece raised anything else; its traceback is a note.
        """
        waiting = deque(enumerate(pieces))
        results: dict[int, Result] = {}
        with _started(min(self.count, len(pieces)), self.threads) as members:
            for member in members:
                _give(member, waiting)
            while busy := [member for member in members if member.index is not None]:
                for member in _audible(busy):
                    assert member.index is not None
                    index, name = member.index, pieces[member.index].name
                    kind, content = member.hear(name)
                    if kind == "message":
                        on_message(index, content)
                        continue
                    if kind == "failure":
                        raise_failure(name, content)
                    _give(member, waiting)
                    results[index] = content
                    on_result(index, content)
        return [results[index] for index in range(len(pieces))]


def executor(count: int, threads: int | None = None, where: str = PROCESSES, gpus: int = 0) -> Executor:
    """Return what does ``count`` pieces at a time: one at a time in this process, several in processes of their own.

    Args:
        count: how many at a time.
        threads: CPU threads of each; None leaves it to torch.
        where: the setting ``executor``; Ray is loaded only where it is wanted.
        gpus: GPUs of each, where Ray shares them out.
    """
    if where != PROCESSES:
        from nascommon.runtime.ray_executor import OnRay

        return OnRay(where, count, threads or 1, gpus)
    return IN_LINE if count <= 1 else Processes(count, threads)


def _give(member: _Member, waiting: deque[tuple[int, Piece[Any]]]) -> None:
    """Give a member the next piece of work, or nothing more to do."""
    if not waiting:
        member.index = None
        return
    member.index, piece = waiting.popleft()
    member.say(pickle.dumps(piece))


def _audible(members: list[_Member]) -> list[_Member]:
    """Wait for members that have said something or are gone."""
    while True:
        ready = wait([member.line for member in members], LOOK_SECONDS)
        heard = [member for member in members if member.line in ready or member.process.poll() is not None]
        if heard:
            return heard


def raise_failure(name: str, failure: Failure) -> NoReturn:
    """Raise here what went wrong elsewhere: a UserError, or a RuntimeError with the traceback as a note."""
    if failure.mendable:
        raise UserError(f"{name}: {failure.text}")
    error = RuntimeError(f"{name}: {failure.kind}: {failure.text}")
    error.add_note(f"In its own process:\n{failure.trace}")
    raise error


@contextmanager
def _started(count: int, threads: int | None) -> Iterator[list[_Member]]:
    """Start the processes; at the end, however it comes, stop them."""
    members: list[_Member] = []
    try:
        members.extend(_start(threads) for _ in range(count))
        yield members
    finally:
        for member in members:
            member.line.close()
            with suppress(OSError):
                os.killpg(member.process.pid, signal.SIGKILL)
        for member in members:
            member.process.wait()


def _start(threads: int | None) -> _Member:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()}, {threads})"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,
        )
    return _Member(process, ours)


def serve(descriptor: int, threads: int | None) -> None:
    """Do what the parent sends, until it closes the line: the whole life of a member."""
    line = Connection(descriptor)
    heard: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(line, heard), daemon=True).start()
    if threads is not None:
        torch.set_num_threads(threads)
    while True:
        _say(line, *attempt(heard.get(), partial(_say, line, "message")))


def attempt(packed: bytes, tell: Tell) -> tuple[str, Any]:
    """Do a pickled piece of work, far from who wants it; return ``result`` and it, or ``failure`` and what went wrong.

    Args:
        packed: the piece; unpickled here, since modules that are missing are a failure of it.
        tell: takes what it tells.
    """
    try:
        piece: Piece[Any] = pickle.loads(packed)  # noqa: S301 -- our own parent wrote it
        return "result", finished(piece.steps(tell))
    except torch.OutOfMemoryError as error:
        text = f"the memory of the GPU is full ({error}); set jobs to a lower number"
        return "failure", Failure(type(error).__name__, text, traceback.format_exc(), mendable=True)
    except Exception as error:  # noqa: BLE001 -- who wants it raises it
        words = mendable(error)
        return "failure", Failure(type(error).__name__, words or str(error), traceback.format_exc(), bool(words))


def _listen(line: Connection, heard: SimpleQueue[bytes]) -> None:
    try:
        while True:
            heard.put(line.recv_bytes())
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)  # nobody waits for an answer, nor for what the children of a piece do


def _say(line: Connection, kind: str, content: Any) -> None:
    line.send_bytes(pickle.dumps((kind, content)))

"""The processes that share a training find each other, notice one that does not answer, and speak with one voice."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from nascommon.runtime.ranks import while_waiting
from nascommon.runtime.starter import ELASTIC
from nascommon.settings import UserError

PATIENCE = timedelta(minutes=10)
"""For which ranks wait for one another. Meanwhile the first may write a checkpoint or tell MLflow, and no more."""
BEAT_SECONDS = 1.0
"""Between two signs of life."""
SILENT_SECONDS = 30.0
"""For which ranks wait for the first meeting without saying so."""
STARTER_SECONDS = 10.0
"""For which the store of a starter, which is there before its ranks, is looked for."""
ADVICE = (
    "who starts ranks sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun "
    "does; for one process unset them (docs/many-gpus.md)"
)


@dataclass(frozen=True)
class Started:
    """What a process was told that is one of several ranks.

    Attributes:
        rank: counted from 0, over all machines.
        count: ranks of all machines.
        host: machine where the ranks meet.
        port: of that machine.
        local_rank: counted from 0 on this machine.
        local_count: ranks of this machine.
    """

    rank: int
    count: int
    host: str
    port: int
    local_rank: int
    local_count: int


def started() -> Started | None:
    """Return what the environment says, in the variables of ``torchrun``; None where this process is all there is.

    Other programs set ``WORLD_SIZE`` without saying which rank a process is; such a one is alone.

    Raises:
        UserError: the variables contradict each other, or some are missing.
    """
    if not os.environ.get("RANK") or not os.environ.get("WORLD_SIZE"):
        return None
    count = _number("WORLD_SIZE", 1, 1_000_000)
    if count == 1:
        return None
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        raise UserError(f"{' and '.join(missing)}: not set, beside RANK and WORLD_SIZE={count}; {ADVICE}")
    local_count = _number("LOCAL_WORLD_SIZE", 1, count, "1")
    return Started(
        rank=_number("RANK", 0, count - 1),
        count=count,
        host=os.environ["MASTER_ADDR"],
        port=_number("MASTER_PORT", 1, 2**16 - 1),
        local_rank=_number("LOCAL_RANK", 0, local_count - 1, "0"),
        local_count=local_count,
    )


def _number(name: str, least: int, most: int, otherwise: str = "") -> int:
    text = os.environ.get(name) or otherwise
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    allowed = f"be {least}" if least == most else f"be a whole number from {least} to {most}"
    raise UserError(f"{name}: must {allowed} (got {text!r}); {ADVICE}")


class LostError(UserError):
    """Another rank is gone, or hangs; it is the other that is to blame."""


class _Line:
    """The line between the ranks: a store that holds how often each has waited for the others.

    A thread tells it, as the rank itself may wait for minutes.
    """

    def __init__(self, store: Store, rank: int, count: int) -> None:
        self.store, self.rank, self.count, self.calls, self.open = store, rank, count, 0, True
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while self.open:
            try:
                self.store.set(f"calls/{self.rank}", str(self.calls))
            except RuntimeError:  # whoever holds the store is gone
                self.open = False
            time.sleep(BEAT_SECONDS)

    def behind(self) -> list[int]:
        """Return the ranks that have not come as far as this one, as far as they tell."""
        found = []
        with suppress(RuntimeError):
            for rank in range(self.count):
                key = f"calls/{rank}"
                if not self.store.check([key]) or int(self.store.get(key)) < self.calls:
                    found.append(rank)
        return found

    def claim(self) -> bool:
        """Return whether no other rank has spoken before."""
        with suppress(RuntimeError):
            return bool(self.store.add("spoken", 1) == 1)
        return True  # whoever holds the store is gone, and cannot have spoken


_lines: list[_Line] = []
"""The one of this process, once it has joined."""


def on_this_machine() -> tuple[int, int]:
    """Return which rank of this machine this is, and how many it has."""
    told = started() if _lines else None
    return (told.local_rank, told.local_count) if told else (0, 1)


@contextmanager
def joined(told: Started, patience: timedelta = PATIENCE) -> Iterator[None]:
    """Be one of the ranks until the end of the block; those that are not the first print and log nothing.

    Args:
        told: which one, and where they meet.
        patience: for which one waits for another before it is taken for lost.

    Raises:
        UserError: the others are not there.
    """
    # What is told, such as a checkpoint, lies on the CPU; gradients are where they were computed.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        with _saying_that_it_waits(told), _ended_by_interrupt():
            _find_store(told, patience)
            store, rank, count = next(iter(rendezvous("env://", timeout=patience)))
            dist.init_process_group(
                backend, store=PrefixStore("training", store), rank=rank, world_size=count, timeout=patience
            )
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"rank {told.rank} of {told.count} does not find the others at {told.host}:{told.port}, where MASTER_ADDR "
            f"and MASTER_PORT say that they meet ({reason}); {ADVICE}"
        ) from error
    _lines.append(_Line(PrefixStore("line", store), rank, count))
    while_waiting(_waiting)
    try:
        with _silence() if rank else nullcontext():
            yield
    finally:
        _lines[-1].open = False
        dist.destroy_process_group()


def _find_store(told: Started, patience: timedelta) -> None:
    """Wait for the store in which ranks meet, unless this one brings it: PyTorch would log what it does in between.

    Raises:
        OSError: there is none; so it is at once, where a starter that held it is gone.
    """
    starter_holds_it = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if told.rank == 0 and not starter_holds_it:
        return
    ends = time.monotonic() + (STARTER_SECONDS if starter_holds_it else patience.total_seconds())
    while True:
        try:
            socket.create_connection((told.host, told.port), timeout=STARTER_SECONDS).close()
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(BEAT_SECONDS)
        else:
            return


@contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """Let Ctrl-C end this process at once: PyTorch waits without looking at signals, and there is nothing to lose."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _saying_that_it_waits(told: Started) -> Iterator[None]:
    """Say after a while what is waited for: the variables may be left over from something else."""
    line = (
        f"rank {told.rank} of {told.count} waits for the others, as WORLD_SIZE={told.count} says, at "
        f"{told.host}:{told.port}"
    )
    timer = threading.Timer(SILENT_SECONDS, print, [line], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if told.local_rank == 0:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _silence() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(logging.NOTSET)


def speaks() -> bool:
    """Return whether this rank is the one to say what ended the work: the first to ask, of all."""
    if _lines:
        return _lines[-1].claim()
    if ELASTIC in os.environ and os.environ.get("RANK", "0") != "0":
        time.sleep(2 * BEAT_SECONDS)  # not yet joined: the first rank says the same, and all are ended meanwhile
    return True


@contextmanager
def _waiting() -> Iterator[None]:
    """Wait for the other ranks in the block; say in one line where one does not come.

    Raises:
        LostError: it is gone, or has not come for ``patience``.
    """
    line, began = _lines[-1], time.monotonic()
    line.calls += 1
    try:
        yield
    except RuntimeError as error:
        waited = time.monotonic() - began
        # Whoever started the ranks sees one die, says so, and ends the others within a moment.
        time.sleep(3 * BEAT_SECONDS)
        behind = line.behind()
        who = f"rank {', '.join(map(str, behind))}" if behind else "a rank"
        raise LostError(
            f"{who} of {line.count} does not answer: it hangs or is gone (waited {waited:.0f} s for it). What is "
            "finished is kept, and the next run goes on from there"
        ) from error

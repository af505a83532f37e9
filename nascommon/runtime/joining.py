"""The processes that share a training find each other, notice one that does not answer, and speak with one voice."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from nascommon.runtime.ranks import while_waiting
from nascommon.settings import UserError

PATIENCE = timedelta(minutes=10)
"""For which ranks wait for one another. Meanwhile the first may write a checkpoint or tell MLflow, and no more."""
BEAT_SECONDS = 1.0
"""Between two signs of life."""


class LostError(UserError):
    """Another rank is gone, or hangs; it is the other that is to blame."""


class _Line:
    """The line between the ranks: a store that holds how often each has waited for the others.

    A thread tells it, as the rank itself may wait for minutes, and ends the rank where who started it is gone: it would
    be left behind otherwise, and hold its checkpoints.
    """

    def __init__(self, store: Store, rank: int, count: int) -> None:
        self.store, self.rank, self.count, self.calls, self.open = store, rank, count, 0, True
        threading.Thread(target=self._beat, args=(os.getppid(),), daemon=True).start()

    def _beat(self, parent: int) -> None:
        while os.getppid() == parent:
            if self.open:
                try:
                    self.store.set(f"calls/{self.rank}", str(self.calls))
                except RuntimeError:  # whoever holds the store is gone
                    self.open = False
            time.sleep(BEAT_SECONDS)
        os._exit(1)

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


def expected() -> bool:
    """Return whether this process was started as one of several ranks, as ``torchrun`` tells it."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def on_this_machine() -> tuple[int, int]:
    """Return which rank of this machine this is, and how many it has."""
    if not expected():
        return 0, 1
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def joined(patience: timedelta = PATIENCE) -> Iterator[None]:
    """Be one of the ranks until the end of the block; those that are not the first print and log nothing.

    Args:
        patience: for which one waits for another before it is taken for lost.

    Raises:
        UserError: the others are not there.
    """
    # What is told, such as a checkpoint, lies on the CPU; gradients are where they were computed.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, count = next(iter(rendezvous("env://", timeout=patience)))
        dist.init_process_group(
            backend, store=PrefixStore("training", store), rank=rank, world_size=count, timeout=patience
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the ranks do not find each other ({reason}); see docs/many-gpus.md") from error
    _lines.append(_Line(PrefixStore("line", store), rank, count))
    while_waiting(_waiting)
    try:
        with _silence() if rank else nullcontext():
            yield
    finally:
        _lines[-1].open = False
        dist.destroy_process_group()


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
    if expected() and os.environ["RANK"] != "0":
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

"""Ranks for tests: processes forked from this one, which has loaded everything already."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from nascommon.runtime.joining import joined, started


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any, patience: float = 60) -> list[Any]:
    """Do the work on so many ranks; return what came out on each, or what it raised."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch, str(rank)) for rank in range(count)]
        port = free_port()
        ranks = [
            context.Process(target=_rank, args=(file, rank, count, port, patience, work, arguments))
            for rank, file in enumerate(files)
        ]
        for rank in ranks:
            rank.start()
        # Held by this process, as by torchrun's: it outlives all of them. Its thread looks up names, and a process that
        # is forked in the middle of that waits for the lock for ever: it begins when all are there.
        store = TCPStore("localhost", port, is_master=True, wait_for_workers=False)
        for rank in ranks:
            rank.join()
        del store
        return [torch.load(file, weights_only=False) if file.exists() else None for file in files]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("localhost", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _rank(
    file: Path, rank: int, count: int, port: int, patience: float, work: Callable[..., Any], arguments: Any
) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    told = started()
    assert told is not None
    try:
        with joined(told, timedelta(seconds=patience)):
            found = work(*arguments)
    except Exception as error:  # noqa: BLE001 -- the test looks at it
        found = error
    torch.save(found, file)

"""Identity of a run: the names and tags by which a person, or the next process, finds a stage's run."""

from __future__ import annotations

import getpass
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nascommon.runtime.revision import revision
from nascommon.settings import leaves

SAME_BIRTH = 60
"""Seconds by which the birth of a process may seem to move: it is counted from a boot time that follows the clock."""


@dataclass(frozen=True)
class StageRun:
    """Facts about a stage's run before it starts.

    Attributes:
        root: Folder of the project, absolute.
        stage: Name of the stage.
        method: Name of the search method.
        seed: Seed of the pipeline.
        data: Name of the data source.
        key: Fingerprint of this stage's run; hexadecimal.
        pipeline: Fingerprint of what the stages of one pipeline share, hexadecimal; they are nested under one run.
        params: Settings, nested or flat; logged flat (`search.channels`) to the stage's run and to the pipeline's.
        tags: More tags of the stage's run.
        checkout: Folder whose code runs, where that is a copy of the project.
    """

    root: Path
    stage: str
    method: str
    seed: int
    data: str
    key: str
    pipeline: str
    params: Mapping[str, object]
    tags: Mapping[str, str] = field(default_factory=dict)
    checkout: Path | None = None

    @property
    def name(self) -> str:
        """Name of the stage's run."""
        return f"{self.stage} · {self.method} · seed {self.seed}"

    @property
    def pipeline_name(self) -> str:
        """Name of the run that groups the stages."""
        return f"{self.method} · {self.data} · seed {self.seed}"

    def common_tags(self) -> dict[str, str]:
        """Tags that the stage's run shares with the run of its pipeline."""
        tags = {
            "method": self.method,
            "seed": str(self.seed),
            "data": self.data,
            "pipeline": f"{self.pipeline_name} · {self.pipeline[:6]}",
            "mlflow.source.name": f"stages/{self.stage}.py",
            "mlflow.source.type": "LOCAL",
        }
        with suppress(OSError, KeyError):  # a container's user may have no name
            tags["mlflow.user"] = getpass.getuser()
        code = revision(self.checkout or self.root)
        return tags | ({"git": str(code), "mlflow.source.git.commit": code.commit} if code.commit else {})

    def flat_params(self) -> dict[str, str]:
        """The settings with dotted names: `search.channels`."""
        return {name: str(value) for name, value in leaves(self.params)}


def owner() -> str:
    """This process, told apart from any other on any machine: host, number, birth."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time()}"


def is_alive(process: str) -> bool:
    """Return whether the `owner` of a run is a living process of this machine."""
    host, _, rest = process.partition(" ")
    if host != socket.gethostname():
        return False
    pid, birth = rest.split()
    try:
        found = psutil.Process(int(pid))
        return bool(found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - float(birth)) < SAME_BIRTH)
    except psutil.NoSuchProcess:
        return False


def has_died(process: str) -> bool:
    """Return whether the `owner` of a run was a process of this machine and is gone."""
    return process.partition(" ")[0] == socket.gethostname() and not is_alive(process)


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does, through every `finally`; a handler that is already there stays."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

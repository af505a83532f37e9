"""MLflow's pages on this machine: served here, on a port that is free, and the address that shows the runs."""

from __future__ import annotations

import http
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from nascommon.settings import UserError
from nascommon.tracking import store, view
from nascommon.tracking.across import finished_runs
from nascommon.tracking.identity import sigterm_unwinds

HOST: Final = "127.0.0.1"
"""Nobody else may read, or delete, what is tracked."""
PORT: Final = 5000
PATIENCE: Final = 300
"""Seconds until the server must answer; its first start upgrades the database."""
LAST_LINES: Final = 3
"""Lines of a server that did not start that are shown."""


def free_port(wanted: int = PORT) -> int:
    """Return the port that is wanted, or one that is free where somebody has taken it."""
    for port in (wanted, 0):
        with socket.socket() as tried:
            # As the server does: a connection that has just ended does not keep a port.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise UserError(f"no port of {HOST} is free")


@dataclass(frozen=True)
class Page:
    """A page that is served.

    Attributes:
        address: to open.
        shows: what is there, in words.
        server: the process that serves it, None where that runs elsewhere.
    """

    address: str
    shows: str
    server: subprocess.Popen[bytes] | None = None


def page(server: str, experiment_id: str, *, finished: bool) -> Page:
    """Return the page of an experiment's runs: charts that compare them, or a list where none has ``finished``."""
    runs = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if not finished:
        return Page(runs, "stages so far, since no run has finished; then this command shows methods beside each other")
    return Page(f"{runs}&compareRunsMode=CHART&viewStateShareKey={view.KEY}", "methods beside each other")


@contextmanager
def served(uri: str, root: Path) -> Iterator[Page]:
    """Yield the page of the runs; a server started here ends with it.

    Raises:
        UserError: nothing is tracked there, or the server does not start.
    """
    if uri == "none":
        raise UserError(
            "tracking: none in params.yaml, so nothing is tracked; name a store there (sqlite:///mlflow.db)"
        )
    experiment_id, full = store.find_experiment(uri, root)
    finished = bool(finished_runs(uri, root, "evaluate"))
    if uri.startswith(("http://", "https://")):
        yield page(uri, experiment_id, finished=finished)
        return
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", full, "--host", HOST, "--port", str(port)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    # Six more processes, which judge answers of language models.
    environment = {**os.environ, **quiet, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # A line for every request would bury the address.
    with sigterm_unwinds(), tempfile.TemporaryFile() as said:
        server = subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=said, stderr=said)
        try:
            _wait(server, port, said)
            yield replace(page(f"http://{HOST}:{port}", experiment_id, finished=finished), server=server)
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and server.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.2)
    said.seek(0)
    last = said.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    raise UserError(f"MLflow's server did not start; the last that it said: {' / '.join(last)}")

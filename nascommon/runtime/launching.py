"""A stage whose batches are shared starts the processes that share them, unless ``torchrun`` has."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from nascommon.runtime.joining import joined, started
from nascommon.runtime.ranks import require_alike
from nascommon.runtime.starter import ELASTIC
from nascommon.settings import UserError


def on_ranks(count: int, work: Callable[[], None], settings: Mapping[str, Any]) -> None:
    """Do the work of this process: alone, or as one of several ranks; where there shall be some, start them.

    Args:
        count: ranks to be on this machine; where ``torchrun`` has started some, or one, they are those that there are.
        work: what each of them does.
        settings: by dotted key, what all of them must have read alike.

    Raises:
        UserError: a rank was killed, the ranks do not find each other, or one has other settings.
    """
    if told := started():
        with joined(told):
            require_alike(settings, "the same params.yaml")
            work()
    elif count > 1 and ELASTIC not in os.environ:
        _launch(count)
    else:
        work()


def _launch(count: int) -> None:
    """Run this very command in so many processes; the first that fails ends all.

    Raises:
        UserError: they cannot be started, or one or all were killed; what else ends one it says itself, and its status
            becomes that of this process.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # it would tell at length what is said below in a line; so would the ranks
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, max_restarts=0, run_id=uuid.uuid4().hex,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        local_addr="localhost",  # the name of a machine need not be known to it
        logs_specs=DefaultLogsSpecs(os.devnull),  # ranks write to the terminal, and no folder for logs need be there
    )  # fmt: skip
    module = sys.modules["__main__"].__spec__
    assert module is not None, "a stage is run as python -m stages.NAME"
    try:
        elastic_launch(config, sys.executable)("-m", module.name, *sys.argv[1:])
    except SignalException as interrupted:
        if interrupted.sigval == signal.SIGINT:  # as the ranks say themselves
            sys.exit(128 + signal.SIGINT)
        raise UserError(
            f"ended by {interrupted.sigval.name}. What is finished is kept, and the next run goes on from there"
        ) from interrupted
    except (RendezvousError, RuntimeError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"launch: {count} processes cannot be started ({reason})") from error
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        memory = ", as happens when memory runs out" if -failure.exitcode == signal.SIGKILL else ""
        raise UserError(
            f"rank {rank} of {count} was ended by {name}{memory}, and the others with it. What is finished is kept, "
            "and the next run goes on from there"
        ) from failed

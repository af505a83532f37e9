"""A stage whose batches are shared starts the processes that share them, unless ``torchrun`` has."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable

from nascommon.runtime.joining import expected, joined
from nascommon.settings import UserError


def on_ranks(count: int, work: Callable[[], None]) -> None:
    """Do the work of this process: alone, or as one of several ranks; where there shall be some, start them.

    Args:
        count: ranks to be on this machine; where ``torchrun`` has started some, they are those that there are.
        work: what each of them does.

    Raises:
        UserError: a rank was killed, or the ranks do not find each other.
    """
    if expected():
        with joined():
            work()
    elif count > 1:
        _launch(count)
    else:
        work()


def _launch(count: int) -> None:
    """Run this very command in so many processes; the first that fails ends all.

    Raises:
        UserError: one was killed; what else ends one it says itself, and its status becomes that of this process.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # it would tell at length what is said below in a line; so would the ranks
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, max_restarts=0, run_id=uuid.uuid4().hex,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    )  # fmt: skip
    module = sys.modules["__main__"].__spec__
    assert module is not None, "a stage is run as python -m stages.NAME"
    try:
        elastic_launch(config, sys.executable)("-m", module.name, *sys.argv[1:])
    except SignalException as interrupted:
        sys.exit(128 + interrupted.sigval)
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

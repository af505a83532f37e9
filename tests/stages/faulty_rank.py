"""The stage retrain with a fault in the sixth step: ``FAULT`` says which one, ``FAULTY`` of which rank."""

from __future__ import annotations

import os
import resource
import signal
from itertools import count
from typing import Any

from nascommon.training import loop
from stages.cli import run_stage
from stages.retrain import main

train_step, steps = loop.train_step, count(1)


def _raise(_batch: Any) -> None:
    raise RuntimeError("a fault of this rank alone")


def _no_number(batch: Any) -> None:
    batch.images.fill_(float("nan"))


def _full_disk(_batch: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


FAULTS = {"raises": _raise, "diverges": _no_number, "full disk": _full_disk}


def _step(network: Any, optimiser: Any, settings: Any, batch: Any) -> Any:
    if next(steps) == 6 and os.environ.get("RANK") == os.environ["FAULTY"]:
        FAULTS[os.environ["FAULT"]](batch)
    return train_step(network, optimiser, settings, batch)


if __name__ == "__main__":
    loop.train_step = _step
    run_stage(main)

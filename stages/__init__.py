"""The scripts of the pipeline, a stage each."""

import os
import signal
import sys
from types import FrameType

from nascommon.runtime.starter import end_with_starter

INTERRUPTED = 130


def exit_on_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End at once and without a word: nothing has begun that could be lost."""
    os._exit(INTERRUPTED)


# `python -m stages.X` comes by here first, and then imports for seconds; `run_stage` takes over from there.
if sys.argv[0] == "-m":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, exit_on_interrupt)
    end_with_starter()

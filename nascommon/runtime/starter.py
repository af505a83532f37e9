"""A rank is ended with the process that started it: left behind, it would hold its memory and its checkpoints.

Nothing heavy is imported here, so that a rank can watch from its first moment on.
"""

from __future__ import annotations

import os
import threading
import time

ELASTIC = "TORCHELASTIC_RUN_ID"
"""Variable that ``torchrun`` sets, and what starts ranks by ``launch``, however many there are."""
BEAT_SECONDS = 1.0
"""Between two looks."""


def end_with_starter() -> None:
    """End this process without a word as soon as its parent is gone, if that is a starter of ranks.

    A thread looks, as the process itself may import for seconds or wait for minutes. A rank that somebody has started
    by hand, in whatever shell, may outlive that.
    """
    if ELASTIC in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(BEAT_SECONDS)
    os._exit(1)

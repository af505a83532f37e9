"""Settings of the C library's allocator: it keeps the memory that a training step frees for the next one."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""
LARGEST_IN_HEAP = 32 * 2**20
"""Bytes above which a tensor is mapped by itself: DEFAULT_MMAP_THRESHOLD_MAX of glibc's malloc on 64 bits."""


def keep_freed_memory() -> None:
    """Let the process keep what it frees; the peak is the same.

    By default glibc gives it back to the system after every step, and the next step takes it again page by page: a
    fifth of the time of a training step on a CPU.
    """
    set_thresholds(trim=-1)


def set_thresholds(*, trim: int) -> None:
    """Keep up to ``trim`` free bytes at the end of the heap, -1 all; where there is no glibc, nothing is done."""
    with suppress(OSError, AttributeError):
        # From the C library of this very process; other libraries than glibc have no mallopt.
        mallopt = ctypes.CDLL(None).mallopt
        # Setting any threshold ends glibc's adapting of this one, which would grow to the same limit by itself.
        mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP)
        mallopt(M_TRIM_THRESHOLD, trim)

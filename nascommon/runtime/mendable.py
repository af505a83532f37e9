"""Errors of the machine that a user can mend, in words, wherever the work is done that meets them."""

from __future__ import annotations

import errno

from nascommon.settings import UserError, one_line

NO_ROOM_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EPIPE}
"""Errors of the system where a file or the output takes no more."""
OUT_OF_MEMORY = "OutOfMemoryError"
"""PyTorch's, of a GPU; known by its name, since PyTorch is imported later."""
LOADER_DIED = "DataLoader worker"
"""How PyTorch's message begins where a process that decodes pictures has died."""
RESUMED = "`dvc repro` continues from the last finished epoch"


def mendable(error: Exception) -> str:
    """Return in a line what the user can mend; nothing where it is a fault of this program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM_ERRORS:
        where = error.filename2 or error.filename or "the output"
        return one_line(f"{where}: cannot be written ({error.strerror}); mend that, then {RESUMED}")
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # PyTorch's optimisers ask for one
        return one_line(
            f"no folder takes temporary files ({error.strerror}); make room, or set TMPDIR to one that does"
        )
    if isinstance(error, RuntimeError) and str(error).startswith(LOADER_DIED):
        reason = str(error).partition(". ")[0].rstrip(" .")
        return one_line(
            f"a process that decodes pictures has died ({reason}), as happens when memory or /dev/shm runs out; make "
            f"some free, or set fewer data.workers, and {RESUMED}"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == OUT_OF_MEMORY:
        reason = str(error).partition("\n")[0] or "no more is to be had"
        return one_line(
            f"the memory is full ({reason}); make some free, and {RESUMED}; or set more pieces or a smaller batch_size"
        )
    return ""

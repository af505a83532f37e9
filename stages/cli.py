"""A stage as a command: whatever ends it, the user reads a line and the shell gets a status."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from nascommon.secrets import masked
from nascommon.settings import UserError, one_line
from stages import INTERRUPTED, exit_on_interrupt

NO_ROOM_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EPIPE}
"""Errors of the system where a file or the output takes no more."""
OUT_OF_MEMORY = "OutOfMemoryError"
"""PyTorch's, of a GPU; known by its name, since PyTorch is imported later."""
LOADER_DIED = "DataLoader worker"
"""How PyTorch's message begins where a process that decodes pictures has died."""
PARAMS = Path("params.yaml")
ParamsFile = Annotated[Path, typer.Option("--params", help="The params file.", show_default=True)]
RESUMED = "`dvc repro` continues from the last finished epoch"


def run_stage(command: Callable[..., None]) -> None:
    """Run a stage's command line; what the user can mend is one message and status 2, Ctrl-C ends with status 130."""
    _prepare()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "show"):
            error.show()
            sys.exit(2)
        if not (message := _mendable(error)):
            if not _speaks():
                sys.exit(1)
            raise
        sys.exit(_fail(f"error: {message}", 2))
    if status == INTERRUPTED:  # also what typer makes of Ctrl-C outside of its standalone mode
        sys.exit(_fail(f"stopped; {RESUMED}", INTERRUPTED))


class _Masked(logging.Formatter):
    """Leaves out the passwords of whatever any library logs."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _prepare() -> None:
    """Let Ctrl-C unwind from here on, and let the output take any name of a file, or nothing where it is closed."""
    log = logging.StreamHandler()
    log.setFormatter(_Masked("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[log])
    if signal.getsignal(signal.SIGINT) is exit_on_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stdout is None:
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text; standard error does so by itself
        sys.stdout.reconfigure(errors="backslashreplace")


def _mendable(error: Exception) -> str:
    """Say what the user can mend; nothing where it is a fault of this program."""
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


def _speaks() -> bool:
    """Return whether this process says what ended it: of several that share the work one does."""
    if "RANK" not in os.environ:
        return True
    from nascommon.runtime.joining import speaks

    return speaks()


def _fail(message: str, status: int) -> int:
    if _speaks():
        with suppress(OSError):
            print(message, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status

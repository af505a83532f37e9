"""A stage as a command: whatever ends it, the user reads a line and the shell gets a status."""

from __future__ import annotations

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

from nascommon.runtime.mendable import RESUMED, mendable
from nascommon.secrets import masked
from stages import INTERRUPTED, exit_on_interrupt

PARAMS = Path("params.yaml")
ParamsFile = Annotated[Path, typer.Option("--params", help="The params file.", show_default=True)]


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
        if not (message := mendable(error)):
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

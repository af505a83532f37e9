"""A file is the old one or the new one, never a part, and one that cannot be written is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from safetensors import SafetensorError

from nascommon.settings import UserError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it is flushed to disk and renamed to it.

    What a killed process left of an earlier try is removed.

    Raises:
        UserError: it cannot be written, for example because the disk is full; what was at ``path`` stays.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        # In the same folder, since a rename is atomic within a file system only; with the suffix last, as writers of
        # tables and pictures choose their format by it; with the process in it, as two may write at a time.
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # some writers, as that of safetensors, put a file in its place that is theirs alone
            # Without it a power cut may leave the new name with no content: a rename may reach the disk before data.
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name ``path`` where it cannot be written.

    Raises:
        UserError: the disk is full, the file too large, the folder not ours, or the name too long.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be written ({reason}); mend that, then run it again") from error


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that are gone left of their tries to write ``path``."""
    for part in path.parent.glob(f".{escape(path.stem)}.*.part{escape(path.suffix)}"):
        pid = part.name.removesuffix(f".part{path.suffix}").rpartition(".")[2]
        if pid.isdigit() and not _is_running(int(pid)):
            part.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 is not sent, only checked; a process of somebody else raises PermissionError
    except OSError as error:
        return isinstance(error, PermissionError)
    return True

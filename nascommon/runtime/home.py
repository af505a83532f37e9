"""A queued experiment runs in a copy of the project that goes away; what must outlast it lies in the project itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

COPIES = Path(".dvc", "tmp", "exps")
"""Folder of the project below which the copies are."""


def home() -> Path:
    """Return the folder of the project: the working directory, or that whose copy it is.

    The place alone tells: DVC names the project in ``DVC_ROOT`` for its own copies, and the copy itself in others.
    """
    here = Path.cwd()
    return next((root for root in here.parents if here.is_relative_to(root / COPIES)), Path())


def at_home(path: str) -> Path:
    """Return where a file or folder of the user's lies: a relative path starts at the project, ``~`` at his own folder.

    Pictures need not be in git, so DVC's copy of the project may lack them.
    """
    place = Path(path)
    with suppress(RuntimeError):  # ~ of a user that there is not stays as it is
        place = place.expanduser()
    return home() / place

"""A long stage leaves its state after every epoch, and takes up only a state that is whole and its own.

A checkpoint file is one line of JSON (format, fingerprint, checksum) and after it what ``torch.save`` wrote; it is read
by ``torch.load(weights_only=True)``, which builds tensors and plain containers and runs no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nascommon.runtime.artefacts import write_bytes
from nascommon.settings import UserError

FORMAT = "gapless-checkpoint-1"


class _ForeignError(ValueError):
    """The file itself is to blame: it is torn, or not of this work."""


class Checkpoint:
    """The resume file of one piece of work, such as a search or one retraining."""

    def __init__(self, path: Path, fingerprint: str, report: Callable[[str], None] = print) -> None:
        """Name the file, the fingerprint that a state must carry to be taken up, and where refusals are reported."""
        self.path = path
        self.fingerprint = fingerprint
        self.report = report

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, strings, lists, dicts) atomically."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
        header = {"format": FORMAT, "fingerprint": self.fingerprint, "sha256": hashlib.sha256(payload).hexdigest()}
        write_bytes(self.path, json.dumps(header).encode() + b"\n" + payload)

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none to take up.

        All tensors are on the CPU, whatever device they were saved from: weights and moments are copied from there to
        where they compute, and the rest is bookkeeping. A torn file, or one of other settings, data or code, is
        reported, moved aside to ``*.refused`` and not used.

        Raises:
            UserError: the file cannot be read at present, as when memory is short; it stays as it is.
        """
        with self._kept():
            if not self.path.is_file():
                return None
            try:
                return _state(self._checked_payload())
            except _ForeignError as error:
                aside = self.path.with_suffix(self.path.suffix + ".refused")
                self.path.replace(aside)
                self.report(f"{self.path}: not taken up ({error}); starting over. The file was kept as {aside.name}")
                return None

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Say in one line what keeps a good file from being read: the machine, not the file."""
        try:
            yield
        except (OSError, MemoryError, RuntimeError) as error:  # PyTorch's own lack of memory is a RuntimeError
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"{self.path}: cannot be read at present ({reason}) and was left as it is; make memory free or let it "
                "be read, and run again, or delete it to start over"
            ) from error

    def _checked_payload(self) -> bytes:
        header_line, _, payload = self.path.read_bytes().partition(b"\n")
        try:
            header = json.loads(header_line)
            form, fingerprint, checksum = header["format"], header["fingerprint"], header["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _ForeignError("it is not a checkpoint of this program") from error
        if form != FORMAT:
            raise _ForeignError(f"its format is {form}, this program writes {FORMAT}")
        if fingerprint != self.fingerprint:
            raise _ForeignError("it belongs to other settings, data or code")
        if hashlib.sha256(payload).hexdigest() != checksum:
            raise _ForeignError("it is torn: its checksum does not fit")
        return payload


def _state(payload: bytes) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        raise _ForeignError("it holds more than tensors and plain containers") from error
    if not isinstance(state, dict):
        raise _ForeignError(f"it holds a {type(state).__name__}, not a state")
    return state


class CheckpointFolder:
    """The checkpoints of one stage run: ``.checkpoints/<stage>/<fingerprint>/``, outside of DVC's outputs.

    DVC deletes a stage's outputs before it runs the stage; what must survive a kill therefore lies here.
    """

    def __init__(self, root: Path, stage: str, fingerprint: str, report: Callable[[str], None] = print) -> None:
        """Name the folder; nothing is created before the first checkpoint is saved."""
        self.folder = root / ".checkpoints" / stage / fingerprint
        self.fingerprint = fingerprint
        self.report = report

    def file(self, name: str) -> Checkpoint:
        """Return the checkpoint of one piece of the stage's work."""
        return Checkpoint(self.folder / f"{name}.ckpt", self.fingerprint, self.report)

    def clear(self) -> None:
        """Remove the folder: the stage is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

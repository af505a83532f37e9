"""A long stage leaves its state after every epoch, and takes up only a state that is whole and its own.

A checkpoint file is one line of JSON (format, fingerprint, checksum) and after it what ``torch.save`` wrote; it is read
by ``torch.load(weights_only=True)``, which builds tensors and plain containers and runs no code.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import pickle
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch

from nascommon.runtime import ranks
from nascommon.runtime.artefacts import digest, write_bytes, write_json
from nascommon.settings import UserError

FORMAT = "gapless-checkpoint-1"
LOCK, IDENTITY = "lock", "identity.json"
KEPT_DAYS = 30
"""Days for which unfinished work of other settings waits for them to come back."""
SUPERSEDED = (["code"], ["torch"], ["code", "torch"])
"""Differences after which the same settings on the same inputs have been computed anew."""


class _ForeignError(ValueError):
    """The file itself is to blame: it is torn, or not of this work."""


class Address(NamedTuple):
    """Place of a checkpoint and the fingerprint it must carry: enough for another process to open it."""

    path: Path
    fingerprint: str


class Checkpoint:
    """The resume file of one piece of work, such as a search or one retraining."""

    def __init__(self, path: Path, fingerprint: str, report: Callable[[str], None] = print) -> None:
        """Name the file, the fingerprint that a state must carry to be taken up, and where refusals are reported."""
        self.path = path
        self.fingerprint = fingerprint
        self.report = report

    @property
    def address(self) -> Address:
        """Path and fingerprint."""
        return Address(self.path, self.fingerprint)

    @ranks.first_only
    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` (tensors, numbers, strings, lists, dicts) atomically; of ranks the first one does."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()  # in memory first, as its checksum goes before it in the file
        header = {"format": FORMAT, "fingerprint": self.fingerprint, "sha256": hashlib.sha256(payload).hexdigest()}
        write_bytes(self.path, json.dumps(header).encode() + b"\n" + payload)

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none to take up.

        All tensors are on the CPU, whatever device they were saved from: weights and moments are copied from there to
        where they compute, and the rest is bookkeeping. A torn file, or one of other settings, data or code, is
        reported, moved aside to ``*.refused`` and not used. Ranks take what the first one reads.

        Raises:
            UserError: the file cannot be read at present, as when memory is short; it stays as it is.
        """
        return ranks.from_first(self._read)

    def _read(self) -> dict[str, Any] | None:
        with self._naming_read_errors():
            if not self.path.is_file():
                return None
            try:
                return _state(self._checked_payload())
            except _ForeignError as error:
                # Kept and not deleted: days of work may be in it, and its owner may know better than we do.
                aside = self.path.with_suffix(self.path.suffix + ".refused")
                self.path.replace(aside)
                self.report(f"{self.path}: not taken up ({error}); starting over. The file was kept as {aside.name}")
                return None

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _naming_read_errors(self) -> Iterator[None]:
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
        with warnings.catch_warnings():  # of a foreign pickle's version; that it is foreign is told in our own words
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        raise _ForeignError("it holds more than tensors and plain containers") from error
    if not isinstance(state, dict):
        raise _ForeignError(f"it holds a {type(state).__name__}, not a state")
    return state


@dataclass(frozen=True)
class Identity:
    """Settings, inputs and code that a stage's unfinished work belongs to; only work of the very same is taken up.

    Attributes:
        settings: hash of what of params.yaml changes the stage's numbers.
        inputs: hash of the files that the stage reads.
        code: hash of the code that its numbers come from.
        torch: version of PyTorch.
    """

    settings: str
    inputs: str
    code: str
    torch: str

    def fingerprint(self, stage: str) -> str:
        """Return the hash of all of it."""
        return digest(stage, asdict(self))

    def differences(self, other: Identity) -> list[str]:
        """Name the parts that differ."""
        return [part.name for part in fields(self) if getattr(self, part.name) != getattr(other, part.name)]


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

    @contextmanager
    def exclusive(self, identity: Identity) -> Iterator[None]:
        """Keep other processes out of the folder, say what lies beside it, and remove it where the work is done.

        Unfinished work of other settings stays: they may come back. That of other code on the same settings and inputs
        is superseded by this work, and what was left for ``KEPT_DAYS`` is forgotten: both go when this work is done. A
        folder without a checkpoint is of no use to anybody.

        Raises:
            UserError: another process is at the same work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a", encoding="ascii") as lock:
            if not _acquire_lock(lock):
                raise UserError(f"{self.folder}: another process does the same work; wait for it, or stop it")
            write_json(self.folder / IDENTITY, asdict(identity))
            beside = self._idle_siblings()
            told = [
                f"{one.name} (other {', '.join(identity.differences(its)) or 'format'})"
                for one, its in beside
                if _has_work(one)
            ]
            if told and not _has_work(self.folder):
                self.report(f"{self.folder.parent}: unfinished work is not taken up: {', '.join(told)}")
            try:
                yield
            # Killed or failed: the folder stays for the next run, unless there is nothing in it to go on with.
            except BaseException:
                if not _has_work(self.folder):
                    self.clear()
                raise
            # Only now: had this work failed, the older one would still be somebody's best.
            for folder, other in beside:
                outdone = identity.differences(other) in SUPERSEDED
                if outdone or not _has_work(folder) or _days_old(folder) > KEPT_DAYS:
                    shutil.rmtree(folder, ignore_errors=True)
        self.clear()

    def _idle_siblings(self) -> list[tuple[Path, Identity]]:
        """Return the other folders of the same stage at which no process is."""
        found = []
        for folder in sorted(self.folder.parent.iterdir()):
            if folder == self.folder or not folder.is_dir():
                continue
            try:
                # Taken for a moment only, to learn whether a process is at it; closing the file gives it back.
                with (folder / LOCK).open("a", encoding="ascii") as lock:
                    idle = _acquire_lock(lock)
                other = Identity(**json.loads((folder / IDENTITY).read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                idle, other = True, Identity("", "", "", "")
            if idle:
                found.append((folder, other))
        return found

    def clear(self) -> None:
        """Remove the folder: the stage is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _acquire_lock(lock: TextIO) -> bool:
    """Take the lock of an open file, unless another process has it; it ends with the process, however that ends."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: loader processes would inherit that
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks is no reason not to work
    return True


def _has_work(folder: Path) -> bool:
    return any(folder.glob("*.ckpt"))


def _days_old(folder: Path) -> float:
    newest = max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
    return (time.time() - newest) / 86_400

"""A long stage leaves its state after every epoch, and takes up only a state that is whole and its own.

A checkpoint file is one line of JSON (format, fingerprint, checksum) and after it what ``torch.save`` wrote; it is read
by ``torch.load(weights_only=True)``, which builds tensors and plain containers and runs no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nascommon.runtime.artefacts import write_bytes

FORMAT = "gapless-checkpoint-1"


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

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """Return the saved state, or None where there is none to take up.

        A torn file, or one of other settings, data or code, is reported, moved aside to ``*.refused`` and not used.
        """
        if not self.path.is_file():
            return None
        try:
            payload = self._checked_payload()
            state = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the file, the answer is to start over
            aside = self.path.with_suffix(self.path.suffix + ".refused")
            self.path.replace(aside)
            self.report(f"{self.path}: not taken up ({error}); starting over. The file was kept as {aside.name}")
            return None
        assert isinstance(state, dict)
        return state

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _checked_payload(self) -> bytes:
        header_line, _, payload = self.path.read_bytes().partition(b"\n")
        try:
            header = json.loads(header_line)
            form, fingerprint, checksum = header["format"], header["fingerprint"], header["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError("it is not a checkpoint of this program") from error
        if form != FORMAT:
            raise ValueError(f"its format is {form}, this program writes {FORMAT}")
        if fingerprint != self.fingerprint:
            raise ValueError("it belongs to other settings, data or code")
        if hashlib.sha256(payload).hexdigest() != checksum:
            raise ValueError("it is torn: its checksum does not fit")
        return payload


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

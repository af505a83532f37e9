"""Files of a run, each read with its fingerprint, so that a page can say where every number of it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nascommon.runtime.artefacts import read_json

FINGERPRINT = 12
"""Hexadecimal digits of a file's SHA-256 that are shown."""


@dataclass
class Files:
    """What lies below the folder of a run.

    Attributes:
        root: folder that holds ``data``.
        read: fingerprint of each file that was read, by its path below ``root``.
    """

    root: Path
    read: dict[str, str] = field(default_factory=dict)
    _lately: list[str] = field(default_factory=list)

    def sources(self) -> list[str]:
        """Return the files that were read since this was last asked."""
        lately, self._lately = list(dict.fromkeys(self._lately)), []
        return lately

    def json(self, path: str) -> Any:
        """Return what a JSON file holds; None where there is no such file.

        Raises:
            UserError: it is torn.
        """
        return read_json(self.root / path) if self._note(path) else None

    def table(self, path: str, *, texts: bool = False) -> pd.DataFrame | None:
        """Return a table; None where there is no such file, or one without rows.

        Args:
            path: of a .parquet or .csv file.
            texts: whether what a CSV file holds is taken by the letter, and no number is read out of it.
        """
        if not self._note(path):
            return None
        file = self.root / path
        table = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, dtype=str if texts else None)
        return None if table.empty else table

    def _note(self, path: str) -> bool:
        file = self.root / path
        if not file.is_file():
            return False
        self._lately.append(path)
        if path not in self.read:
            self.read[path] = hashlib.sha256(file.read_bytes()).hexdigest()[:FINGERPRINT]
        return True

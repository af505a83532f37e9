"""Files that one stage leaves for another are read as strictly as params.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import RootModel, ValidationError
from pydantic_core import ErrorDetails

from nascommon.runtime.artefacts import read_json
from nascommon.settings import Settings, UserError

Record = TypeVar("Record", bound=Settings)

LONGEST_QUOTE = 60
"""Characters that a message repeats of a wrong value."""


def read_record(path: Path, record: type[Record], stage: str) -> Record:
    """Read a JSON file that ``stage`` wrote.

    Raises:
        UserError: one line that names the file, the first key that is wrong, and the command that makes the file anew.
    """
    try:
        # From JSON rather than from Python: there lists count as tuples, and everything else stays strict.
        return record.model_validate_json(json.dumps(read_json(path)))
    except ValidationError as error:
        first, *others = error.errors()
        more = f", and {len(others)} more mistakes" if others else ""
        raise UserError(f"{path}: {complaint(first)}{more}; {remake_hint(stage)}") from error


def complaint(detail: ErrorDetails) -> str:
    """Say on one line which key is wrong and how."""
    key = ".".join(map(str, detail["loc"])) or "the whole"
    if detail["type"] == "missing":
        return f"{key} is missing"
    text = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{key}: {text[:1].lower()}{text[1:]} (got {quoted(detail['input'])})"


def quoted(value: Any) -> str:
    """Write a value on one line of limited length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 3]}..."


def remake_hint(stage: str) -> str:
    """Say how the outputs of a stage are made again."""
    return f"`dvc repro {stage}` makes it anew"


class _Figures(RootModel[dict[str, float | None]]):
    """Numbers by name."""


class Figures(dict[str, Any]):
    """The metrics of a stage; asked for one that the file lacks, it says so as a message to the user."""

    def __init__(self, path: Path, stage: str, figures: dict[str, float | None]) -> None:
        """Remember where the figures come from."""
        super().__init__(figures)
        self.path, self.stage = path, stage

    def __missing__(self, name: str) -> float:
        raise UserError(f"{self.path}: {name} is missing; {remake_hint(self.stage)}")


def read_figures(path: Path, stage: str) -> Figures:
    """Read a file of metrics.

    Raises:
        UserError: the file is missing, torn, or holds something else than numbers by name.
    """
    tree = read_json(path)
    try:
        _Figures.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {complaint(error.errors()[0])}; {remake_hint(stage)}") from error
    return Figures(path, stage, tree)

"""A bank: random architectures of one protocol that were trained from scratch, in a file that grows.

The first line is ``#`` and, as JSON, the protocol and the command that made the file; a CSV table follows, a row for
each training. A row says by which protocol it was made and where it comes from, and its last column is a hash of the
others.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock
from pydantic import ValidationError

from nascommon.runtime.artefacts import digest, write_text
from nascommon.runtime.records import complaint
from nascommon.settings import Settings, UserError
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.truth.known import Known
from nascommon.truth.protocol import TrainingProtocol

CERTIFICATE = ("commit", "hardware", "torch", "date")
COLUMNS = ("genotype", "seed", "accuracy", "params", "seconds", "protocol", *CERTIFICATE, "check")
FIRST_ROW = 3
"""Line of the first row: the head and the names of the columns come before."""
ADVICE = "restore the file, or delete it to begin anew"


class Head(Settings):
    """The first line of a bank."""

    command: str
    """Command that trained the architectures."""
    protocol: TrainingProtocol


@dataclass(frozen=True)
class Row:
    """One training from scratch.

    Attributes:
        genotype: the architecture.
        seed: of initial weights, drop-path, order and augmentation.
        accuracy: share of the test pictures that the network of the last epoch has right.
        params: trainable numbers of the network.
        seconds: of the training.
        certificate: where it comes from: commit, hardware, torch, date.
    """

    genotype: Genotype
    seed: int
    accuracy: float
    params: int
    seconds: float
    certificate: tuple[str, str, str, str]

    def cells(self, protocol: str) -> list[str]:
        """Return the cells of the row, the hash last."""
        values = [to_text(self.genotype), str(self.seed), repr(self.accuracy), str(self.params), f"{self.seconds:.2f}"]
        values += [protocol, *self.certificate]
        return [*values, digest(values)]


@dataclass(frozen=True)
class Bank:
    """Known accuracies of random architectures, all of one protocol."""

    head: Head
    rows: tuple[Row, ...]

    @property
    def protocol(self) -> str:
        """How the architectures were trained and tested, in words for a report."""
        return self.head.protocol.in_words()

    @cached_property
    def _rows_of(self) -> dict[Genotype, list[Row]]:
        found: dict[Genotype, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.genotype, []).append(row)
        return found

    def known(self, genotype: Genotype) -> Known | None:
        """Return the accuracies of an architecture, in the order in which it was trained; None where it is unknown."""
        rows = self._rows_of.get(genotype)
        return Known(tuple(row.accuracy for row in rows)) if rows else None

    def genotypes(self) -> Sequence[Genotype]:
        """Return the architectures in the order in which they were first trained."""
        return tuple(self._rows_of)

    def params(self, genotype: Genotype) -> int:
        """Return the trainable numbers of an architecture that is known."""
        return self._rows_of[genotype][0].params

    def has(self, genotype: Genotype, seed: int) -> bool:
        """Say whether an architecture was trained with a seed."""
        return any(row.seed == seed for row in self._rows_of.get(genotype, []))


def matching_bank(here: TrainingProtocol, own: Path | None) -> Bank | str:
    """Return what is known by a protocol, from the banks of the package and the user's own; or why nothing is.

    Args:
        here: the protocol that accuracies shall be compared by.
        own: the user's bank, which need not be there yet.

    Raises:
        UserError: a bank is torn or edited.
    """
    banks = read_banks(own)
    differences = {path: bank.head.protocol.difference(here) for path, bank in banks.items()}
    fitting = [bank for path, bank in banks.items() if differences[path] is None]
    if fitting:
        rows = {(row.genotype, row.seed): row for bank in fitting for row in bank.rows}
        return Bank(fitting[0].head, tuple(rows.values()))
    about = [path for path in banks if path == own or banks[path].head.protocol.data.source == here.data.source]
    if not about:
        return f"there is no bank of {here.data.source}"
    return f"the bank {about[-1].name} does not apply: {differences[about[-1]]}"


def read_banks(own: Path | None) -> dict[Path, Bank]:
    """Read the banks of the package and the user's own, if it is there yet.

    Raises:
        UserError: one is torn or edited.
    """
    return {path: read_bank(path) for path in [*shipped(), *([own] if own is not None and own.exists() else [])]}


def shipped() -> list[Path]:
    """Return the banks that come with the package."""
    folder = resources.files("nascommon.truth").joinpath("banks")
    return sorted(Path(str(file)) for file in folder.iterdir() if file.name.endswith(".csv")) if folder.is_dir() else []


def read_bank(path: Path) -> Bank:
    """Read a bank.

    Raises:
        UserError: it is missing, torn or edited; the line names file, row and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable bank ({error}); {ADVICE}") from error
    first, _, rest = text.partition("\n")
    head, protocol = _head(path, first)
    if not text.endswith("\n"):
        _refuse(path, text.count("\n") + 1, COLUMNS[-1], "the row is torn, its end is missing")
    lines = _lines(path, rest)
    if tuple(next(lines, ())) != COLUMNS:
        raise UserError(f"{path}: row 2: the columns must be {', '.join(COLUMNS)}; {ADVICE}")
    rows = tuple(_row(path, line, cells, protocol) for line, cells in enumerate(lines, FIRST_ROW))
    seen: set[tuple[Genotype, int]] = set()
    for line, row in enumerate(rows, FIRST_ROW):
        if (row.genotype, row.seed) in seen:
            _refuse(path, line, "seed", f"the architecture is there already with seed {row.seed}")
        seen.add((row.genotype, row.seed))
    return Bank(head, rows)


def add_rows(path: Path, head: Head, rows: Iterable[Row]) -> int:
    """Add trainings to a bank, which is made where there is none; return how many were new.

    The file is written whole, beside the old one, so a killed process tears nothing.

    Raises:
        UserError: the bank is torn, or of another protocol.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        bank = read_bank(path) if path.exists() else Bank(head, ())
        if difference := bank.head.protocol.difference(head.protocol):
            raise UserError(f"{path}: a bank has one protocol, and {difference}; name another file")
        new = [row for row in rows if not bank.has(row.genotype, row.seed)]
        text = path.read_text(encoding="utf-8") if path.exists() else _beginning(head)
        if new:
            write_text(path, text + _table(row.cells(_protocol_of(text)) for row in new))
    return len(new)


def to_text(genotype: Genotype) -> str:
    """Write a genotype on one line, as JSON."""
    return json.dumps(genotype.to_json(), separators=(",", ":"))


def _beginning(head: Head) -> str:
    return f"# {json.dumps(head.model_dump(mode='json'))}\n{_table([COLUMNS])}"


def _protocol_of(text: str) -> str:
    """Return the hash of the protocol as the first line has it: what is written never changes, what it means may."""
    return digest(json.loads(text.partition("\n")[0].removeprefix("#"))["protocol"])


def _table(rows: Iterable[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()


def _lines(path: Path, text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text))
    except csv.Error as error:
        raise UserError(f"{path}: no table of a bank ({error}); {ADVICE}") from error


def _head(path: Path, line: str) -> tuple[Head, str]:
    try:
        head = Head.model_validate_json(line.removeprefix("#"))
    except ValidationError as error:
        raise UserError(f"{path}: row 1: not the head of a bank: {complaint(error.errors()[0])}; {ADVICE}") from error
    return head, _protocol_of(line)


def _row(path: Path, line: int, cells: list[str], protocol: str) -> Row:
    for column, _ in zip(COLUMNS[len(cells) :], "-", strict=False):
        _refuse(path, line, column, "is missing")
    values = dict(zip(COLUMNS, cells, strict=False))
    row = Row(
        _genotype(path, line, values["genotype"]),
        int(_number(path, line, values, "seed", whole=True)),
        float(_number(path, line, values, "accuracy", most=1.0)),
        int(_number(path, line, values, "params", whole=True)),
        float(_number(path, line, values, "seconds")),
        (values["commit"], values["hardware"], values["torch"], values["date"]),
    )
    if values["protocol"] != protocol:
        _refuse(path, line, "protocol", f"must be that of the head, {protocol} (got {values['protocol']!r})")
    if cells != [*cells[: len(COLUMNS) - 1], digest(cells[: len(COLUMNS) - 1])]:
        _refuse(path, line, "check", "does not fit the other columns, so the row was edited")
    return row


def _genotype(path: Path, line: int, text: str) -> Genotype:
    try:
        tree: Any = json.loads(text)
    except ValueError:
        _refuse(path, line, "genotype", "is no JSON")
    return genotype_from_json(tree, f"{path}: row {line}: genotype")


def _number(
    path: Path, line: int, values: dict[str, str], column: str, *, most: float = float("inf"), whole: bool = False
) -> float | int:
    text = values[column]
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        _refuse(path, line, column, f"must be a number (got {text!r})")
    if not 0 <= value <= most:
        _refuse(path, line, column, f"must be from 0 to {most:g} (got {text})")
    return value


def _refuse(path: Path, line: int, column: str, what: str) -> NoReturn:
    raise UserError(f"{path}: row {line}: {column}: {what}; {ADVICE}")

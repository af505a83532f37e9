"""Two columns of numbers, from whatever CSV file the user has."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nascommon.settings import UserError

Row = tuple[int, list[str]]
"""Line number in the file and its cells."""
PAIR = 2
DELIMITERS = ("\t", ";", ",")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
"""Number with a decimal comma, as spreadsheets of half the world write it; they part columns by semicolons then."""
COMMENT, PERCENT = "#", "%"


@dataclass(frozen=True)
class Pairs:
    """The two columns of numbers of a file, in its order, and how its lines were taken."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    names: tuple[str, str]
    header: bool
    """True where the first row was taken for the names of the columns."""
    comments: int
    """Lines left out because they begin with #."""


def read_pairs(path: Path) -> Pairs:
    """Read the two columns of numbers of a CSV file.

    Comma, semicolon or tab; further columns that are not numbers are ignored, and so are lines that begin with ``#``.
    The first row names the columns unless all its cells are numbers: ``arch,25,600`` is a header, since nothing tells
    it from an architecture of the name ``arch``, and a file usually has one. Percent signs are read where the whole
    column has them. Raises `UserError` for anything else, with the line number where a value is missing.
    """
    rows, delimiter, comments = _rows(path)
    names, body = _split_header(path, rows, delimiter)
    numeric = [column for column in range(len(names)) if _mostly_numbers(body, column, delimiter)]
    if len(numeric) != PAIR:
        found = ", ".join(names[column] for column in numeric) or "none"
        raise UserError(
            f"{path}: exactly two columns of numbers needed, found {len(numeric)} ({found}) among the columns "
            f"{', '.join(names)}; keep the two to be compared"
        )
    x, y = (_column(path, body, column, names[column], delimiter) for column in numeric)
    return Pairs(x, y, (names[numeric[0]], names[numeric[1]]), len(body) < len(rows), comments)


def _rows(path: Path) -> tuple[list[Row], str, int]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a CSV file with two columns") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file; save it as CSV") from error
    comments = [line.lstrip().startswith(COMMENT) for line in lines]
    lines = ["" if comment else line for line, comment in zip(lines, comments, strict=True)]  # line numbers stay
    first = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not a CSV file ({error})") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        but = f" but for {sum(comments)} lines that begin with {COMMENT}" if any(comments) else ""
        raise UserError(f"{path}: empty{but}; two columns of numbers needed")
    return rows, delimiter, sum(comments)


def _split_header(path: Path, rows: list[Row], delimiter: str) -> tuple[list[str], list[Row]]:
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise UserError(f"{path}:{line}: {len(cells)} columns, but {width} in line {rows[0][0]}")
    first, numbered = rows[0][1], [f"column {column + 1}" for column in range(width)]
    if all(_number(cell, delimiter) is not None for cell in first):
        return numbered, rows
    return [name or number for name, number in zip(first, numbered, strict=True)], rows[1:]


def _mostly_numbers(body: list[Row], column: int, delimiter: str) -> bool:
    """More than half: a column of numbers with a hole is an error to report, not a column of words to skip."""
    values = [_number(cells[column], delimiter) for _, cells in body]
    return 2 * sum(value is not None and math.isfinite(value) for value in values) > len(body)


def _column(path: Path, body: list[Row], column: int, name: str, delimiter: str) -> NDArray[np.float64]:
    values = []
    percent = body[0][1][column].endswith(PERCENT)
    for line, cells in body:
        value = _number(cells[column], delimiter)
        if value is None or not math.isfinite(value):
            raise UserError(f"{path}:{line}: {name}: a number is missing (got {cells[column]!r})")
        if cells[column].endswith(PERCENT) != percent:
            raise UserError(
                f"{path}:{line}: {name}: all or none of the numbers with a percent sign "
                f"(got {cells[column]!r} after {body[0][1][column]!r})"
            )
        values.append(value)
    return np.array(values)


def _number(cell: str, delimiter: str) -> float | None:
    """Return the number; 97.3 of ``97.3%``, since only the order within a column counts. None for what is none."""
    cell = cell.removesuffix(PERCENT).rstrip()
    if delimiter == ";" and DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None

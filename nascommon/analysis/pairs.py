"""Two columns of numbers, from whatever CSV file the user has."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nascommon.settings import UserError

Row = tuple[int, list[str]]
"""Line number in the file and its cells."""
PAIR = 2
DELIMITERS = ("\t", ";", ",")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
"""What spreadsheets of half the world write, and then part columns by semicolons."""


def read_pairs(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, str]]:
    """Read the two columns of numbers of a CSV file: both columns and their names, in the order of the file.

    Comma, semicolon or tab; with a header line or without; further columns that are not numbers are ignored. Raises
    `UserError` for anything else, with the line number where a value is missing.
    """
    rows, delimiter = _rows(path)
    header, body = _split_header(path, rows, delimiter)
    numeric = [column for column in range(len(header)) if _mostly_numbers(body, column, delimiter)]
    if len(numeric) != PAIR:
        found = ", ".join(header[column] for column in numeric) or "none"
        raise UserError(
            f"{path}: exactly two columns of numbers needed, found {len(numeric)} ({found}) among the columns "
            f"{', '.join(header)}; keep the two to be compared"
        )
    x, y = (_column(path, body, column, header[column], delimiter) for column in numeric)
    return x, y, (header[numeric[0]], header[numeric[1]])


def _rows(path: Path) -> tuple[list[Row], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a CSV file with two columns") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file; save it as CSV") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not a CSV file ({error})") from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise UserError(f"{path}: empty; two columns of numbers needed")
    return rows, delimiter


def _split_header(path: Path, rows: list[Row], delimiter: str) -> tuple[list[str], list[Row]]:
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise UserError(f"{path}:{line}: {len(cells)} columns, but {width} in the first line")
    first = rows[0][1]
    if any(math.isfinite(_number(cell, delimiter)) for cell in first):
        return [f"column {column + 1}" for column in range(width)], rows
    return [name or f"column {column + 1}" for column, name in enumerate(first)], rows[1:]


def _mostly_numbers(body: list[Row], column: int, delimiter: str) -> bool:
    """More than half: a column of numbers with a hole is an error to report, not a column of words to skip."""
    return 2 * sum(math.isfinite(_number(cells[column], delimiter)) for _, cells in body) > len(body)


def _column(path: Path, body: list[Row], column: int, name: str, delimiter: str) -> NDArray[np.float64]:
    values = []
    for line, cells in body:
        value = _number(cells[column], delimiter)
        if not math.isfinite(value):
            raise UserError(f"{path}:{line}: {name}: a number is missing (got {cells[column]!r})")
        values.append(value)
    return np.array(values)


def _number(cell: str, delimiter: str) -> float:
    if delimiter == ";" and DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return math.nan

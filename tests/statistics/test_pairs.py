"""Two columns of numbers are read from any reasonable CSV file, and everything else is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nascommon.settings import UserError
from nascommon.statistics.pairs import read_pairs

X, Y = [0.5, 0.25, -1.0], [90.0, 80.5, 70.0]


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    return path


def read(folder: Path, text: str, encoding: str = "utf-8") -> tuple[list[float], list[float], tuple[str, str], bool]:
    """Both columns, their names, and whether the file had a header."""
    pairs = read_pairs(written(folder, text, encoding))
    return pairs.x.tolist(), pairs.y.tolist(), pairs.names, pairs.header


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_delimiter_is_understood(tmp_path: Path, delimiter: str, newline: str) -> None:
    rows = [("search", "retrain"), ("0.5", "90"), ("0.25", "80.5"), ("-1e0", "70")]
    assert read(tmp_path, newline.join(delimiter.join(row) for row in rows)) == (X, Y, ("search", "retrain"), True)


def test_a_first_row_of_numbers_alone_is_an_architecture_and_columns_are_numbered(tmp_path: Path) -> None:
    assert read(tmp_path, "0.5,90\n0.25,80.5\n-1,70\n") == (X, Y, ("column 1", "column 2"), False)


def test_columns_of_words_are_ignored(tmp_path: Path) -> None:
    text = 'name,search,"why, then",retrain\na,0.5,"x, y",90\nb,0.25,,80.5\nc,-1,z,70\n'
    assert read(tmp_path, text) == (X, Y, ("search", "retrain"), True)


def test_a_first_row_with_a_word_is_the_header_even_if_its_names_are_numbers(tmp_path: Path) -> None:
    text = "arch,25,600\na,0.5,90\nb,0.25,80.5\nc,-1,70\n"
    assert read(tmp_path, text) == (X, Y, ("25", "600"), True)


@pytest.mark.parametrize("first", ["nan,3\n", "3,inf\n"])
def test_a_first_row_with_a_number_that_is_none_is_no_header(tmp_path: Path, first: str) -> None:
    with pytest.raises(UserError, match=r"pairs\.csv:1: column \d: a number is missing"):
        read_pairs(written(tmp_path, f"{first}1,2\n3,4\n5,6\n"))


def test_comments_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "# two runs; seed 0\n  # and more\nsearch,retrain\n0.5,90\n#0.1,70\n0.25,80.5\n-1,70\n"
    assert read(tmp_path, text) == (X, Y, ("search", "retrain"), True)
    assert read_pairs(tmp_path / "pairs.csv").comments == 3


@pytest.mark.parametrize("sign", ["%", " %"])
def test_percent_signs_are_read(tmp_path: Path, sign: str) -> None:
    text = f"a,b\n0.5,90{sign}\n0.25,80.5{sign}\n-1,70{sign}\n"
    assert read(tmp_path, text) == (X, Y, ("a", "b"), True)


def test_a_spreadsheet_with_decimal_commas_byte_order_mark_and_blank_lines_is_read(tmp_path: Path) -> None:
    text = "search;\n0,5;90\n\n0,25;80,5\n;\n-1;70\n\n"
    assert read(tmp_path, text, "utf-8-sig") == (X, Y, ("search", "column 2"), True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n ,\n", "empty"),
        ("a,b\n", r"exactly two columns .* found 0 \(none\) among the columns a, b"),
        ("a,b\nx,1\ny,2\n", r"found 1 \(b\)"),
        ("a,b,c\n1,2,3\n4,5,6\n", r"found 3 \(a, b, c\)"),
        ("a,b\n1,2\n3\n", r"pairs\.csv:3: 1 columns, but 2 in line 1"),
        ("# x\n#y\n", r"empty but for 2 lines that begin with #"),
        ("# a comment\na,b\n1,2\n3\n", r"pairs\.csv:4: 1 columns, but 2 in line 2"),
        ("a,b\n97.3%,1\n0.95,2\n96.1%,3\n", r"pairs\.csv:3: a: all or none .* percent sign \(got '0\.95' after"),
        ("a,b\n1,2\n\n3,4,5\n", r"pairs\.csv:4: 3 columns"),
        ("a,b\n1,2\n3,4\n\n5,\n", r"pairs\.csv:5: b: a number is missing \(got ''\)"),
        ("a,b\n1,2\n3,4\nx,6\n", r"pairs\.csv:4: a: a number is missing \(got 'x'\)"),
        ("a,b\n1,2\nnan,4\n5,6\n", r"pairs\.csv:3: a: .*'nan'"),
        ("a,b\n1,2\n3,inf\n5,6\n", r"pairs\.csv:3: b: .*'inf'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_pairs(written(tmp_path, text))


def test_what_is_no_text_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pairs\.csv: not a UTF-8 text file"):
        read_pairs(written(tmp_path, "a,b\n1,2\n", "utf-16"))
    with pytest.raises(UserError, match=r"missing\.csv: cannot be read \(No such file"):
        read_pairs(tmp_path / "missing.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_pairs(tmp_path)


def test_a_cell_longer_than_any_number_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pairs\.csv:2: not a CSV file"):
        read_pairs(written(tmp_path, "a,b\n" + "1" * 200_000 + ",2\n"))

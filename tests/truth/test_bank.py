"""A bank gives back what was put in, and is refused where it was torn, edited, or made by another protocol."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from nascommon.settings import UserError
from nascommon.space.space import SPACES
from nascommon.truth.bank import COLUMNS, add_rows, read_bank
from nascommon.truth.known import Known, Truth
from nascommon.truth.protocol import HASHES, drawn_from
from tests.truth.small import genotype, head, row

ROWS = [row(0, 7, 0.95), row(1, 8, 0.5), row(0, 2**62, 1348 / 1349)]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "bank.csv"
    assert add_rows(path, head(), ROWS) == 3
    return path


def test_what_was_put_in_comes_out(bank: Path) -> None:
    read = read_bank(bank)
    assert read.rows == tuple(ROWS)
    truth: Truth = read
    assert truth.genotypes() == (genotype(0), genotype(1))
    assert truth.known(genotype(0)) == Known((0.95, 1348 / 1349))
    assert truth.known(genotype(5)) is None
    assert "449 pictures of digits for 24 epochs" in truth.protocol
    assert read.params(genotype(1)) == 5001


def test_a_training_that_is_there_is_not_added_again(bank: Path) -> None:
    before = bank.read_text(encoding="utf-8")
    assert add_rows(bank, head(), ROWS) == 0
    assert bank.read_text(encoding="utf-8") == before
    assert add_rows(bank, head(), [row(0, 8, 0.9), row(0, 7, 0.1)]) == 1
    assert bank.read_text(encoding="utf-8").startswith(before)
    assert read_bank(bank).known(genotype(0)) == Known((0.95, 1348 / 1349, 0.9))


def test_another_protocol_is_named_by_what_differs(bank: Path) -> None:
    with pytest.raises(UserError, match=r"bank.csv: a bank has one protocol, and training.epochs differs \(24 there, "
                                        r"30 here\); name another file"):  # fmt: skip
        add_rows(bank, head(epochs=30), [])
    assert head().protocol.difference(head().protocol) is None


def test_what_a_hash_stands_for_is_said_in_its_place() -> None:
    protocol = head().protocol
    data, space = protocol.data.model_copy(update={"content_hash": "other"}), SPACES["s2"]
    assert protocol.difference(protocol.model_copy(update={"data": data})) == HASHES["data.content_hash"]
    drawn = drawn_from(space).model_copy(update={"name": protocol.space.name})
    assert protocol.difference(protocol.model_copy(update={"space": drawn})) == HASHES["space.content_hash"]
    named = protocol.difference(protocol.model_copy(update={"space": drawn_from(space)}))
    assert named == 'space.name differs ("darts" there, "s2" here)'


def test_a_key_that_came_later_has_its_default_in_an_older_bank(bank: Path) -> None:
    first, _, rows = bank.read_text(encoding="utf-8").partition("\n")
    tree = json.loads(first.removeprefix("#"))
    del tree["protocol"]["training"]["label_smoothing"]
    names = rows.partition("\n")[0]
    bank.write_text(f"# {json.dumps(tree)}\n{names}\n", encoding="utf-8")
    add_rows(bank, head(), ROWS)
    assert read_bank(bank).rows == tuple(ROWS)
    with pytest.raises(UserError, match=r"label_smoothing differs \(0\.0 there, 0\.1 here\)"):
        add_rows(bank, head(label_smoothing=0.1), ROWS)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("accuracy", "93.5", "accuracy: must be from 0 to 1 (got 93.5)"),
        ("accuracy", "nan", "accuracy: must be from 0 to 1 (got nan)"),
        ("accuracy", "", "accuracy: must be a number (got '')"),
        ("accuracy", "0.96", "check: does not fit the other columns, so the row was edited"),
        ("seed", "1.5", "seed: must be a number (got '1.5')"),
        ("params", "-3", "params: must be from 0 to inf (got -3)"),
        ("genotype", "{", "genotype: is no JSON"),
        ("genotype", '{"schema":2}', "genotype: schema: must be 1 (got 2)"),
        ("protocol", "0", "protocol: must be that of the head"),
        ("commit", "ffff", "check: does not fit the other columns, so the row was edited"),
    ],
)
def test_an_edited_row_is_refused_by_row_and_column(bank: Path, column: str, value: str, why: str) -> None:
    edit(bank, 4, {column: value})
    with pytest.raises(UserError) as refused:
        read_bank(bank)
    assert str(refused.value).startswith(f"{bank}: row 4: {why}")


def test_a_torn_bank_is_refused(bank: Path) -> None:
    text = bank.read_text(encoding="utf-8")
    for length, why in ((len(text) - 4, "row 5: check: the row is torn"), (40, "row 1: not the head of a bank")):
        bank.write_text(text[:length], encoding="utf-8")
        with pytest.raises(UserError, match=why):
            read_bank(bank)
    bank.write_text("\n".join([*text.splitlines()[:4], '"{}",7']) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 5: accuracy: is missing"):
        read_bank(bank)
    bank.write_text(text + text.splitlines(keepends=True)[2], encoding="utf-8")
    with pytest.raises(UserError, match="row 6: seed: the architecture is there already with seed 7"):
        read_bank(bank)
    bank.write_text(text.replace("accuracy,params", "params,accuracy"), encoding="utf-8")
    with pytest.raises(UserError, match="row 2: the columns must be genotype, seed, accuracy"):
        read_bank(bank)
    bank.write_text(text + "x" * 200_000 + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="no table of a bank"):
        read_bank(bank)


def edit(bank: Path, line: int, change: dict[str, str]) -> None:
    """Change cells of a row and leave its hash as it is."""
    lines = bank.read_text(encoding="utf-8").splitlines(keepends=True)
    cells = dict(zip(COLUMNS, next(csv.reader([lines[line - 1]])), strict=True)) | change
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells.values())
    lines[line - 1] = written.getvalue()
    bank.write_text("".join(lines), encoding="utf-8")

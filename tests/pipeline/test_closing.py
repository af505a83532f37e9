"""A run ends with its result on a screen, also where the cache had all of it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from nascommon.pipeline.closing import LATER, print_closing, seconds_of
from nascommon.runtime.progress import WIDTH
from stages.summary import main
from tests.report.results import results
from tests.report.test_verdict import MANY
from tests.stages.project import Project, command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a result and the records of three stages."""
    found = results(random=MANY, title="darts on digits, seed 3", provenance={"method": "darts", "seed": 3})
    write(tmp_path / "data/evaluate/results.json", found)
    write(tmp_path / "data/metrics/search.json", {"search_seconds": 65.0, "stage_seconds": 70.0})
    write(tmp_path / "data/metrics/kendall_tau.json", {"stage_seconds": 20.0})
    write(tmp_path / "data/metrics/transfer.json", {"skipped": 1})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, tree: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")


def test_all_that_counts_stands_in_about_ten_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_closing()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 14
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(" ".join(lines).split())
    for words in (
        "darts on digits, seed 3",
        "verdict Not shown to be better than random",
        "accuracy Test accuracy 93.00 %",
        "gap Gap +9.0 points",
        "truth Search scores",
        "time 1m30s in all: search 1m10s, kendall_tau 20s",
        "report data/evaluate/report.md",
        "try next dvc exp run -S search.method=da2s",
    ):
        assert words in text, textwrap.fill(text)
    assert "transfer" not in text


def test_the_page_is_named_where_there_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data/evaluate/report.html").write_text("")
    print_closing()
    assert "data/evaluate/report.html" in capsys.readouterr().out


def test_a_search_that_was_killed_and_went_on_counts_whole(tmp_path: Path) -> None:
    record = tmp_path / "search.json"
    write(record, {"search_seconds": 600.0, "stage_seconds": 30.0})
    assert seconds_of("search", record) == 600
    # Trainings side by side: their sum is no time that anybody waited.
    write(record, {"train_seconds": 600.0, "stage_seconds": 300.0})
    assert seconds_of("baseline", record) == 300


def test_nothing_has_a_time_before_it_ran(tmp_path: Path) -> None:
    assert seconds_of("search", tmp_path / "none.json") == 0


def test_without_a_result_the_command_says_what_makes_one(tmp_path: Path) -> None:
    ended = command(main, tmp_path)
    assert ended.status == 2
    assert (
        ended.err == "error: data/evaluate/results.json: no such file; run `dvc repro` to make what comes before it\n"
    )


def test_the_last_stage_prints_it_unless_it_is_printed_later(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = finished.stage("evaluate")
    assert "try next  dvc exp run -S baseline.architectures=39" in said
    assert "prepare" in said.partition("in all:")[2]
    assert command(main, finished.folder).out in said
    monkeypatch.setenv(LATER, "later")
    assert "try next" not in finished.stage("evaluate")

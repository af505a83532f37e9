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
    write(tmp_path / "data/metrics/search.json", {"search_seconds": 65.0})
    write(tmp_path / "data/metrics/transfer.json", {"skipped": 1})
    for stage, seconds in {"search": 70.0, "kendall_tau": 20.0, "transfer": 0}.items():
        write(tmp_path / f"data/times/{stage}.json", {"seconds": seconds})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, tree: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")


def test_all_that_counts_stands_in_about_ten_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_closing()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 16
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(" ".join(lines).split())
    for words in (
        "darts on digits, seed 3",
        "verdict Not shown to be better than random",
        "accuracy Test accuracy 93.00 %",
        "gap Gap +9.0 points",
        "truth Search scores",
        "cost 1m32s: search 1m00s, selection 2.0s, retrain 30s (`seconds` in DVC and MLflow)",
        "time 1m30s in all: search 1m10s, kendall_tau 20s (whole processes;",
        "report data/evaluate/report.md",
        'try next make study METHODS="darts da2s" # the method whose gap is narrowest; 3 seeds each',
    ):
        assert words in text, textwrap.fill(text)
    assert "transfer" not in text
    assert lines[-1].endswith("3 seeds each"), "a command stands on one line"


def test_the_page_is_named_where_there_is_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data/evaluate/report.html").write_text("")
    print_closing()
    assert "data/evaluate/report.html" in capsys.readouterr().out


def test_a_search_that_was_killed_and_went_on_counts_whole(folder: Path) -> None:
    write(folder / "data/metrics/search.json", {"search_seconds": 600.0})
    assert seconds_of("search") == 600
    # Trainings side by side: their sum is no time that anybody waited.
    write(folder / "data/metrics/baseline.json", {"train_seconds": 600.0})
    write(folder / "data/times/baseline.json", {"seconds": 300.0})
    assert seconds_of("baseline") == 300
    assert seconds_of("discretize") == 0


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

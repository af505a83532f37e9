"""Whoever reads the log of a stage sees one plain line per epoch, the time left, and where everything lies."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nascommon.runtime.progress import (
    WIDTH,
    duration,
    fastest_to_slowest,
    number,
    percent,
    pieces,
    points,
    progress,
    share_worse,
    summary,
)

Wait = Callable[[float], None]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Wait:
    """A clock that goes on only when it is told to."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what went to stdout, as lines; control characters would be noise in a log file."""
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.search(r"[^\n\x20-\x7e\xa0-\uffff]", captured.out) is None
    return captured.out.splitlines()


def test_in_a_file_there_is_one_line_per_epoch(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with progress("search", 3) as show:
        for epoch in range(3):
            for batch in range(4):
                wait(0.5)
                show.batch(batch + 1, 4)
            show.step(epoch, {"train loss": number(1.5 - epoch / 2), "accuracy": "25.00 %"})
    assert printed(capsys) == [
        "search epoch 1/3  train loss 1.5000  accuracy 25.00 %  2.0s/epoch  eta 4.0s",
        "search epoch 2/3  train loss 1.0000  accuracy 25.00 %  2.0s/epoch  eta 2.0s",
        "search epoch 3/3  train loss 0.5000  accuracy 25.00 %  2.0s/epoch",
    ]


def test_long_units_are_told_of_every_minute_and_later_rarer_with_what_is_left_by_the_fastest_and_the_slowest(
    capsys: pytest.CaptureFixture[str], wait: Wait
) -> None:
    asked: list[int] = []

    def what() -> str:
        asked.append(1)
        return "stage 3 of 9"

    with progress("study", 4, unit="run", each=fastest_to_slowest) as show:
        show.tells_nothing()
        for _ in range(8):
            wait(15)
            show.under_way(what)
        show.step(0, {})
        for run, seconds in enumerate((60, 120), 1):
            wait(seconds)
            show.step(run, {})
            wait(0)
            show.under_way(what)  # a line was just printed
        wait(70)
        show.under_way(what)
        wait(3600)
        show.under_way(what)
        wait(300)
        show.under_way(what)
    assert printed(capsys) == [
        "study run 1/4  stage 3 of 9",
        "study run 1/4  stage 3 of 9",
        "study run 1/4",
        "study run 2/4  1m00s/run  eta 2m00s",
        "study run 3/4  2m00s/run  eta 1m00s to 2m00s",
        "study run 4/4  stage 3 of 9  1m10s so far  eta up to 50s",
        "study run 4/4  stage 3 of 9  1h01m so far",
    ]
    assert len(asked) == 4, "a look at the log of a run costs a second"


def test_a_line_is_written_when_its_epoch_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("search", 2) as show:
        assert printed(capsys) == []
        show.step(0, {})
        assert len(printed(capsys)) == 1


def test_the_note_ends_the_line_and_the_unit_is_named(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with progress("kendall", 2, unit="cell") as show:
        wait(65)
        show.step(0, {"accuracy": percent(0.5)}, note="best so far")
    assert printed(capsys) == ["kendall cell 1/2  accuracy 50.00 %  1m05s/cell  eta 1m05s  best so far"]


def test_the_eta_follows_the_last_five_epochs(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with progress("search", 107) as show:
        for epoch, seconds in enumerate([1000, 1000, 20, 20, 20, 20, 20]):
            wait(seconds)
            show.step(epoch, {})
    assert "eta 33m20s" in printed(capsys)[-1]


def test_a_resumed_loop_says_where_it_goes_on_and_counts_on(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with progress("search", 12) as show:
        show.resume(10)
        wait(3)
        show.step(10, {})
    assert printed(capsys) == [
        "search: continuing after epoch 10 of 12",
        "search epoch 11/12  3.0s/epoch  eta 3.0s",
    ]


def test_pieces_side_by_side_are_given_the_mean_time_and_the_time_until_all_are_done(
    capsys: pytest.CaptureFixture[str], wait: Wait
) -> None:
    with pieces("baseline", 4, unit="network", at_a_time=2) as show:
        for together in ((0, 1), (2, 3)):
            wait(17)
            for index in together:
                show.part(index, 1, 1)
            for index in together:
                show.end(index, {"valid acc": percent(0.5)})
                wait(0.1)
    assert printed(capsys) == [
        "baseline network 1/4  valid acc 50.00 %  8.5s/network  eta 17s",
        "baseline network 2/4  valid acc 50.00 %  8.5s/network  eta 17s",
        "baseline network 3/4  valid acc 50.00 %  8.5s/network  eta 0.0s",
        "baseline network 4/4  valid acc 50.00 %  8.6s/network",
    ]


def test_pieces_that_an_earlier_process_finished_have_no_time(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with pieces("baseline", 3, unit="network", at_a_time=1) as show:
        show.resume(1)
        show.end(0, {})
        wait(2)
        show.part(1, 1, 2)
        wait(2)
        show.part(1, 2, 2)
        show.end(1, {}, note="late")
    assert printed(capsys) == [
        "baseline: continuing after network 1 of 3",
        "baseline network 1/3",
        "baseline network 2/3  4.0s/network  eta 4.0s  late",
    ]


def test_the_counts_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("search", 100) as show:
        for epoch in (0, 9, 99):
            show.step(epoch, {"loss": number(1.0)})
    assert {line.index("/100") for line in printed(capsys)} == {len("search epoch 100")}


def test_metrics_that_do_not_fit_are_left_out_from_the_end(capsys: pytest.CaptureFixture[str], wait: Wait) -> None:
    with progress("search", 2) as show:
        wait(1)
        show.step(0, {f"long name {index}": "0.5000" for index in range(9)}, note="skip fades")
    (line,) = printed(capsys)
    assert len(line) <= WIDTH
    assert "  long name 0 0.5000  long name 1 0.5000  1.0s/epoch" in line
    assert "name 2" not in line
    assert line.endswith("eta 1.0s  skip fades")


def test_a_note_too_long_for_the_line_is_cut_visibly(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("search", 2) as show:
        show.step(0, {"loss": number(1.0)}, note="x" * 300)
    (line,) = printed(capsys)
    assert len(line) == WIDTH
    assert line.endswith("xxx...")


def test_control_characters_of_a_note_do_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("search", 1) as show:
        show.step(0, {}, note="one\ntwo\x1b[31m\r")
    (line,) = printed(capsys)
    assert "one two" in line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (1e-5, "1e-05"),
        (12345678.0, "1.23e+07"),
        (float("nan"), "nan"),
        (-0.5, "-0.5000"),
        (7, "7.0000"),
    ],
)
def test_numbers_stay_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_how_many_are_worse_is_never_rounded_up() -> None:
    assert (share_worse(99.99), share_worse(29.5), share_worse(100.0)) == ("99.9 %", "29.5 %", "100 %")


def test_a_share_is_in_percent_and_a_difference_of_shares_in_points() -> None:
    assert (percent(0.46296), percent(1.0)) == ("46.30 %", "100.00 %")
    assert (points(0.117), points(-0.5)) == ("+11.7 points", "-50.0 points")
    assert points(-1e-9) == "+0.0 points"


def test_an_exception_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="diverged"), progress("search", 2):
        raise RuntimeError("diverged")
    assert printed(capsys) == []


def on_terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", name)
    monkeypatch.setenv("COLUMNS", "100")
    return terminal


def test_on_a_terminal_a_live_line_shows_the_epoch_under_way(monkeypatch: pytest.MonkeyPatch, wait: Wait) -> None:
    terminal = on_terminal(monkeypatch, "xterm")
    with progress("search", 2) as show:
        wait(30)
        show.batch(1, 4)
        assert re.search(r"search epoch 1/2 +25% +30s so far +eta 3m30s", terminal.getvalue())
        wait(90)
        show.step(0, {"loss": number(1.0)})
        wait(60)
        show.batch(2, 4)
        assert re.search(r"search epoch 2/2 +50% +1m00s so far +eta 1m00s", terminal.getvalue())
    assert "search epoch 1/2  loss 1.0000  2m00s/epoch  eta 2m00s" in terminal.getvalue()


def test_on_a_terminal_a_live_line_shows_all_pieces_under_way(monkeypatch: pytest.MonkeyPatch, wait: Wait) -> None:
    terminal = on_terminal(monkeypatch, "xterm")
    with pieces("baseline", 3, unit="network", at_a_time=2) as show:
        for index in (0, 1):
            wait(15)
            show.part(index, 1, 4)
    assert re.search(r"baseline network 0/3 done +2 under way +30s so far +eta 3m30s", terminal.getvalue())


def test_the_live_line_is_not_redrawn_for_every_batch(monkeypatch: pytest.MonkeyPatch, wait: Wait) -> None:
    terminal = on_terminal(monkeypatch, "xterm")
    with progress("search", 1) as show:
        wait(1)
        for batch in range(500):
            show.batch(batch, 500)
        assert terminal.getvalue().count("so far") == 1


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, wait: Wait) -> None:
    terminal = on_terminal(monkeypatch, "dumb")
    with progress("search", 1) as show:
        wait(1)
        show.batch(1, 2)
        show.step(0, {"loss": number(1.0)})
    assert terminal.getvalue() == "search epoch 1/1  loss 1.0000  1.0s/epoch\n"


def test_a_summary_shows_title_rows_and_paths(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {"accuracy": "0.9123", "a longer name": "skip"}
    summary("retrain: done", rows, [Path("results/retrain.json"), Path("/elsewhere/a.png")])
    assert printed(capsys) == [
        "",
        "retrain: done",
        "  accuracy       0.9123",
        "  a longer name  skip",
        "  -> results/retrain.json",
        "  -> /elsewhere/a.png",
    ]


def test_a_long_value_of_a_summary_is_wrapped_below_itself(capsys: pytest.CaptureFixture[str]) -> None:
    summary("done", {"cell": "sep_conv_3x3 " * 30, "note": "a\nb\x1b"}, [])
    lines = printed(capsys)
    assert max(map(len, lines)) <= WIDTH
    assert {line.index("sep_conv") for line in lines if "sep_conv" in line} == {len("  cell  ")}
    assert sum(line.count("sep_conv_3x3") for line in lines) == 30
    assert lines[-1] == "  note  a b"


def test_a_summary_without_rows_is_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    summary("nothing to do", {}, [])
    assert printed(capsys) == ["", "nothing to do"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.84, "0.8s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (12.4, "12s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.7, "1h00m"),
        (7620, "2h07m"),
        (7679.9, "2h08m"),
        (360000, "100h00m"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_sentence_between_epochs_is_wrapped_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    text = "warning: " + "many words " * 30
    with progress("search", 2) as bar:
        bar.say(text)
    lines = printed(capsys)
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert " ".join(" ".join(lines).split()) == text.strip()

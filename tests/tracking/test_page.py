"""The page is served to this machine alone, on a port that is free, and shows what can be compared."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from nascommon.report.verdict import Headline
from nascommon.runtime.home import home
from nascommon.settings import UserError
from nascommon.tracking.page import HOST, free_port, page, served
from nascommon.tracking.view import FIGURES, view
from tests.tracking.store import QUIET, URI, Store

pytestmark = QUIET
MOST_CHARACTERS = 20_000
"""MLflow's limit of a tag of an experiment."""


def test_a_port_that_is_taken_is_left_alone() -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        found = free_port(taken)
    assert found != taken
    assert free_port(found) == found


def test_the_address_opens_on_charts_of_runs_by_the_view_that_is_shipped() -> None:
    runs = "http://127.0.0.1:5001/#/experiments/7/runs?workflowType=machine_learning"
    charts = page("http://127.0.0.1:5001/", "7", finished=True)
    assert charts.address == f"{runs}&compareRunsMode=CHART&viewStateShareKey=methods"
    stages = page("http://127.0.0.1:5001/", "7", finished=False)
    assert stages.address == runs, "charts of figures that no run has yet are empty"
    assert "no run has finished" in stages.shows


def test_the_view_compares_the_headline_figures_of_pipelines() -> None:
    assert tuple(field.name for field in fields(Headline)) == FIGURES
    shown = json.loads(view())
    assert len(view()) < MOST_CHARACTERS
    sections = {section["uuid"] for section in shown["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in shown["compareRunCharts"]} == sections
    (parallel,) = (chart for chart in shown["compareRunCharts"] if chart["type"] == "PARALLEL")
    assert set(parallel["selectedMetrics"]) == {"accuracy", "gap", "seconds"}, "a run without a ranking stays visible"
    bars = [chart["metricKey"] for chart in shown["compareRunCharts"] if chart["type"] == "BAR"]
    assert bars == list(FIGURES)


@pytest.mark.parametrize(("uri", "said"), [("none", "tracking: none"), (URI, "no such file; `dvc repro` makes it")])
def test_where_nothing_is_tracked_the_user_is_told_what_to_do(tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(UserError, match=said), served(uri, tmp_path):
        pass


def test_a_server_that_runs_elsewhere_is_not_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nascommon.tracking.store.find_experiment", lambda *_: ("3", ""))
    monkeypatch.setattr("nascommon.tracking.page.finished_runs", lambda *_: [])
    with served("http://tracking.example:80", tmp_path) as shown:
        assert shown.address.startswith("http://tracking.example:80/#/experiments/3/runs?")
        assert shown.server is None


def test_of_a_server_that_does_not_start_the_last_words_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = tmp_path / "ends"
    ends.write_text("#!/bin/sh\necho first; echo can not locate revision >&2; exit 1\n", encoding="utf-8")
    ends.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(ends))
    monkeypatch.setattr("nascommon.tracking.store.find_experiment", lambda *_: ("3", URI))
    monkeypatch.setattr("nascommon.tracking.page.finished_runs", lambda *_: [])
    with pytest.raises(UserError, match="said: first / can not locate revision"), served(URI, tmp_path):
        pass


def test_the_page_is_that_of_the_working_directory_as_the_command_asks_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.follow("one"):
        pass
    monkeypatch.chdir(store.root)
    monkeypatch.setattr(sys, "executable", "/bin/false")  # the store is read before the server starts
    assert home() == Path()
    with pytest.raises(UserError, match="MLflow's server did not start"), served(URI, home()):
        pass


def test_whoever_ends_the_command_ends_the_server_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = store.root / "waits"
    waits.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    waits.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(waits))
    monkeypatch.setattr("nascommon.tracking.page._wait", lambda *_: None)
    with store.follow("one"):
        pass
    with pytest.raises(SystemExit), served(URI, store.root) as shown:
        signal.raise_signal(signal.SIGTERM)
    assert shown.server is not None
    assert shown.server.poll() is not None
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow  # MLflow's server takes half a minute to start
def test_the_page_answers_until_it_is_left(store: Store) -> None:
    with served(URI, store.root) as shown:
        where, server = shown.address, shown.server
        host, _, port = where.removeprefix("http://").partition("/")[0].partition(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
            connection.request("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=gapless-nas")
            found = json.loads(connection.getresponse().read())["experiment"]
        assert f"/experiments/{found['experiment_id']}/" in where
        assert view() in {tag["value"] for tag in found["tags"]}
        assert server is not None
        assert server.poll() is None
    assert server.poll() is not None

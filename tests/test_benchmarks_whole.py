"""Whole searches are predicted from all that they launch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import counts, whole
from benchmarks.cases import NHWC, Search, method_record
from benchmarks.plain import Halves
from nascommon.search.watch import HESSIAN_IMAGES
from tests.test_benchmarks_counts import SMALL

EPOCHS, STEPS, PICTURES = 50, 390, 25_000


def a_second(call: Callable[[], object]) -> float:
    call()
    return 1.0


def test_what_is_not_recorded_takes_the_time_of_python_or_of_the_device() -> None:
    few, many = (torch.empty(count, device="meta") for count in (4, 43 * 10**7))
    assert whole.eager_seconds(lambda: (few * 2).view(2, 2)) == pytest.approx(2 * whole.DISPATCH_SECONDS)
    assert whole.eager_seconds(lambda: many * 2) == pytest.approx(2 * 4 * 43e7 / counts.BYTES_PER_SECOND)


def test_a_recording_takes_the_time_of_python_and_of_every_kernel() -> None:
    with counts.Counted() as counted:
        (torch.empty(4, device="meta") * 2).view(2, 2)  # memory, a kernel, a view
    assert whole.recording_seconds(counted) == pytest.approx(3 * whole.DISPATCH_SECONDS + whole.NODE_SECONDS)
    # What was measured of the step of 18,101 kernels, which was 0.45 s of Python.
    counted.dispatched, counted.kernels = round(0.45 / whole.DISPATCH_SECONDS), 18_101
    assert whole.recording_seconds(counted) == pytest.approx(0.7, rel=0.01)


def test_a_search_is_its_steps_and_all_that_is_done_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "eager_seconds", a_second)
    monkeypatch.setattr(whole, "eigenvalue_seconds", lambda *_: 7.0)
    parts = whole.search_seconds(method_record("darts", SMALL), SMALL)
    batches, watches = -(-PICTURES // 1024), EPOCHS // whole.WATCH_EVERY
    assert parts[whole.STEPS] == pytest.approx(EPOCHS * STEPS * counts.counts("darts", SMALL).seconds)
    assert parts[whole.VALIDATION] == EPOCHS * batches
    assert parts[whole.GAP] == watches * (1 + batches)  # a calibration takes a second, however many batches it has
    assert parts[whole.EIGENVALUE] == watches * 7
    assert whole.CALIBRATION not in parts


def test_an_induced_pass_is_trained_measured_and_recorded_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "eager_seconds", a_second)
    monkeypatch.setattr(whole, "eigenvalue_seconds", lambda *_: 0.0)
    parts = whole.search_seconds(method_record("ecdarts", SMALL), SMALL)
    assert parts[whole.CALIBRATION] == 25 * 2
    assert parts[whole.VALIDATION] == 25 * 2 * -(-PICTURES // 1024)
    soft = counts.counts("ecdarts", SMALL).seconds
    assert 1.5 * soft < parts[whole.STEPS] / (25 * (PICTURES // 32)) < 2 * soft


def test_the_watch_is_its_first_gradient_and_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, batch = [], counts.batch_of(HESSIAN_IMAGES, SMALL.side)
    with counts.as_on_a_gpu():
        search = Search(method_record("darts", SMALL), Halves(batch, batch), counts.META, SMALL.nodes)
        state = search.state(NHWC, "bfloat16")
        for products in (0, 1, 3):
            monkeypatch.setattr(whole, "PRODUCTS", products)
            seconds.append(whole.eigenvalue_seconds(state, batch))
    first, one, three = seconds
    assert first > 0
    assert three - first == pytest.approx(3 * (one - first))
    assert one - first > 0.2 * first


def test_the_command_writes_the_seconds_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "search_seconds", lambda _: {whole.STEPS: 120.0, whole.COLD: 30.0})
    app = typer.Typer()
    app.command()(whole.main)
    done = CliRunner().invoke(app, ["--methods", "darts", "--out", str(tmp_path / "whole.json")])
    assert "darts: 2.5 minutes predicted; steps 2.0, recordings" in done.output
    assert json.loads((tmp_path / "whole.json").read_text()) == {"darts": {whole.STEPS: 120, whole.COLD: 30}}

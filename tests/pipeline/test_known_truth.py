"""What a training would cost that nobody ran is measured where the search ran."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nascommon.pipeline import known_truth
from nascommon.space.nasbench201_text import from_digits
from nascommon.space.published import PUBLISHED
from nascommon.truth.table import load_table

RUN: Any = SimpleNamespace(device=torch.device("cpu"), precision="float32")


def test_a_training_is_the_benchmarks_steps_of_a_cell_of_average_size(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def half_a_second(training: Any, spec: Any, shape: Any, *rest: Any) -> float:
        timed.append((training.batch_size, spec.channels, spec.cells, spec.precision, shape.height, rest[-1]))
        return 0.5

    monkeypatch.setattr(known_truth, "step_seconds", half_a_second)
    table = load_table()
    assert known_truth.seconds_of_training(RUN, table) == pytest.approx(0.5 * 200 * 50_000 / 256)
    ((*sizes, cell),) = timed
    assert sizes == [256, 16, 15, "float32", 32]
    macs = int(table.macs[table.row(cell)])
    assert abs(macs - table.macs.mean()) < 0.01 * table.macs.mean()


def test_a_space_without_a_table_is_passed_over_in_silence() -> None:
    assert known_truth.known_truth(RUN, PUBLISHED["DARTS_V2"], 1.0) is None


def test_the_reason_is_given_where_the_table_has_other_pictures() -> None:
    run: Any = SimpleNamespace(params=SimpleNamespace(data=SimpleNamespace(source="digits")))
    found = known_truth.known_truth(run, from_digits("111111"), 1.0)
    assert found == {
        "unknown": "the table of nasbench201 knows CIFAR-10, CIFAR-100, ImageNet16-120; this search sees digits"
    }

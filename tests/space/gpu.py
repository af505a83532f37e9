"""What a GPU computes, on a CPU: everything stacked, and the library's own depthwise convolutions and batch norms."""

from __future__ import annotations

import sys

import pytest

from nascommon.kernels import average, batch_norm
from nascommon.runtime import dial, optimisers
from nascommon.search import state
from nascommon.space import fan, network, operations, supernet


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every way that a GPU takes."""
    monkeypatch.setattr(operations, "fast_path_applies", lambda *_: False)
    monkeypatch.setattr(batch_norm, "folds", lambda _: False)
    monkeypatch.setattr(average, "on_cpu", lambda _: False)
    monkeypatch.setattr(operations, "multiplies", lambda _: True)
    monkeypatch.setattr(operations, "reads_dials", lambda _: True)
    monkeypatch.setattr(network, "draws_at_once", lambda _: True)
    monkeypatch.setattr(fan, "STACKED", sys.maxsize)
    monkeypatch.setattr(supernet, "runs_abreast", lambda _: True)
    monkeypatch.setattr(network, "runs_abreast", lambda _: True)
    for module in (dial, optimisers, state):
        monkeypatch.setattr(module, "keeps_numbers", lambda _: True)

"""A dial is a number that follows its turns wherever it has been read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nascommon.runtime import dial
from nascommon.runtime.dial import Dial

CPU = torch.device("cpu")


def test_on_a_cpu_it_is_a_plain_number() -> None:
    turned = Dial(0.1)
    assert turned.on(CPU) == 0.1
    turned.value = 0.3
    assert (turned.on(CPU), turned.value) == (0.3, 0.3)


def test_elsewhere_it_is_a_tensor_that_stays_and_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "keeps_numbers", lambda _: True)
    turned = Dial(0.1)
    read = turned.on(CPU)
    assert isinstance(read, Tensor)
    assert (read.shape, read.dtype, float(read)) == ((), torch.float64, 0.1)
    turned.value = 0.3
    assert turned.on(CPU) is read
    assert (float(read), turned.value) == (0.3, 0.3)


def test_a_recording_may_not_be_the_first_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="not read before"):
        Dial().on(device)

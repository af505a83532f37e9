"""Kernels of a GPU that cannot be compiled or launched, or are wrong, are left out with one warning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from triton.runtime.errors import OutOfResources, PTXASError

from nascommon.kernels import bank_launch, trial
from nascommon.kernels.bank import Bank, Kind, beside
from tests.kernels.in_interpreter import passes_in_interpreter

BANK, CHANNELS = Bank((Kind(3, 1, 2),)), 4


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """Try the kernels anew, and forget what was found."""
    trial.right.cache_clear()
    yield
    trial.right.cache_clear()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a CPU for a GPU that is in use."""
    monkeypatch.setattr(bank_launch, "on_cuda", lambda _: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)


@dataclass
class _Failing:
    """A kernel that cannot be launched."""

    error: Exception

    def __getitem__(self, _grid: object) -> Any:
        def launch(*_given: object, **_static: object) -> None:
            raise self.error

        return launch


def is_computed_plainly() -> bool:
    x = torch.randn(2, CHANNELS, 5, 5).requires_grad_()
    kernels = torch.randn(BANK.taps * CHANNELS, requires_grad=True)
    outs = beside([(BANK, x, kernels)]), BANK.plain(x, kernels)
    found, right = ((out, *torch.autograd.grad(out.sum(), (x, kernels))) for out in outs)
    return all(torch.equal(mine, other) for mine, other in zip(found, right, strict=True))


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OutOfResources(70000, 65536, "shared memory"),
            "OutOfResources: out of resource: shared memory, Required: 70000",
        ),
        (PTXASError("ptxas fatal\nand a page"), "PTXASError: PTXAS error: ptxas fatal"),
        (RuntimeError("Triton Error [CUDA]: device kernel image is invalid"), "device kernel image is invalid"),
    ],
)
def test_where_a_kernel_cannot_be_launched_plain_operators_compute_with_one_warning(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nascommon.kernels.bank_triton.forward_kernel", _Failing(error))
    before = torch.get_rng_state()
    assert not bank_launch.takes(torch.zeros(2, 3, 4, 4), 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert is_computed_plainly()
    (warning,) = caplog.messages
    assert "depthwise convolutions" in warning
    assert said in warning
    assert "\n" not in warning


@pytest.mark.usefixtures("as_on_a_gpu")
def test_so_they_do_where_triton_has_no_driver(caplog: pytest.LogCaptureFixture) -> None:
    """As it has none for the maps of a CPU."""
    assert is_computed_plainly()
    assert is_computed_plainly()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("every", [pytest.param("--all", marks=pytest.mark.slow), "--few"])
def test_right_kernels_pass_and_wrong_ones_do_not(every: str) -> None:
    passes_in_interpreter("tests.kernels.interpreted_trial", every)

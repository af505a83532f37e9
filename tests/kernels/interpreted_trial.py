"""Runs the trial of the Triton kernels on a CPU in Triton's interpreter: right kernels pass, wrong ones do not.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted_trial [--all]

Right and wrong kernels alike run in a thread of their own, as on a GPU.
"""

from __future__ import annotations

import logging
import sys
from unittest.mock import patch

import torch
from triton.runtime import interpreter

from nascommon.kernels import bank_launch, trial
from tests.kernels.broken import KERNELS, broken

CPU = torch.device("cpu")
FEW = ("bank_triton_kernels.kernel_kernel", "batch_norm_triton.statistics_kernel")


class _Told(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    """Check kernels as they are in every type, and each of them broken in one."""
    told = _Told()
    trial.log.addHandler(told)
    before = torch.get_rng_state()
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)  # half the time
    torch.use_deterministic_algorithms(True)
    with patch.object(bank_launch, "on_cuda", lambda _: True):
        assert all(trial.right(CPU, dtype) for dtype in bank_launch.TYPES)
        assert not told.messages
        for kernel in KERNELS if "--all" in sys.argv else FEW:
            trial.right.cache_clear()
            with patch(*broken(kernel)):
                assert not trial.right(CPU, torch.bfloat16), kernel
            assert told.messages.pop().endswith(f"{KERNELS[kernel].of}, wrong numbers"), kernel
    assert torch.equal(torch.get_rng_state(), before)


if __name__ == "__main__":
    main()

"""Numbers that change while what is computed with them stays the same, such as a probability that rises by the epoch.

A step that is recorded as a CUDA graph goes on with every number that Python told it. So on a GPU these are kept where
it computes, and a replay reads what they are by then.
"""

from __future__ import annotations

import torch
from torch import Tensor


def keeps_numbers(device: torch.device) -> bool:
    """Return whether steps on a device read such numbers from it; a CPU is told by Python in every step."""
    return device.type != "cpu"


class Dial:
    """A number that is turned between steps."""

    def __init__(self, value: float = 0.0) -> None:
        self._value = value
        self._kept: dict[torch.device, Tensor] = {}

    @property
    def value(self) -> float:
        """The number as Python knows it."""
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        self._value = value
        for kept in self._kept.values():
            kept.fill_(value)

    def on(self, device: torch.device) -> float | Tensor:
        """Return the number for a computation on a device: on a GPU a scalar there, float64, that follows the dial.

        Raises:
            RuntimeError: a recording is the first to ask, which would put its own value back in every replay.
        """
        if not keeps_numbers(device):
            return self._value
        if device not in self._kept:
            started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            if started and torch.cuda.is_current_stream_capturing():
                raise RuntimeError("a number that changes by the epoch was not read before the step was recorded")
            self._kept[device] = torch.full((), self._value, dtype=torch.float64, device=device)
        return self._kept[device]

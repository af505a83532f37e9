"""Control functions raise a coefficient from 0 to 1 while the search goes on (DA2S, Tables 2 and 3).

The papers write them over the epochs e = 1 .. 50; here e = 1 + 49 t of the progress t, so a search of any length sees
the same curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from nascommon.settings import NonNegative, Settings

Progress = float | Tensor
"""How far a phase is, from 0 to 1. On a GPU a scalar tensor, which steps compute with but must not look at: the next
epoch changes it where it lies."""
Control = Callable[[Progress], Progress]
"""Progress -> coefficient, of the same kind."""

ControlName = Literal["const", "linear", "log", "exp", "step"]
EPOCHS = 50
"""Length of the papers' searches."""
DELAY = 8
"""Epochs for which a delayed function stays 0."""


def _epoch(progress: Progress) -> Progress:
    epoch = 1 + (EPOCHS - 1) * progress
    # Rounded so that whole epochs meet the steps exactly.
    return epoch.round(decimals=9) if isinstance(epoch, Tensor) else round(epoch, 9)


def _log(x: Progress) -> Progress:
    return x.log() if isinstance(x, Tensor) else math.log(x)


def constant(_progress: Progress) -> Progress:
    """Return 1."""
    return 1.0


def linear(progress: Progress) -> Progress:
    """Return (e - 1) / 49."""
    return progress


def logarithmic(progress: Progress) -> Progress:
    """Return ln(e) / ln(50)."""
    return _log(_epoch(progress)) / math.log(EPOCHS)


def exponential(progress: Progress) -> Progress:
    """Return 2^((e - 50) / 5)."""
    return 2 ** ((_epoch(progress) - EPOCHS) / 5)


def stepped(progress: Progress) -> Progress:
    """Return a third more at a quarter, half and three quarters of 50 epochs."""
    return sum(_epoch(progress) >= EPOCHS * quarter / 4 for quarter in (1, 2, 3)) / 3


def _delayed(curve: Control) -> Control:
    """Return 0 for the first 8 of 50 epochs, then ``curve`` of the epoch."""

    def delayed(progress: Progress) -> Progress:
        epoch = _epoch(progress)
        if isinstance(epoch, Tensor):
            return torch.where(epoch > DELAY, curve(epoch), 0.0)
        return curve(epoch) if epoch > DELAY else 0.0

    return delayed


LEFT = EPOCHS - DELAY

PLAIN: dict[ControlName, Control] = {
    "const": constant, "linear": linear, "log": logarithmic, "exp": exponential, "step": stepped,
}  # fmt: skip
"""Control functions by the names of the paper's tables."""

DELAYED: dict[ControlName, Control] = {
    "const": _delayed(lambda _e: 1.0),
    "linear": _delayed(lambda e: (e - DELAY) / LEFT),
    "log": _delayed(lambda e: _log(e - DELAY + 1) / math.log(LEFT)),
    "exp": _delayed(lambda e: 2 ** ((e - EPOCHS) / 5)),
    "step": _delayed(lambda e: sum(e >= DELAY + LEFT * quarter / 4 for quarter in (1, 2, 3)) / 3),
}
"""Controls by name whose first 8 epochs are 0; ``log`` ends at 1.006, as released."""


class Priority(Settings):
    """Rise of a coefficient over the search: ``factor`` times one of the paper's control functions."""

    control: ControlName = "const"
    delayed: bool = False
    """True where it stays 0 for the first 8 of 50 epochs."""
    factor: NonNegative = 1.0

    def function(self) -> Control:
        """Return the coefficient as a function of progress."""
        return scaled(self.factor, (DELAYED if self.delayed else PLAIN)[self.control])


def scaled(factor: float, control: Control) -> Control:
    """Return ``factor`` times ``control``."""
    return lambda progress: factor * control(progress)


def between(first: float, last: float) -> Control:
    """Go linearly from ``first`` to ``last``."""
    return lambda progress: first + (last - first) * progress


def falling(progress: Progress) -> Progress:
    """Fall linearly from 1 to 0 as the search goes on."""
    return 1 - progress

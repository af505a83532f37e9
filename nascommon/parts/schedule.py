"""Learning rates and drop-path probabilities as pure functions of the epoch.

Epochs are counted from 0; a rate holds for a whole epoch, as in all released codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int, int], float]
"""(epoch, epochs) -> learning rate."""

SLOW_TAIL = 5
"""Epochs at the end of the linear schedule with a fifth of the slope (PC-DARTS, P-DARTS)."""


def cosine(lr: float, lr_min: float) -> Schedule:
    """Fall from ``lr`` to ``lr_min`` on half a cosine (DARTS; the released codes step it once an epoch)."""
    return lambda epoch, epochs: lr_min + (lr - lr_min) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def exponential(lr: float, gamma: float) -> Schedule:
    """Multiply by ``gamma`` after every epoch (DARTS on ImageNet: 0.1, 0.97)."""
    return lambda epoch, _epochs: lr * gamma**epoch


def linear(lr: float) -> Schedule:
    """Fall linearly and at a fifth of the slope over the last 5 epochs (PC-DARTS and P-DARTS on ImageNet: 0.5)."""

    def rate(epoch: int, epochs: int) -> float:
        if epochs <= SLOW_TAIL:
            return lr * (epochs - epoch) / epochs
        steep = epochs - SLOW_TAIL
        left = epochs - epoch
        return lr * (left - SLOW_TAIL) / steep if left > SLOW_TAIL else lr * left / (steep * SLOW_TAIL)

    return rate


def warmed_up(schedule: Schedule, lr: float, warmup_epochs: int) -> Schedule:
    """Rise to ``lr`` in equal steps over the first ``warmup_epochs`` and follow ``schedule`` afterwards.

    Deviation: as PC-DARTS' code on ImageNet; P-DARTS' multiplies the rate of the schedule, which falls meanwhile.
    """

    def rate(epoch: int, epochs: int) -> float:
        return lr * (epoch + 1) / warmup_epochs if epoch < warmup_epochs else schedule(epoch, epochs)

    return rate


def drop_path_probability(maximum: float, epoch: int, epochs: int) -> float:
    """Raise the drop-path probability linearly from 0: p = p_max * epoch / epochs (docs/methods.md, section 2.3)."""
    return maximum * epoch / epochs


def skip_dropout(start: float, epoch: int, epochs: int, warmup: int) -> float:
    """Fall from ``start`` while the architecture waits, then again from ``start`` as it learns (P-DARTS).

    Linear in the ``warmup`` epochs, exponential after it: exp(-0.2 (e - 10)) of the released 25 epochs with 10 of
    warm-up is exp(-3 (e - w) / (E - w)), which any length keeps.
    """
    if epoch < warmup:
        return start * (epochs - epoch - 1) / epochs
    return start * math.exp(-3 * (epoch - warmup) / (epochs - warmup))


def progress(epoch: int, epochs: int) -> float:
    """Return how far a phase is, 0 in its first and 1 in its last epoch."""
    return epoch / max(epochs - 1, 1)

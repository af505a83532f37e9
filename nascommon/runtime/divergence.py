"""A training whose loss is no number any more is stopped, with a word on what to lower."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nascommon.settings import UserError


class DivergenceError(UserError):
    """A loss became infinite or not a number.

    Attributes:
        what: the loss, its value, and the epoch after which it was found.
        keys: names of the settings of which one is too high, within the section that the training reads.
    """

    def __init__(self, what: str, keys: tuple[str, ...]) -> None:
        """Say what happened and which settings may be too high."""
        super().__init__(what)
        self.what, self.keys = what, keys

    def __reduce__(self) -> tuple[type[DivergenceError], tuple[str, tuple[str, ...]]]:
        """Come back from another process with both: exceptions are pickled by their args, which hold one."""
        return type(self), (self.what, self.keys)

    def __str__(self) -> str:
        return self.advice("")

    def advice(self, section: str) -> str:
        """Say what happened and what to lower, the keys with the name of their section before them."""
        return f"{self.what}; lower {' or '.join(section + key for key in self.keys)}"


def refuse_divergence(
    row: Mapping[str, Any], epoch: int, keys: tuple[str, ...], network: nn.Module | None = None
) -> None:
    """Stop where a loss of an epoch, or what the network holds at its end, is not finite.

    Called at the end of an epoch, before its checkpoint is written: that of the last good epoch stays.

    Args:
        row: figures of the epoch; those whose names end in ``loss`` are looked at.
        epoch: counted from 0.
        keys: names of the settings of which one is too high.
        network: the model; its weights and batch-norm statistics are looked at, with a single wait for the device,
            because the last step of an epoch is in no loss. None looks at no model.

    Raises:
        DivergenceError: a loss, a weight or a statistic is infinite or not a number.
    """
    for name, value in row.items():
        if name.endswith("loss") and not math.isfinite(value):
            raise DivergenceError(f"diverged, {name} is {value} after epoch {epoch + 1}", keys)
    if network is not None and not _finite(network):
        raise DivergenceError(f"diverged, weights or statistics are not finite after epoch {epoch + 1}", keys)


def _finite(network: nn.Module) -> bool:
    # One stack and one bool(): on a GPU each bool() waits for the device, and a network has hundreds of tensors.
    held = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in held]).all())

"""Maps that are handed from reader to reader, so that each adds to the gradient that those after it have found.

Where several read one map, autograd keeps a gradient of each and adds them up, a launch for every sum. A reader that
hands the map on gets the sum of those after it in its backward pass and adds its own to it in place.

Suffixes: ``B`` batch, ``C`` channels that are read, ``X`` all of a map, ``H``, ``W``.
"""

from __future__ import annotations

from torch import Tensor

from nascommon.kernels.bank_launch import pitched


class Handed:
    """A map as its last reader handed it on.

    What reads it after that without handing it on must make a gradient of its own, as products and convolutions do: a
    sum hands the same gradient to all its summands, and nothing must be added to that.

    Attributes:
        whole_BXHW: the map.
        channels: C, those that are read where not all are: the first ones.
    """

    def __init__(self, whole_BXHW: Tensor, channels: int | None = None) -> None:
        self.whole_BXHW = whole_BXHW
        self.channels = whole_BXHW.shape[1] if channels is None else channels

    def first(self) -> Tensor:
        """Return the channels that are read [B, C, H, W], where they lie."""
        return first(self.whole_BXHW, self.channels)

    def hand_on(self, whole_BXHW: Tensor) -> None:
        """Take the map from a reader; one that needs no gradient stays as it is."""
        if self.whole_BXHW.requires_grad:
            self.whole_BXHW = whole_BXHW


def first(whole_BXHW: Tensor, channels: int) -> Tensor:
    """Return the first channels of a map [B, C, H, W], where they lie."""
    if channels == whole_BXHW.shape[1]:
        return whole_BXHW
    # Sliced as pixels of channels, the gradient comes in channels-last layout; that of a plain slice does not.
    return whole_BXHW.permute(0, 2, 3, 1)[..., :channels].permute(0, 3, 1, 2)


def room(found_BXHW: Tensor | None, whole_BXHW: Tensor, channels: int) -> tuple[Tensor, bool]:
    """Return a gradient to write that of the first channels into, and whether it has to be added there.

    Args:
        found_BXHW: what later readers have found, if any: it is added to.
        whole_BXHW: the map, for its shape and type.
        channels: that are read; the gradient of others is zero.
    """
    if found_BXHW is not None:
        return pitched(found_BXHW), True
    B, X, H, W = whole_BXHW.shape
    empty_BXHW = whole_BXHW.new_empty(B, H, W, X).permute(0, 3, 1, 2)
    return (empty_BXHW if channels == X else empty_BXHW.zero_()), False

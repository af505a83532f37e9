"""A relaxation turns architecture logits into mixing weights.

Suffixes: ``E`` edges of a cell, ``O`` candidate operations of an edge.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nascommon.parts.logits import CellLogits
from nascommon.space.topology import Topology

Relaxation = Callable[[CellLogits, Topology, float], Tensor]
"""(logits of one cell, topology, progress) -> mixing weights [E, O]."""


def softmax_over_operations(logits: CellLogits, _topology: Topology, _progress: float) -> Tensor:
    """The candidates of an edge compete: softmax over each row of alpha (DARTS, eq. 2)."""
    return logits.alpha_EO.softmax(dim=-1)

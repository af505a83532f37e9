"""The section ``search`` of ``params.yaml``: which method, on a supernet of which size."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY
from nascommon.settings import Channels, Nodes, Pieces, SearchCells, Settings, Whole, nearest


def _known_method(name: str) -> str:
    if name not in REGISTRY:
        raise ValueError(f"unknown method{nearest(name, list(REGISTRY))}")
    return name


class SearchSettings(Settings):
    """Settings that are the same for every method; how a method trains stands in its own section ``methods.<name>``."""

    method: Annotated[str, AfterValidator(_known_method)]
    """A name of the registry."""
    channels: Channels = 16
    """Channels of the supernet's first cell."""
    cells: SearchCells = 8
    nodes: Nodes = 4
    """Intermediate nodes of a cell; 4 in all papers."""
    pieces: Pieces = 1
    """A batch is computed in so many pieces one after the other, which takes less memory; the gradient is that of the
    whole batch, but batch norm sees a piece at a time, so other numbers come out."""
    watch_every: Whole = 5
    """Epochs between two measurements of the signs of collapse (discretization gap, Hessian eigenvalue); 0: none."""
    snapshots: Whole = 10
    """Supernets kept along the search, evenly spaced and the last included; ``kendall_tau`` scores with them."""

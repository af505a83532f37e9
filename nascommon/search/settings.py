"""The section ``search`` of ``params.yaml``: which method, on a supernet of which size."""

from __future__ import annotations

from nascommon.settings import Count, Settings, Whole


class SearchSettings(Settings):
    """What is the same for every method; how a method trains stands in its own section ``methods.<name>``."""

    method: str
    """A name of the registry."""
    channels: Count = 16
    """Of the supernet's first cell."""
    cells: Count = 8
    nodes: Count = 4
    """Intermediate nodes of a cell; 4 in all papers."""
    snapshots: Whole = 10
    """Supernets kept along the search, evenly spaced and the last included; ``kendall_tau`` scores with them."""

"""The section ``search`` of ``params.yaml``: which method, in which space, on a supernet of which size."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY
from nascommon.settings import Channels, Nodes, Pieces, SearchCells, Settings, Whole, nearest
from nascommon.space.operations import OPERATIONS
from nascommon.space.space import SPACES, Space, find_space


def _known_method(name: str) -> str:
    if name not in REGISTRY:
        raise ValueError(f"unknown method{nearest(name, list(REGISTRY))}")
    return name


def _known_space(name: str) -> str:
    if name not in SPACES:
        raise ValueError(f"unknown space{nearest(name, list(SPACES))}")
    return name


def _check_candidates(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown:
        raise ValueError(f"unknown operation {unknown[0]!r}; known are {', '.join(OPERATIONS)}")
    if len(set(names)) != len(names):
        raise ValueError("an operation is listed twice")
    if not set(names) - {"none"}:
        raise ValueError("at least one operation other than 'none' is needed")
    return names


CandidateNames = Annotated[tuple[str, ...], AfterValidator(_check_candidates)]
"""Operations that an edge may become: known names, none twice, at least one other than ``none``."""


class SearchSettings(Settings):
    """Settings that are the same for every method; how a method trains stands in its own section ``methods.<name>``."""

    method: Annotated[str, AfterValidator(_known_method)]
    """A name of the registry."""
    channels: Channels = 16
    """Channels of the supernet's first cell."""
    cells: SearchCells = 8
    space: Annotated[str, AfterValidator(_known_space)] = "darts"
    """darts; one of its subspaces s1, s2, s3, s4 (RobustDARTS), in which DARTS fails; or nasbench201, in which every
    architecture has been trained."""
    nodes: Nodes | None = None
    """Intermediate nodes of a cell; null takes the space's own, 4 in all papers. Those of s1 and nasbench201 are given:
    4 and 3."""
    candidates: CandidateNames | None = None
    """Candidates of every edge; null takes the space's own. Only darts and nasbench201 let them be chosen. A method
    that searches without ``none`` (``none: false``) leaves that out of either."""
    none_wins: bool | None = None
    """Whether ``none`` may win an edge, which then is left out; null takes what the space says: in nasbench201 it may,
    in the others it never does. With false it takes part in the search and wins no edge."""
    affine: bool = False
    """Whether the batch norms of candidates have a scale and a shift of their own in the supernet."""
    pieces: Pieces = 1
    """A batch is computed in so many pieces one after the other, which takes less memory; the gradient is that of the
    whole batch, but batch norm sees a piece at a time, so other numbers come out. The supernet is scored a piece at a
    time, too, which changes no score."""
    watch_every: Whole = 5
    """Epochs between two measurements of the signs of collapse (discretization gap, Hessian eigenvalue); 0: none."""
    snapshots: Whole = 10
    """Supernets kept along the search, evenly spaced and the last included; ``kendall_tau`` scores with them."""

    def chosen_space(self) -> Space:
        """Return the space that is searched, before a method leaves out ``none``.

        Raises:
            ValueError: the space has not these nodes or candidates; the message begins with the key.
        """
        return find_space(self.space, self.nodes, self.candidates, self.none_wins)

"""The spaces that ``search.space`` can name."""

from __future__ import annotations

from nascommon.space.genotype import DARTS_KINDS
from nascommon.space.kinds import PerKind
from nascommon.space.network import Network
from nascommon.space.operations import CANDIDATES
from nascommon.space.skeleton import Skeleton
from nascommon.space.space import Setting, Space, register, uniform_cell
from nascommon.space.supernet import Supernet
from nascommon.space.topology import Topology


def darts_kind(index: int, cells: int) -> str:
    """Return ``reduction`` at one and two thirds of the depth."""
    return "reduction" if index in (cells // 3, 2 * cells // 3) else "normal"


DARTS = Skeleton("darts", DARTS_KINDS, 2, darts_kind, frozenset({"reduction"}), Supernet, Network)


def _uniform(name: str, *operations: str, settable: frozenset[Setting] = frozenset({"nodes"})) -> Space:
    cell = uniform_cell(operations, Topology())
    return Space(name, DARTS, PerKind((kind, cell) for kind in DARTS_KINDS), settable)


register(_uniform("darts", *CANDIDATES, settable=frozenset({"nodes", "candidates"})))

"""The spaces that ``search.space`` can name: the one of the DARTS papers and its four subspaces of RobustDARTS.

S1 to S4 are from Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020, where
DARTS finds cells of skip connections, or of noise; S1's table is that of the released code.
"""

from __future__ import annotations

from nascommon.space.genotype import DARTS_KINDS
from nascommon.space.kinds import PerKind
from nascommon.space.network import Network
from nascommon.space.operations import CANDIDATES
from nascommon.space.published import SHORT
from nascommon.space.skeleton import Skeleton
from nascommon.space.space import CellSpace, Setting, Space, register, uniform_cell
from nascommon.space.supernet import Supernet
from nascommon.space.topology import Topology


def darts_kind(index: int, cells: int) -> str:
    """Return ``reduction`` at one and two thirds of the depth."""
    return "reduction" if index in (cells // 3, 2 * cells // 3) else "normal"


DARTS = Skeleton("darts", DARTS_KINDS, 2, darts_kind, frozenset({"reduction"}), Supernet, Network)


def _uniform(name: str, *operations: str, settable: frozenset[Setting] = frozenset({"nodes"})) -> Space:
    cell = uniform_cell(operations, Topology())
    return Space(name, DARTS, PerKind((kind, cell) for kind in DARTS_KINDS), settable)


def _table(text: str) -> CellSpace:
    return CellSpace(Topology(), tuple(tuple(SHORT[word] for word in edge.split()) for edge in text.split("|")))


_S1_NORMAL = (
    "sk d3 | sk d5 | sk d5 | sk s3 | sk d3 | mp sk | sk s3 | sk s3 | sk d3 | sk s3 | mp sk | sk d3 | d3 d5 | d3 d5"
)
_S1_REDUCTION = (
    "mp ap | mp d3 | mp ap | mp ap | sk d5 | mp ap | mp s3 | sk d3 | sk d5 | mp ap | mp ap | sk d5 | sk d5 | sk d5"
)

register(_uniform("darts", *CANDIDATES, settable=frozenset({"nodes", "candidates"})))
register(Space("s1", DARTS, PerKind({"normal": _table(_S1_NORMAL), "reduction": _table(_S1_REDUCTION)})))
register(_uniform("s2", "skip_connect", "sep_conv_3x3"))
register(_uniform("s3", "none", "skip_connect", "sep_conv_3x3"))
register(_uniform("s4", "noise", "sep_conv_3x3"))

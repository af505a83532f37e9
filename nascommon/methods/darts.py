"""DARTS: relax the choice of operations to a softmax and learn it by gradient (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import ArchGradient, DartsLike, Method, SearchSize, register
from nascommon.parts.choices import Approximation, Discretize, FirstOrder
from nascommon.parts.discretizer import KeptEdges, keep_edges, strongest


class DartsSettings(DartsLike):
    """The defaults are the paper's (docs/methods.md, sections 3.1 and 3.2)."""

    arch_gradient: Approximation = FirstOrder()
    """``unrolled`` is the paper's second order by finite difference, ``unrolled_exact`` the same by double backward."""
    kept_edges: KeptEdges = 8
    """Edges of 14 that the genotype keeps; fewer than 8 is the baseline of DA2S' Table 4."""


@register
def darts(settings: DartsSettings, size: SearchSize) -> Method:
    """Softmax over the operations of an edge, bilevel optimisation, the strongest edges of every node.

    Deviation: architecture batches come from shuffled sweeps over their half instead of a fresh draw with replacement
    at every step; all later codes do so, and it is several times faster (docs/methods.md, section 3.1).
    """
    return replace(
        settings.darts(size),
        arch_gradient=ArchGradient(settings.arch_gradient, settings.architecture),
        discretize=Discretize(strongest(keep_edges(settings.kept_edges, size.space))),
    )

"""DARTS+: stop the search when skip connections begin to take over (Liang et al., 2019, arXiv 1909.06035)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import DartsLike, Method, SearchSize, register
from nascommon.settings import Count
from nascommon.space.genotype import Genotype


class DartsplusSettings(DartsLike):
    """DARTS' defaults and the paper's first criterion; no code was released."""

    stop_at_skips: Count = 2
    """The search ends with the epoch after which the normal cell's genotype has so many skip connections."""


@register
def dartsplus(settings: DartsplusSettings, size: SearchSize) -> Method:
    """DARTS that stops as soon as the normal cell has two skip connections.

    Deviation: the genotype of the stopping epoch is kept, since the paper leaves open whether it is this or the last.
    """

    def too_many_skips(genotype: Genotype) -> bool:
        return genotype.main.skips >= settings.stop_at_skips

    return replace(settings.darts(size), stop=too_many_skips)

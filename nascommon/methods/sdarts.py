"""SDARTS-RS: train the network weights under randomly perturbed mixing weights (Chen, Hsieh, ICML 2020)."""

from __future__ import annotations

from dataclasses import replace

from nascommon.method import DartsLike, Method, SearchSize, register
from nascommon.parts.choices import Sample
from nascommon.parts.control import between
from nascommon.parts.sampling import perturbed
from nascommon.settings import NonNegative


class SdartsSettings(DartsLike):
    """The defaults are the released code's (xiangning-chen/SmoothDARTS)."""

    first_radius: NonNegative = 0.03
    """Radius of the uniform noise on the mixing weights; it grows linearly."""
    last_radius: NonNegative = 0.3
    none: bool = False


@register
def sdarts(settings: SdartsSettings, size: SearchSize) -> Method:
    """DARTS whose weight steps see the mixing weights with growing uniform noise; architecture steps see them clean."""
    return replace(
        settings.darts(size),
        sample=Sample(perturbed(between(settings.first_radius, settings.last_radius)), frozenset({"weights"})),
    )

"""GDAS: one operation per edge drawn by the Gumbel trick in every step (Dong, Yang, CVPR 2019); SNAS draws softly."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nascommon.method import DartsLike, Method, SearchSize, WeightOptimiser, register
from nascommon.parts.choices import Sample
from nascommon.parts.control import between
from nascommon.parts.sampling import gumbel, gumbel_one_hot
from nascommon.settings import BatchSize, Divisor, Epochs


class GdasSettings(DartsLike):
    """The defaults are GDAS' released ones (D-X-Y/AutoDL-Projects, NASNet space).

    The sampling of SNAS (Xie et al., ICLR 2019): draw soft, first_temperature 1, last_temperature 0.03, epochs 150,
    batch_size 64; its single-level loss is not offered, the architecture learns on its own half as everywhere here.
    """

    epochs: Epochs = 250
    batch_size: BatchSize = 256
    draw: Literal["one_hot", "soft"] = "one_hot"
    first_temperature: Divisor = 10.0
    last_temperature: Divisor = 0.1
    weights: WeightOptimiser = WeightOptimiser(weight_decay=5e-4)


@register
def gdas(settings: GdasSettings, size: SearchSize) -> Method:
    """Each step draws one operation per edge from a sharpening Gumbel softmax, gradient straight through.

    Deviation: the released code steps the weights before the architecture and with Nesterov momentum, on 6 cells, and
    may keep two operations of one edge; here order, momentum, size and discretizer are those of every method. Its
    validation draws anew for every batch; here the supernet is scored under the mixing weights.
    """
    draw = gumbel_one_hot if settings.draw == "one_hot" else gumbel
    sharpening = draw(between(settings.first_temperature, settings.last_temperature))
    return replace(settings.darts(size), sample=Sample(sharpening))

"""The choices of a method that carry settings of their own; what each of them does stands in ``nascommon/search``.

Those that a user may name in ``params.yaml`` are sections of it, told apart by their ``kind``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from nascommon.parts.discretizer import Discretizer, strongest_edges
from nascommon.parts.relaxation import Relaxation
from nascommon.parts.sampling import Sampler
from nascommon.settings import Channels, Divisor, Settings, by_kind
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import Mixing
from nascommon.space.space import Space
from nascommon.space.stem import Stem

Use = Literal["weights", "architecture", "evaluation"]
"""Purpose of a forward pass: a step of the network weights, a step of the architecture, or a score."""
USES: frozenset[Use] = frozenset(get_args(Use))
STEPS: frozenset[Use] = USES - {"evaluation"}


class FirstOrder(Settings):
    """The network weights are taken as they are: no step of them is looked ahead (DARTS, eq. 7 with xi = 0)."""

    kind: Literal["first_order"] = "first_order"


class Unrolled(Settings):
    """One step of the network weights is looked ahead, by a finite difference (DARTS, eqs. 7 and 8)."""

    kind: Literal["unrolled"] = "unrolled"
    radius: Divisor = 0.01
    """Length of the two steps that the difference is taken between; the papers' epsilon is this divided by the norm of
    the validation gradient."""


class UnrolledExact(Settings):
    """One step of the network weights is looked ahead and differentiated exactly, by double backward (DARTS, eq. 6)."""

    kind: Literal["unrolled_exact"] = "unrolled_exact"


Approximation = Annotated[
    FirstOrder | Unrolled | UnrolledExact,
    Field(discriminator="kind"),
    by_kind(FirstOrder, Unrolled, UnrolledExact),
]
"""Way in which the architecture step sees that the network weights depend on the architecture (DARTS, section 2.3)."""


class Soft(Settings):
    """A pass that trains the supernet under its mixing weights."""

    kind: Literal["soft"] = "soft"


class Induced(Settings):
    """A pass that trains the model which the present genotype induces (EC-DARTS, induced structural transition)."""

    kind: Literal["induced"] = "induced"
    arch_steps: bool = True
    """True where the supernet meanwhile takes architecture steps, batch by batch."""


Pass = Annotated[Soft | Induced, Field(discriminator="kind"), by_kind(Soft, Induced)]
"""One sweep over the weight half in an epoch."""


class MixedOp(Settings):
    """Channels that an edge of the supernet mixes, and the stem before the first cell."""

    channel_divisor: Channels = 1
    """K: one K-th of the channels goes through the candidates (PC-DARTS); 1 is all."""
    stem: Stem = "cifar"
    """``imagenet`` halves three times before the first cell, for images of 224 pixels."""


@dataclass(frozen=True)
class Sample:
    """Draw that forward passes use instead of the mixing weights themselves.

    Attributes:
        draw: makes it from the mixing weights, anew for every forward pass.
        uses: the forward passes that draw. Scores are among them only where a sampler leaves nothing to chance: they
            see the mixing weights, which are what the draws are on average.
    """

    draw: Sampler
    uses: frozenset[Use] = STEPS


@dataclass(frozen=True)
class Discretize:
    """Weights to a genotype.

    Attributes:
        pick: chooses edges and operations by their weights.
        read: makes those weights from the logits; None reads the mixing weights.
    """

    pick: Discretizer = strongest_edges
    read: Relaxation | None = None

    def __call__(self, weights: Mixing, space: Space) -> Genotype:
        """Return the genotype that the weights stand for."""
        return self.pick(weights, space)


@dataclass(frozen=True)
class Discretized:
    """The search's result is its last discretized genotype, or the best induced model's where a pass trained any."""


@dataclass(frozen=True)
class Drawn:
    """The search's result is one genotype drawn from the mixing weights: plain sampling."""


@dataclass(frozen=True)
class BestOf:
    """The search's result is the best of ``count`` genotypes drawn from the mixing weights.

    They are compared by validation accuracy with inherited weights.
    """

    count: int


Selection = Discretized | Drawn | BestOf
"""The way from the end of a search to one genotype."""

"""A search method is a frozen record of a few choices; one loop runs them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Self, get_type_hints

from pydantic import Field, model_validator

from nascommon.parts.choices import (
    Approximation,
    Discretize,
    Discretized,
    FirstOrder,
    MixedOp,
    Pass,
    Sample,
    Selection,
    Soft,
)
from nascommon.parts.logits import LogitsInitialiser, normal_alpha
from nascommon.parts.penalty import Penalty, no_penalty
from nascommon.parts.relaxation import Relaxation, softmax_over_operations
from nascommon.settings import BatchSize, Epochs, NonNegative, Positive, Settings, WeightDecay, Whole
from nascommon.space.genotype import Genotype
from nascommon.space.space import NONE, Space

StopRule = Callable[[Genotype], bool]
"""(genotype after an epoch) -> whether the phase ends here."""

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Factor of the old values in a running mean: 1 would never take anything in."""


class WeightOptimiser(Settings):
    """SGD on the network weights of the supernet, cosine from ``lr`` to ``lr_min``."""

    lr: Positive = 0.025
    lr_min: NonNegative = 0.001
    momentum: Decay = 0.9
    weight_decay: WeightDecay = 3e-4
    clip: Positive = 5.0
    """Largest norm of the gradient."""
    warmup_epochs: Whole = 0
    """First epochs of a phase in which the rate rises linearly to ``lr``."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min: must be at most lr ({self.lr}) (got {self.lr_min})")
        return self


class ArchOptimiser(Settings):
    """Adam on the architecture logits; weight decay is L2 inside Adam, as in the released codes."""

    lr: Positive = 3e-4
    beta1: Decay = 0.5
    beta2: Decay = 0.999
    weight_decay: WeightDecay = 1e-3
    clip: Positive | None = None
    """Largest norm of the gradient; null does not clip."""
    alpha_delay: Whole = 0
    """First epochs of a phase in which the learning rate of alpha is 0, while Adam's moments already gather (DA2S)."""


@dataclass(frozen=True)
class ArchGradient:
    """The logits follow the gradient of the validation loss.

    Attributes:
        approximation: of that gradient.
        optimiser: what takes the steps.
    """

    approximation: Approximation = field(default_factory=FirstOrder)
    optimiser: ArchOptimiser = field(default_factory=ArchOptimiser)


@dataclass(frozen=True)
class SearchSize:
    """What the user's ``search`` section fixes for every method: the supernet's channels and cells, and the space."""

    channels: int
    cells: int
    space: Space

    def candidates(self, *, none: bool) -> int:
        """Return the most candidates that an edge has at the start; a kind of cell with fewer keeps all of its own."""
        edges = (names for edges in self.space.candidates.values() for names in edges)
        return max(sum(none or name != NONE for name in names) for names in edges)


@dataclass(frozen=True)
class Phase:
    """A stretch of the search with a supernet of its own.

    Attributes:
        epochs: how long.
        channels: of the supernet's first cell.
        cells: depth of the supernet.
        warmup: first epochs without architecture steps.
        keep: candidates per edge that the next phase goes on with; None keeps all.
        skip_dropout: probability at the start of the phase that an element of a skip's output is dropped.
    """

    epochs: int
    channels: int
    cells: int
    warmup: int = 0
    keep: int | None = None
    skip_dropout: float = 0.0


@dataclass(frozen=True)
class Method:
    """The choices that make a method; each carries its own settings, and one loop runs them all.

    Attributes:
        phases: how the search unfolds.
        batch_size: of both the weight and the architecture batches.
        weights: optimiser of the network weights.
        initialise: makes the logits of a cell.
        relax: logits -> mixing weights.
        sample: draws what a forward pass uses from the mixing weights; None uses the mixing weights themselves.
        penalty: added to the validation loss.
        mixed_op: how an edge computes.
        arch_gradient: how the logits learn; None leaves them as they were initialised.
        passes: what an epoch consists of.
        stop: ends a phase early; None never does.
        discretize: weights -> genotype.
        select: the way from the end of the search to one genotype.
        none: whether ``none`` is among the candidates where the space has it.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    weights: WeightOptimiser
    initialise: LogitsInitialiser
    relax: Relaxation
    sample: Sample | None = None
    penalty: Penalty = no_penalty
    mixed_op: MixedOp = field(default_factory=MixedOp)
    arch_gradient: ArchGradient | None = field(default_factory=ArchGradient)
    passes: tuple[Pass, ...] = (Soft(),)
    stop: StopRule | None = None
    discretize: Discretize = field(default_factory=Discretize)
    select: Selection = field(default_factory=Discretized)
    none: bool = True

    def __post_init__(self) -> None:
        for phase in self.phases:
            if phase.channels % self.mixed_op.channel_divisor:
                raise ValueError(
                    f"channel_divisor: must divide the {phase.channels} channels of the supernet "
                    f"(got {self.mixed_op.channel_divisor})"
                )

    def searched(self, space: Space) -> Space:
        """Return what of a space the method searches.

        Raises:
            ValueError: without ``none`` its edges have different numbers of candidates, or none at all.
        """
        return space if self.none else space.without_none()

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)


class DartsLike(Settings):
    """Settings of DARTS and its children: one phase on the supernet of the ``search`` section; defaults are DARTS'."""

    epochs: Epochs = 50
    warmup: Whole = 0
    """First epochs without architecture steps."""
    batch_size: BatchSize = 64
    alpha_scale: NonNegative = 1e-3
    """Alpha starts at this times N(0, 1)."""
    none: bool = True
    """Whether an edge may become ``none`` while the search lasts, where the space has that candidate."""
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if self.warmup >= self.epochs:
            raise ValueError(
                f"warmup: must be less than epochs ({self.epochs}), or nothing is learned (got {self.warmup})"
            )
        return self

    def darts(self, size: SearchSize) -> Method:
        """Return first-order DARTS with these settings; a child replaces the choices that its paper changes."""
        return Method(
            none=self.none,
            phases=(Phase(self.epochs, size.channels, size.cells, self.warmup),),
            batch_size=self.batch_size,
            weights=self.weights,
            initialise=normal_alpha(self.alpha_scale),
            relax=softmax_over_operations,
            arch_gradient=ArchGradient(optimiser=self.architecture),
        )


Recipe = Callable[[Any, SearchSize], Method]
"""(the method's settings, size of the search) -> record."""


@dataclass(frozen=True)
class Entry:
    """A method as the registry knows it: its recipe and the type of its settings."""

    name: str
    settings: type[Settings]
    recipe: Recipe
    summary: str


REGISTRY: dict[str, Entry] = {}
"""Every method by name; ``nascommon.methods`` fills it."""


def register(recipe: Recipe) -> Recipe:
    """Enter a recipe under its function name, which is also its file name and its key in ``params.yaml``.

    The settings type is read from the annotation of the recipe's first parameter.
    """
    name = recipe.__name__
    settings = get_type_hints(recipe)["settings"]
    assert name not in REGISTRY, name
    assert issubclass(settings, Settings), name
    summary = (recipe.__doc__ or "").strip().splitlines()[0]
    REGISTRY[name] = Entry(name, settings, recipe, summary)
    return recipe

"""A search method is a frozen record of a few choices; one loop runs them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import AfterValidator, Field, model_validator

from nascommon.parts.discretizer import Discretizer, strongest_edges
from nascommon.parts.logits import LogitsInitialiser, normal_alpha
from nascommon.parts.penalty import Penalty, no_penalty
from nascommon.parts.relaxation import Relaxation, softmax_over_operations
from nascommon.parts.sampling import Sampler
from nascommon.settings import BatchSize, Epochs, NonNegative, Positive, Settings, Whole
from nascommon.space.genotype import Genotype
from nascommon.space.operations import CANDIDATES, OPERATIONS
from nascommon.space.stem import Stem


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

ArchGradient = Literal["first_order", "unrolled", "unrolled_exact"]
"""How the architecture step sees that the network weights depend on the architecture (DARTS, section 2.3)."""

PassName = Literal["soft", "induced"]
"""One sweep over the weight half in an epoch: ``soft`` trains the supernet under its mixing weights, ``induced`` trains
the model that its present genotype induces (IST of EC-DARTS)."""

Use = Literal["weights", "architecture", "evaluation"]
"""What a forward pass is for: a step of the network weights, a step of the architecture, or a score."""
USES: frozenset[Use] = frozenset(get_args(Use))
STEPS: frozenset[Use] = USES - {"evaluation"}

StopRule = Callable[[Genotype], bool]
"""(genotype after an epoch) -> whether the phase ends here."""


Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a running mean: 1 would never take anything in."""


class WeightOptimiser(Settings):
    """SGD on the network weights of the supernet, cosine from ``lr`` to ``lr_min``."""

    lr: Positive = 0.025
    lr_min: NonNegative = 0.001
    momentum: Decay = 0.9
    weight_decay: NonNegative = 3e-4
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
    weight_decay: NonNegative = 1e-3
    clip: Positive | None = None
    """Largest norm of the gradient; null does not clip."""
    alpha_delay: Whole = 0
    """First epochs of a phase in which the learning rate of alpha is 0, while Adam's moments already gather (DA2S)."""


@dataclass(frozen=True)
class SearchSize:
    """What the user's ``search`` section fixes for every method: the supernet's channels, cells and nodes per cell."""

    channels: int
    cells: int
    nodes: int


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
    """The choices that make a method (design: one loop runs them all).

    Attributes:
        candidates: operations of every edge at the start.
        phases: how the search unfolds.
        batch_size: of both the weight and the architecture batches.
        weights: optimiser of the network weights.
        initialise: makes the logits of a cell.
        relax: logits -> mixing weights.
        sample: draws what one forward pass uses from the mixing weights; None uses the mixing weights themselves.
        sample_in: the forward passes that draw. Scores are among them only where a sampler leaves nothing to chance:
            they see the mixing weights, which are what the draws are on average.
        penalty: added to the validation loss.
        channel_divisor: share of the channels that goes through the candidates (PC-DARTS); 1 is all.
        stem: of the supernet.
        arch_gradient: None where the architecture is not learned by gradient.
        finite_difference_radius: epsilon of ``unrolled``, divided by the norm of the validation gradient.
        architecture: optimiser of the logits.
        passes: what an epoch consists of.
        induced_arch_steps: whether the induced pass takes architecture steps on the supernet, batch by batch.
        stop: ends a phase early.
        parse: the weights that ``discretize`` reads; None reads the mixing weights.
        discretize: weights -> genotype.
        samples: 0 takes the discretized mixing weights as the result; n takes the best of n genotypes drawn from them,
            by validation accuracy with inherited weights; 1 is therefore plain sampling.
    """

    candidates: tuple[str, ...]
    phases: tuple[Phase, ...]
    batch_size: int
    weights: WeightOptimiser
    initialise: LogitsInitialiser
    relax: Relaxation
    sample: Sampler | None = None
    sample_in: frozenset[Use] = STEPS
    penalty: Penalty = no_penalty
    channel_divisor: int = 1
    stem: Stem = "cifar"
    arch_gradient: ArchGradient | None = "first_order"
    finite_difference_radius: float = 0.01
    architecture: ArchOptimiser = field(default_factory=ArchOptimiser)
    passes: tuple[PassName, ...] = ("soft",)
    induced_arch_steps: bool = True
    stop: StopRule | None = None
    parse: Relaxation | None = None
    discretize: Discretizer = strongest_edges
    samples: int = 0

    def __post_init__(self) -> None:
        for phase in self.phases:
            if phase.channels % self.channel_divisor:
                raise ValueError(
                    f"channel_divisor: must divide the {phase.channels} channels of the supernet "
                    f"(got {self.channel_divisor})"
                )

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)


class DartsLike(Settings):
    """What DARTS and its children share: one phase on the supernet of the ``search`` section; defaults are DARTS'."""

    epochs: Epochs = 50
    warmup: Whole = 0
    """First epochs without architecture steps."""
    batch_size: BatchSize = 64
    alpha_scale: NonNegative = 1e-3
    """Alpha starts at this times N(0, 1)."""
    candidates: CandidateNames = CANDIDATES
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
            candidates=self.candidates,
            phases=(Phase(self.epochs, size.channels, size.cells, self.warmup),),
            batch_size=self.batch_size,
            weights=self.weights,
            initialise=normal_alpha(self.alpha_scale),
            relax=softmax_over_operations,
            architecture=self.architecture,
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

"""Custom: any combination of the parts, named in ``params.yaml``, without code."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from nascommon.method import (
    ArchGradient,
    ArchOptimiser,
    CandidateNames,
    Method,
    PassName,
    Phase,
    SearchSize,
    WeightOptimiser,
    register,
)
from nascommon.parts.control import linear, scaled
from nascommon.parts.discretizer import Discretizer, EdgeRank, KeptEdges, at_most_skips, keep_edges, strongest
from nascommon.parts.logits import LogitsInitialiser, normal_alpha, with_kept_share_beta, with_normal_beta
from nascommon.parts.penalty import EntropyPenalty, Penalty, beta_decay_penalty, no_penalty, sum_of, zero_one_penalty
from nascommon.parts.relaxation import (
    Relaxation,
    cross_edge_softmax,
    identity,
    sharpened,
    sharpened_softmax_over_operations,
    sigmoid,
    softmax_over_operations,
    with_clipped_edge_softmax,
    with_edge_softmax,
)
from nascommon.settings import (
    MOST_PHASES,
    AddedChannels,
    BatchSize,
    Channels,
    Count,
    Epochs,
    NonNegative,
    Positive,
    Probability,
    SearchCells,
    Settings,
    Whole,
)
from nascommon.space.operations import CANDIDATES
from nascommon.space.stem import Stem

RELAXATIONS: dict[str, Relaxation] = {
    "softmax": softmax_over_operations,
    "sharpened_softmax": sharpened_softmax_over_operations,
    "cross_edge": cross_edge_softmax,
    "sigmoid": sigmoid,
}


class RelaxChoice(Settings):
    """Logits to mixing weights."""

    operations: Literal["softmax", "sharpened_softmax", "cross_edge", "sigmoid"] = "softmax"
    edges: Literal["none", "softmax", "clipped_softmax"] = "none"
    """Whether edges have logits of their own: softmax as in PC-DARTS, clipped_softmax as in DA2S."""


class PenaltyChoice(Settings):
    """What is added to the validation loss; several add up."""

    entropy: EntropyPenalty | None = None
    """DA2S' penalties."""
    zero_one: NonNegative = 0.0
    """Weight of FairDARTS' zero-one loss."""
    beta_decay: NonNegative = 0.0
    """Weight that Beta-DARTS' decay reaches at the end."""


class PhaseChoice(Settings):
    """A stretch of the search with a supernet of its own."""

    epochs: Epochs = 50
    warmup: Whole = 0
    """First epochs without architecture steps."""
    cells: SearchCells | None = None
    """Depth of this phase's supernet; null takes search.cells."""
    added_channels: AddedChannels = 0
    keep: Count | None = None
    """Candidates per edge that the next phase goes on with."""
    skip_dropout: Probability = 0.0


class MixedOpChoice(Settings):
    """How an edge computes."""

    channel_divisor: Channels = 1
    stem: Stem = "cifar"


class DiscretizeChoice(Settings):
    """Mixing weights to genotype."""

    kept_edges: KeptEdges = 8
    rank: EdgeRank = "product"
    """What the edges of a node are ranked by: operation times edge weight, or the edge weight alone."""
    most_skips: Whole | None = None
    """Skip connections that the normal cell may keep."""


class CustomSettings(Settings):
    """The seven choices of a method; the defaults are first-order DARTS."""

    relax: RelaxChoice = RelaxChoice()
    penalty: PenaltyChoice = PenaltyChoice()
    phases: tuple[PhaseChoice, ...] = Field(default=(PhaseChoice(),), min_length=1, max_length=MOST_PHASES)
    mixed_op: MixedOpChoice = MixedOpChoice()
    arch_gradient: ArchGradient = "first_order"
    passes: tuple[PassName, ...] = ("soft",)
    discretize: DiscretizeChoice = DiscretizeChoice()
    batch_size: BatchSize = 64
    candidates: CandidateNames = CANDIDATES
    finite_difference_radius: Positive = 0.01
    alpha_scale: NonNegative = 1e-3
    beta_scale: NonNegative = 1e-3
    weights: WeightOptimiser = WeightOptimiser()
    architecture: ArchOptimiser = ArchOptimiser()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for impossible in (
            self._edges_without_logits,
            self._penalty_of_nothing,
            self._phases_wrong,
            self._passes_wrong,
        ):
            if complaint := impossible():
                raise ValueError(complaint)
        return self

    def _edges_without_logits(self) -> str | None:
        if self.relax.edges != "none":
            return None
        if self.discretize.rank == "edge":
            return (
                "discretize.rank: edges cannot be ranked by weights that they do not have; set relax.edges (got edge)"
            )
        entropy = self.penalty.entropy
        if entropy is not None and entropy.lambda_2.factor > 0:
            return (
                "penalty.entropy.lambda_2: there are no edge logits whose entropy could fall; "
                "set relax.edges, or lambda_2: {factor: 0}"
            )
        return None

    def _penalty_of_nothing(self) -> str | None:
        if self.relax.operations == "sigmoid" and self.penalty.entropy is not None:
            return "penalty.entropy: sigmoids do not sum to one and have no entropy; use penalty.zero_one instead"
        if self.relax.operations != "sigmoid" and self.penalty.zero_one > 0:
            return "penalty.zero_one: pushes sigmoids to 0 or 1 and needs relax.operations sigmoid"
        return None

    def _phases_wrong(self) -> str | None:
        left = len(self.candidates)
        for index, phase in enumerate(self.phases):
            where, last = f"phases.{index}", index == len(self.phases) - 1
            if phase.warmup >= phase.epochs:
                return f"{where}.warmup: must be less than its epochs ({phase.epochs}) (got {phase.warmup})"
            if phase.keep is not None and last:
                return f"{where}.keep: the last phase has no successor to keep candidates for (got {phase.keep})"
            if phase.keep is not None and not 1 < phase.keep <= left:
                return f"{where}.keep: must be from 2 to {left}, the candidates at that point (got {phase.keep})"
            if phase.skip_dropout > 0 and self.arch_gradient != "first_order":
                return (
                    f"{where}.skip_dropout: the unrolled gradient compares passes that must see the same dropout; use 0"
                )
            left = phase.keep or left
        return None

    def _passes_wrong(self) -> str | None:
        if not self.passes or self.passes[0] != "soft" or len(set(self.passes)) != len(self.passes):
            return f"passes: must be [soft] or [soft, induced] (got {list(self.passes)})"
        return None


@register
def custom(settings: CustomSettings, size: SearchSize) -> Method:
    """Your own combination of relaxation, penalty, phases, mixed operation, gradient, passes and discretizer."""
    keep = keep_edges(settings.discretize.kept_edges, size.nodes)
    return Method(
        candidates=settings.candidates,
        phases=tuple(
            Phase(p.epochs, size.channels + p.added_channels, p.cells or size.cells, p.warmup, p.keep, p.skip_dropout)
            for p in settings.phases
        ),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=_initialiser(settings, keep.per_node),
        relax=_relaxation(settings.relax, keep.per_node),
        penalty=_penalty(settings, keep.per_node),
        channel_divisor=settings.mixed_op.channel_divisor,
        stem=settings.mixed_op.stem,
        arch_gradient=settings.arch_gradient,
        finite_difference_radius=settings.finite_difference_radius,
        architecture=settings.architecture,
        passes=settings.passes,
        discretize=_discretizer(settings.discretize, size),
    )


def _initialiser(settings: CustomSettings, kept: tuple[int, ...]) -> LogitsInitialiser:
    alphas = normal_alpha(settings.alpha_scale)
    match settings.relax.edges:
        case "none":
            return alphas
        case "softmax":
            return with_normal_beta(alphas, settings.beta_scale)
        case "clipped_softmax":
            return with_kept_share_beta(alphas, kept, settings.beta_scale)


def _relaxation(choice: RelaxChoice, kept: tuple[int, ...]) -> Relaxation:
    operations = RELAXATIONS[choice.operations]
    match choice.edges:
        case "none":
            return operations
        case "softmax":
            return with_edge_softmax(operations)
        case "clipped_softmax":
            return with_clipped_edge_softmax(operations, kept)


def _penalty(settings: CustomSettings, kept: tuple[int, ...]) -> Penalty:
    choice = settings.penalty
    parts: list[Penalty] = []
    if choice.entropy is not None:
        sharp = settings.relax.operations == "sharpened_softmax"
        parts.append(choice.entropy.penalty(kept, sharpened if sharp else identity))
    if choice.zero_one:
        parts.append(zero_one_penalty(choice.zero_one))
    if choice.beta_decay:
        parts.append(beta_decay_penalty(scaled(choice.beta_decay, linear)))
    return sum_of(parts) if parts else no_penalty


def _discretizer(choice: DiscretizeChoice, size: SearchSize) -> Discretizer:
    chosen = strongest(keep_edges(choice.kept_edges, size.nodes), choice.rank)
    return chosen if choice.most_skips is None else at_most_skips(chosen, choice.most_skips)

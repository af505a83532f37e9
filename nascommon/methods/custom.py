"""Custom: any combination of the parts, named in ``params.yaml``, without code."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nascommon.method import (
    ArchGradient,
    ArchOptimiser,
    Method,
    Phase,
    SearchSize,
    WeightOptimiser,
    register,
)
from nascommon.parts.choices import Approximation, Discretize, FirstOrder, MixedOp, Pass, Soft
from nascommon.parts.control import linear, scaled
from nascommon.parts.discretizer import Discretizer, EdgeRank, Keep, KeptEdges, at_most_skips, keep_edges, strongest
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
    Count,
    Epochs,
    NonNegative,
    Probability,
    SearchCells,
    Settings,
    Whole,
    by_kind,
)

RELAXATIONS: dict[str, Relaxation] = {
    "softmax": softmax_over_operations,
    "sharpened_softmax": sharpened_softmax_over_operations,
    "cross_edge": cross_edge_softmax,
    "sigmoid": sigmoid,
}


class Unweighed(Settings):
    """Edges have no weight of their own."""

    kind: Literal["none"] = "none"

    def initialise(self, alphas: LogitsInitialiser, _keep: Keep) -> LogitsInitialiser:
        """Return what makes the logits of a cell: those of the operations alone."""
        return alphas

    def relax(self, operations: Relaxation, _keep: Keep) -> Relaxation:
        """Return the relaxation: that of the operations alone."""
        return operations


class EdgeSoftmax(Settings):
    """The edges that enter a node compete by a softmax over logits of their own (PC-DARTS)."""

    kind: Literal["softmax"] = "softmax"
    scale: NonNegative = 1e-3
    """The edge logits start at this times N(0, 1)."""

    def initialise(self, alphas: LogitsInitialiser, _keep: Keep) -> LogitsInitialiser:
        """Return what makes the logits of a cell."""
        return with_normal_beta(alphas, self.scale)

    def relax(self, operations: Relaxation, _keep: Keep) -> Relaxation:
        """Return the relaxation, weighed edge by edge."""
        return with_edge_softmax(operations)


class ClippedEdgeSoftmax(Settings):
    """The edges of a node that shall lose some compete by n softmax(min(beta, 1)) (DA2S)."""

    kind: Literal["clipped_softmax"] = "clipped_softmax"
    scale: NonNegative = 1e-3
    """The edge logits start at the share of edges to keep plus this times N(0, 1)."""

    def initialise(self, alphas: LogitsInitialiser, keep: Keep) -> LogitsInitialiser:
        """Return what makes the logits of a cell of which each node keeps so many edges."""
        return with_kept_share_beta(alphas, keep, self.scale)

    def relax(self, operations: Relaxation, keep: Keep) -> Relaxation:
        """Return the relaxation, weighed edge by edge."""
        return with_clipped_edge_softmax(operations, keep)


EdgeWeights = Annotated[
    Unweighed | EdgeSoftmax | ClippedEdgeSoftmax,
    Field(discriminator="kind"),
    by_kind(Unweighed, EdgeSoftmax, ClippedEdgeSoftmax),
]


class RelaxChoice(Settings):
    """Logits to mixing weights."""

    operations: Literal["softmax", "sharpened_softmax", "cross_edge", "sigmoid"] = "softmax"
    edges: EdgeWeights = Unweighed()
    """Logits that edges have of their own."""


class PenaltyChoice(Settings):
    """Penalty on the validation loss; several add up."""

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


class DiscretizeChoice(Settings):
    """Mixing weights to genotype."""

    kept_edges: KeptEdges = 8
    rank: EdgeRank = "product"
    """Rank of the edges of a node: operation times edge weight, or the edge weight alone."""
    most_skips: Whole | None = None
    """Skip connections that the normal cell may keep."""


class CustomSettings(Settings):
    """The seven choices of a method; the defaults are first-order DARTS."""

    relax: RelaxChoice = RelaxChoice()
    penalty: PenaltyChoice = PenaltyChoice()
    phases: tuple[PhaseChoice, ...] = Field(default=(PhaseChoice(),), min_length=1, max_length=MOST_PHASES)
    mixed_op: MixedOp = MixedOp()
    arch_gradient: Approximation = FirstOrder()
    passes: tuple[Pass, ...] = (Soft(),)
    discretize: DiscretizeChoice = DiscretizeChoice()
    batch_size: BatchSize = 64
    none: bool = True
    alpha_scale: NonNegative = 1e-3
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
        if not isinstance(self.relax.edges, Unweighed):
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
        for index, phase in enumerate(self.phases):
            where, last = f"phases.{index}", index == len(self.phases) - 1
            if phase.warmup >= phase.epochs:
                return f"{where}.warmup: must be less than its epochs ({phase.epochs}) (got {phase.warmup})"
            if phase.keep is not None and last:
                return f"{where}.keep: the last phase has no successor to keep candidates for (got {phase.keep})"
            if phase.skip_dropout > 0 and not isinstance(self.arch_gradient, FirstOrder):
                return (
                    f"{where}.skip_dropout: the unrolled gradient compares passes that must see the same dropout; use 0"
                )
        return None

    def _passes_wrong(self) -> str | None:
        kinds = [choice.kind for choice in self.passes]
        if kinds not in (["soft"], ["soft", "induced"]):
            return f"passes: must be [soft] or [soft, induced] (got [{', '.join(kinds)}])"
        return None


@register
def custom(settings: CustomSettings, size: SearchSize) -> Method:
    """Your own combination of relaxation, penalty, phases, mixed operation, gradient, passes and discretizer."""
    _check_kept_candidates(settings, size.candidates(none=settings.none))
    keep, edges = keep_edges(settings.discretize.kept_edges, size.space), settings.relax.edges
    return Method(
        none=settings.none,
        phases=tuple(
            Phase(p.epochs, size.channels + p.added_channels, p.cells or size.cells, p.warmup, p.keep, p.skip_dropout)
            for p in settings.phases
        ),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=edges.initialise(normal_alpha(settings.alpha_scale), keep),
        relax=edges.relax(RELAXATIONS[settings.relax.operations], keep),
        penalty=_penalty(settings, keep),
        mixed_op=settings.mixed_op,
        arch_gradient=ArchGradient(settings.arch_gradient, settings.architecture),
        passes=settings.passes,
        discretize=Discretize(_discretizer(settings.discretize, size)),
    )


def _check_kept_candidates(settings: CustomSettings, left: int) -> None:
    for index, phase in enumerate(settings.phases):
        if phase.keep is not None and not 1 < phase.keep <= left:
            raise ValueError(
                f"phases.{index}.keep: must be from 2 to {left}, the candidates at that point (got {phase.keep})"
            )
        left = phase.keep or left


def _penalty(settings: CustomSettings, keep: Keep) -> Penalty:
    choice = settings.penalty
    parts: list[Penalty] = []
    if choice.entropy is not None:
        sharp = settings.relax.operations == "sharpened_softmax"
        parts.append(choice.entropy.penalty(keep, sharpened if sharp else identity))
    if choice.zero_one:
        parts.append(zero_one_penalty(choice.zero_one))
    if choice.beta_decay:
        parts.append(beta_decay_penalty(scaled(choice.beta_decay, linear)))
    return sum_of(parts) if parts else no_penalty


def _discretizer(choice: DiscretizeChoice, size: SearchSize) -> Discretizer:
    chosen = strongest(keep_edges(choice.kept_edges, size.space), choice.rank)
    return chosen if choice.most_skips is None else at_most_skips(chosen, choice.most_skips)

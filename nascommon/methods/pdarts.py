"""P-DARTS: deepen the supernet in phases while the candidates become fewer (Chen, Xie, Wu, Tian, ICCV 2019)."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

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
from nascommon.parts.choices import Discretize
from nascommon.parts.discretizer import at_most_skips, keep_edges, strongest
from nascommon.parts.logits import normal_alpha
from nascommon.parts.relaxation import softmax_over_operations
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
)


class PdartsSettings(Settings):
    """The defaults are the paper's on CIFAR-10 (docs/methods.md, section 3.4); lists have one entry per phase.

    Deviation: the dropout of the first phase is the paper's 0 where the released README starts with 0.1; set
    ``skip_dropout: [0.1, 0.4, 0.7]`` for that, and [0.1, 0.2, 0.3] for the paper's CIFAR-100.
    """

    epochs: Epochs = 25
    """Epochs of each phase."""
    warmup: Whole = 10
    """First epochs of each phase without architecture steps."""
    cells: tuple[SearchCells, ...] = Field(default=(5, 11, 17), min_length=1, max_length=MOST_PHASES)
    """Depth of the supernet by phase; each phase trains a new one."""
    added_channels: tuple[AddedChannels, ...] = (0, 0, 0)
    """Channels that each phase adds to search.channels."""
    survivors: tuple[Count, ...] = (5, 3)
    """Candidates per edge that go on to the second and every later phase."""
    skip_dropout: tuple[Probability, ...] = (0.0, 0.4, 0.7)
    """Probability by phase with which elements of a skip's output are dropped at first."""
    most_skips: Whole | None = 2
    """Skip connections that the normal cell may keep; null sets no limit."""
    batch_size: BatchSize = 96
    alpha_scale: NonNegative = 1e-3
    none: bool = True
    weights: WeightOptimiser = WeightOptimiser(lr_min=0.0)
    architecture: ArchOptimiser = ArchOptimiser(lr=6e-4, clip=5.0)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        phases = len(self.cells)
        for name, wanted in (("added_channels", phases), ("skip_dropout", phases), ("survivors", phases - 1)):
            got = getattr(self, name)
            if len(got) != wanted:
                raise ValueError(f"{name}: must have {wanted} entries for {phases} phases (got {len(got)})")
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup: must be less than epochs ({self.epochs}) (got {self.warmup})")
        return self


@register
def pdarts(settings: PdartsSettings, size: SearchSize) -> Method:
    """Three ever deeper supernets with 8, 5 and 3 candidates per edge, dropout on skips, at most two skips."""
    _check_survivors(settings, size.candidates(none=settings.none))
    chosen = strongest(keep_edges(8, size.space))
    return Method(
        none=settings.none,
        phases=tuple(
            Phase(settings.epochs, size.channels + added, cells, settings.warmup, keep, dropout)
            for added, cells, keep, dropout in zip(
                settings.added_channels, settings.cells, (*settings.survivors, None), settings.skip_dropout, strict=True
            )
        ),
        batch_size=settings.batch_size,
        weights=settings.weights,
        initialise=normal_alpha(settings.alpha_scale),
        relax=softmax_over_operations,
        arch_gradient=ArchGradient(optimiser=settings.architecture),
        discretize=Discretize(chosen if settings.most_skips is None else at_most_skips(chosen, settings.most_skips)),
    )


def _check_survivors(settings: PdartsSettings, candidates: int) -> None:
    counts = (candidates, *settings.survivors)
    if any(later > earlier for earlier, later in pairwise(counts)) or counts[-1] < 2:  # noqa: PLR2004
        got = list(settings.survivors)
        raise ValueError(f"survivors: must fall from the space's {candidates} candidates to at least 2 (got {got})")

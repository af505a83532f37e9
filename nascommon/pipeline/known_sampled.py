"""Architectures drawn from the final mixing weights: does a search prefer those that are known to be good?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nascommon.gaps.architectures import FEWEST, different_draws
from nascommon.pipeline.known_scores import Scored, Scorer, ranking_of, scored_by
from nascommon.pipeline.ranked import RankingSetup
from nascommon.pipeline.truths import Source
from nascommon.space.genotype import CellGenotype, Genotype
from nascommon.space.space import NONE, CellSpace, Space
from nascommon.statistics.intervals import bootstrap_difference


@dataclass(frozen=True)
class Sampled:
    """Different architectures that the final mixing weights brought up.

    Attributes:
        wanted: number that was asked for.
        different: number that came up; fewer where the weights are sharp.
        known: number of those that are known.
        scored: the known ones with their scores; None where they are fewer than three.
        space: that they were drawn from.
    """

    wanted: int
    different: int
    known: int
    scored: Scored | None
    space: Space

    def against(self, uniform: Scored, seed: int) -> dict[str, Any]:
        """Return their ranking and how much better they are on average than the uniform draw, or why there is none.

        Of the uniform draw those count that the weights could have drawn, too: where ``none`` wins no edge, cells
        without it are better than others whatever the search has learned.

        Args:
            uniform: known architectures, drawn uniformly.
            seed: of the intervals.
        """
        tree: dict[str, Any] = {"wanted": self.wanted, "different": self.different, "known": self.known}
        if self.scored is None:
            return {**tree, "reason": self._why_none()}
        known_N = self.scored.known_N
        tree |= {"ranking": ranking_of(self.scored.score_N, known_N, seed).as_dict(), "mean": float(known_N.mean())}
        chance = [
            accuracy
            for genotype, accuracy in zip(uniform.genotypes, uniform.known_N, strict=True)
            if may_come_up(genotype, self.space)
        ]
        if len(chance) < FEWEST:
            return tree
        difference, low, high = bootstrap_difference(known_N.tolist(), chance, seed=seed)
        mean = sum(chance) / len(chance)
        tree["uniform"] = {"n": len(chance), "mean": mean, "difference": difference, "interval": [low, high]}
        return tree

    def _why_none(self) -> str:
        if self.different < FEWEST:
            return f"the final mixing weights are so sharp that only {self.different} came up"
        return f"only {self.known} of the {self.different} that came up are known"


def sample_known(ranked: RankingSetup, source: Source, scorer: Scorer) -> Sampled | None:
    """Draw different architectures in proportion to the final mixing weights and score the known ones.

    Returns:
        None where ``kendall_tau.known_sampled`` is 0.
    """
    wanted = ranked.run.params.kendall_tau.known_sampled
    if wanted == 0:
        return None
    state = ranked.final().open()
    different = different_draws(state, wanted, ranked.run.params.seed)
    known = [genotype for genotype in different if source.scores.known(genotype) is not None]
    scored = scored_by(scorer, state, source, known) if len(known) >= FEWEST else None
    return Sampled(wanted, len(different), len(known), scored, state.spec.space)


def may_come_up(genotype: Genotype, space: Space) -> bool:
    """Return whether mixing weights can draw an architecture: one that lacks edges only where ``none`` may win them."""
    return all(_complete(cell, space.cells[kind]) for kind, cell in genotype.items())


def _complete(cell: CellGenotype, space: CellSpace) -> bool:
    incoming = space.topology.incoming
    return space.may_win(NONE) or all(
        len(choices) == min(space.kept, len(incoming[node])) for node, choices in cell.by_state
    )

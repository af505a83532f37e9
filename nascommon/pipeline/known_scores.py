"""Architectures whose accuracy is known, with the scores that a search gives them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nascommon.data.batch import Batch, regrouped
from nascommon.data.split import stratified
from nascommon.pipeline.ranked import RankingSetup
from nascommon.pipeline.truths import Source
from nascommon.runtime.progress import progress
from nascommon.runtime.seeding import generator
from nascommon.search.choose import inherited_accuracies
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.statistics.ranking import Ranking, rank_correlation

SCORED_AT_ONCE = 512
"""Images of a batch in which architectures are scored: small supernets take as long for 50 as for 200."""
PARTS = 10
"""Lines that tell how far the scoring is."""
TOP = (1, 5, 10, 50)


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Known architectures with their scores.

    Attributes:
        genotypes: different ones.
        known_N: their accuracies.
        score_N: their search scores.
        trainings: accuracies of single trainings of each; none where these are not known.
    """

    genotypes: list[Genotype]
    known_N: Floats
    score_N: Floats
    trainings: list[tuple[float, ...]]

    @property
    def repeats(self) -> int:
        """Number of trainings that every architecture has at least."""
        return min(map(len, self.trainings), default=0)


class Scorer:
    """Scores architectures by supernets, on batches that are loaded once."""

    def __init__(self, ranked: RankingSetup) -> None:
        settings, data = ranked.run.params.kendall_tau, ranked.data
        few = data.calibration("kendall", settings.training.batch_size, settings.calibration_batches)
        self.calibration: list[Batch] = regrouped(few, SCORED_AT_ONCE)
        part, wanted = data.prepared.part("architecture"), settings.known_images
        if wanted is not None and wanted < len(part):
            _, few_of_each = stratified(part.strata, wanted / len(part), generator(data.seed, "kendall", "images"))
            part = part.subset(few_of_each)
        self.valid: list[Batch] = list(data.evaluation(part, SCORED_AT_ONCE, pieces=1).epoch(0))

    def scores(self, state: SearchState, genotypes: Sequence[Genotype]) -> Iterator[float]:
        """Yield the accuracy of each genotype with inherited weights, batch norm recalibrated."""
        return inherited_accuracies(state, genotypes, self.calibration, self.valid)


def scored_by(scorer: Scorer, state: SearchState, source: Source, genotypes: list[Genotype]) -> Scored:
    """Score architectures that a source knows."""
    score_N = told(state, genotypes, scorer)
    known = [source.scores.known(genotype) for genotype in genotypes]
    trainings = [source.trainings.known(genotype) if source.trainings else None for genotype in genotypes]
    return Scored(
        genotypes,
        np.array([one.mean for one in known if one is not None]),
        score_N,
        [one.accuracies if one is not None else () for one in trainings],
    )


def told(state: SearchState, genotypes: Sequence[Genotype], scorer: Scorer) -> Floats:
    """Score architectures and tell how far it is, a line for every tenth."""
    ends = np.unique(np.linspace(0, len(genotypes), PARTS + 1).round().astype(int)).tolist()
    scores: list[float] = []
    with progress("kendall_tau", len(ends) - 1, unit="tenth") as bar:
        for part, (begin, end) in enumerate(itertools.pairwise(ends)):
            for score in scorer.scores(state, genotypes[begin:end]):
                scores.append(score)
                bar.batch(len(scores) - begin, end - begin)
            bar.step(part, {"scored": f"{end} of {len(genotypes)} architectures"})
    return np.array(scores)


def ranking_of(score_N: Floats, known_N: Floats, seed: int) -> Ranking:
    """Compare scores with known accuracies."""
    return rank_correlation(score_N, known_N, seed=seed, top=TOP)


def table_of(scored: Scored, name: str = "known") -> pd.DataFrame:
    """Return a row for every architecture, called by ``name`` and a number."""
    most = max(map(len, scored.trainings), default=0)
    singles = {
        f"known_{index}": [one[index] if index < len(one) else None for one in scored.trainings]
        for index in range(most)
    }
    return pd.DataFrame(
        {
            "architecture": [f"{name} {index}" for index in range(len(scored.genotypes))],
            "search_score": scored.score_N,
            "known": scored.known_N,
            **singles,
            "genotype": [json.dumps(genotype.to_json()) for genotype in scored.genotypes],
        }
    )

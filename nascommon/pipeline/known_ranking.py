"""Scores of the search against architectures whose accuracy is known: hundreds of them, without one retraining."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from nascommon.gaps.architectures import FEWEST, SavedSupernet, TooFewToRankError
from nascommon.pipeline.known_sampled import sample_known
from nascommon.pipeline.known_scores import Scored, Scorer, ranking_of, scored_by, table_of
from nascommon.pipeline.paths import KENDALL
from nascommon.pipeline.ranked import RankingSetup
from nascommon.pipeline.ranking_outputs import RESULTS, Drawn, describe_ranking, headline, number, write_outputs
from nascommon.pipeline.run import Run
from nascommon.pipeline.truths import Source
from nascommon.report.sampled import sampled_sentences
from nascommon.runtime.artefacts import write_table
from nascommon.runtime.progress import progress, summary
from nascommon.runtime.seeding import derive
from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.mixing import one_hot
from nascommon.statistics.ranking import Ranking, rank_correlation, tau_in_words, trajectory
from nascommon.statistics.variance import attainable_tau, intraclass_correlation

TOP_SHARE = 0.1
"""The best tenth is ranked by itself too: among the good ones order matters, and it is harder."""


def rank_known(run: Run, ranked: RankingSetup, source: Source) -> None:
    """Rank architectures whose accuracy is known by their search score, and write data/kendall_tau."""
    scorer = Scorer(ranked)
    scored = score_known(ranked, source, scorer)
    trained = sum(map(len, scored.trainings)) / len(scored.genotypes)
    known = {
        "kind": source.kind, "protocol": source.scores.protocol, "architectures": len(source.scores.genotypes()),
        "trainings": trained, "repeats": scored.repeats,
    }  # fmt: skip
    tree = {"known": known, **agreement(scored, run.params.seed)}
    if (sampled := sample_known(ranked, source, scorer)) is not None:
        tree["sampled"] = sampled.against(scored, run.params.seed)
        if sampled.scored is not None:
            write_table(KENDALL / "sampled.csv", table_of(sampled.scored, "sampled"))
    if (table := by_epoch(ranked, scored, scorer)) is not None:
        write_table(KENDALL / "trajectory.csv", table)
        tree["trajectory"] = json.loads(table.to_json(orient="records"))
    ranking = ranking_of(scored.score_N, scored.known_N, run.params.seed)
    write_outputs(run, tree, table_of(scored), Drawn(ranking, "known", f"the {source.kind}"), run.provenance())
    summary(
        f"kendall_tau: inherited_val against the accuracies of a {source.kind}",
        {"truth": source.scores.protocol, **describe_ranking(ranking), **in_words(tree)},
        RESULTS,
    )


def in_words(tree: dict[str, Any]) -> dict[str, str]:
    """Return the lines beyond the ranking itself that a person reads."""
    lines = {}
    if top := tree["top_tenth"]:
        words = tau_in_words(top["n"], top["tau_b"], *(top["interval"] or (None, None)))
        chance = "" if top["p_value"] is None else f"p = {top['p_value']:.2g} by permutation, "
        lines["the best tenth"] = f"tau-b {words}, {chance}n = {top['n']}"
    if correlation := tree["icc"]:
        lines["noise of the truth"] = (
            f"{correlation['value']:.2f} of the variance of one training lies between architectures"
        )
    if "retest" in tree:
        retest = tree["retest"]
        words = tau_in_words(retest["n"], retest["tau_b"], *(retest["interval"] or (None, None)))
        lines["agreement of two trainings"] = f"tau-b {words}, n = {retest['n']}"
        lines["perfect score"] = f"would reach tau-b {number(tree['ceiling_tau_b'])}, on average"
    if rows := tree.get("trajectory"):
        lines["by epoch"] = ", ".join(f"{row['epoch'] + 1}: {number(row['tau_b'])}" for row in rows)
    for sentence in sampled_sentences(headline(tree)):
        lines["final weights"] = sentence
    return lines


def score_known(ranked: RankingSetup, source: Source, scorer: Scorer) -> Scored:
    """Draw architectures that are known and that the supernet holds, and score them by the end of the search.

    Raises:
        TooFewToRankError: fewer than three can be scored.
    """
    settings, state = ranked.run.params.kendall_tau, ranked.final().open()
    genotypes = drawn(source, state, settings.known_architectures, ranked.run.params.seed)
    if len(genotypes) < FEWEST:
        raise TooFewToRankError(
            len(genotypes),
            f"the final supernet holds {len(genotypes)} of the known architectures, and a ranking needs {FEWEST}; "
            "set kendall_tau.truth: retrain",
        )
    return scored_by(scorer, state, source, genotypes)


def drawn(source: Source, state: SearchState, count: int, seed: int) -> list[Genotype]:
    """Return up to ``count`` different architectures in random order, of those that are known and in the supernet."""
    known = source.scores.genotypes()
    order = np.random.default_rng(derive(seed, "kendall", "known")).permutation(len(known))
    found: list[Genotype] = []
    for position in order:
        if len(found) == count:
            break
        if fits(state, known[int(position)]):
            found.append(known[int(position)])
    return found


def fits(state: SearchState, genotype: Genotype) -> bool:
    """Return whether a supernet, whose candidates a method may have dropped, holds an architecture."""
    try:
        one_hot(genotype, state.spec.space, like=state.logits.like)
    except ValueError:
        return False
    return True


def by_epoch(ranked: RankingSetup, scored: Scored, scorer: Scorer) -> pd.DataFrame | None:
    """Return tau of every snapshot with the first architectures; None where it is not asked for."""
    settings, count = ranked.run.params.kendall_tau, len(scored.genotypes)
    if settings.mode != "trajectory":
        count = min(settings.known_by_epoch, count)
        if count < FEWEST or not ranked.search.snapshots:
            return None
    sources = ranked.snapshots()
    scores_TN = []
    with progress("kendall_tau", len(sources), unit="snapshot") as bar:
        for index, source in enumerate(sources):
            scores_TN.append(list(scorer.scores(source.open(), scored.genotypes[:count])))
            bar.step(index, {"scored": f"{count} architectures"}, note=f"of epoch {epoch_of(source) + 1}")
    return trajectory(scores_TN, scored.known_N[:count], epochs=[epoch_of(source) for source in sources])


def epoch_of(source: SavedSupernet) -> int:
    """Return the epoch of a snapshot, the first being 0, as in files; a person is told one more."""
    return int(source.name.removeprefix("epoch "))


def agreement(scored: Scored, seed: int) -> dict[str, Any]:
    """Return the ranking, that of the best tenth, the noise of the truth, and what a perfect score would reach."""
    tree: dict[str, Any] = {
        "ranking": ranking_of(scored.score_N, scored.known_N, seed).as_dict(),
        "top_tenth": None if (top := top_tenth(scored, seed)) is None else top.as_dict(),
    }
    correlation = intraclass_correlation(scored.trainings)
    tree["icc"] = None if correlation is None else correlation.as_dict()
    twice = [accuracies[:2] for accuracies in scored.trainings if len(accuracies) > 1]
    if len(twice) >= FEWEST:
        retest = rank_correlation(*zip(*twice, strict=True), seed=seed)
        tree["retest"] = retest.as_dict()
        tree["ceiling_tau_b"] = attainable_tau(retest.tau_b, max(scored.repeats, 1))
    return tree


def top_tenth(scored: Scored, seed: int) -> Ranking | None:
    """Rank the best tenth by known accuracy alone; None where that is fewer than three."""
    count = round(TOP_SHARE * len(scored.genotypes))
    if count < FEWEST:
        return None
    best = np.argsort(-scored.known_N, kind="stable")[:count]
    return ranking_of(scored.score_N[best], scored.known_N[best], seed)

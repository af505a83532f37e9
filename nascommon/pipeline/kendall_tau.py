"""Kendall tau: does the search rank architectures as retraining does?"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nascommon.config import Params
from nascommon.data.pictures import some
from nascommon.gaps.architectures import FEWEST, Architecture, TooFewToRankError, scored
from nascommon.pipeline.known_ranking import rank_known
from nascommon.pipeline.paths import KENDALL, METRICS, PLOTS
from nascommon.pipeline.ranked import RankingSetup, scorer
from nascommon.pipeline.ranking_outputs import RESULTS, Drawn, describe_ranking, number, write_outputs
from nascommon.pipeline.run import Run, stage_run
from nascommon.pipeline.side_by_side import threads_of_trainings, trainer_of
from nascommon.pipeline.truths import find_truth
from nascommon.runtime.artefacts import write_json, write_table, write_text
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.progress import Pieces, epoch_figures, pieces, summary
from nascommon.runtime.seeding import derive
from nascommon.settings import UserError
from nascommon.statistics.pairs import read_pairs
from nascommon.statistics.ranking import rank_correlation, trajectory
from nascommon.statistics.variance import attainable_tau
from nascommon.training.loop import Trained
from nascommon.training.many import Job, ManyHooks, train_many

Scores = dict[str, list[float]]


def kendall_tau(params: Params) -> None:
    """Rank architectures by their search score and by their accuracy from scratch, and write data/kendall_tau.

    Where accuracies are known, from a table or a bank, nothing is trained; kendall_tau.truth says which. Otherwise each
    architecture is trained from scratch on the weight half with its own short annealed schedule and scored on the
    architecture half; the test set is not touched. Killed at any moment, the next run continues after the last
    finished epoch.
    """
    with stage_run("kendall_tau", params) as run:
        ranked = RankingSetup.open(run)
        try:
            rank(run, ranked)
        except TooFewToRankError as too_few:
            skip(too_few.found, str(too_few))


def rank(run: Run, ranked: RankingSetup) -> None:
    """Rank by what is known, or else by what is trained now.

    Raises:
        TooFewToRankError: the search left too few different architectures.
    """
    if not ranked.trained():
        raise TooFewToRankError(0, "the search trained no supernet, so there is no search score to rank by")
    source = find_truth(run.params, ranked.data.prepared.manifest, run.precision)
    if not isinstance(source, str):
        rank_known(run, ranked, source)
        return
    print(f"kendall_tau: {source}, so architectures are trained now")
    settings, at_a_time = run.params.kendall_tau, ranked.at_a_time()
    score = scorer(ranked) if settings.search_score == "inherited_val" else None
    architectures = scored(ranked.architectures(), score)
    retrained = retrain_all(run, ranked, architectures, at_a_time)
    provenance = run.provenance(threads=threads_of_trainings(run.params, run.device, at_a_time))
    sound_ones = sound(run, architectures, retrained)
    write_ranking(run, ranked, *sound_ones, diverged=retrained.diverged, provenance=provenance)


def skip(found: int, reason: str) -> None:
    """Leave outputs that say why nothing is ranked: an end here would come after the search, and without a report."""
    print(f"kendall_tau: skipped, {reason}")
    write_json(KENDALL / "ranking.json", {"skipped": reason})
    write_json(METRICS / "kendall_tau.json", {"n": found, "tau_b": None})
    write_text(PLOTS / "kendall_tau.csv", "architecture,search_score,retrain_first\n")


def analyse(path: Path, *, as_json: bool) -> None:
    """Print the rank correlation of two columns."""
    pairs = read_pairs(path)
    ranking = rank_correlation(pairs.x, pairs.y)
    read = {"columns": list(pairs.names), "header": pairs.header, "comments": pairs.comments}
    if as_json:
        print(json.dumps({**read, **ranking.as_dict()}, indent=2))
        return
    first_row = "names of the columns" if pairs.header else "an architecture, since all its cells are numbers"
    rows = {"first row": first_row, **({"comments": f"{pairs.comments} left out"} if pairs.comments else {})}
    summary(f"{path}: {' against '.join(pairs.names)}", rows | describe_ranking(ranking), [])


@dataclass(frozen=True)
class Retrained:
    """Results of all retrainings.

    Attributes:
        scores: by round, an accuracy per architecture; NaN where it diverged.
        diverged: names of the retrainings that ended without an accuracy, and how they did.
    """

    scores: Scores
    diverged: dict[str, str]


def retrain_all(run: Run, ranked: RankingSetup, architectures: list[Architecture], at_a_time: int) -> Retrained:
    """Train every architecture in every round."""
    rounds, data = ranked.rounds(), ranked.data
    specs = {which: ranked.network_spec(network) for which, network in rounds.items()}
    training = run.params.kendall_tau.training
    (weights, _), (valid, _) = data.named("weights"), data.named("architecture")
    jobs = [
        Job(f"{which}_{i}", architecture.genotype, spec, derive(run.params.seed, "kendall", which, i))
        for which, spec in specs.items()
        for i, architecture in enumerate(architectures)
    ]
    with pieces("kendall_tau", len(jobs), unit="network", at_a_time=at_a_time) as bar:
        results = train_many(
            jobs,
            training,
            partial(weights.training, training.batch_size, "kendall", cutout=training.cutout),
            device=run.device,
            validation=partial(valid.evaluation, training.batch_size, training.pieces),
            checkpoints=run.checkpoints,
            executor=trainer_of(run.params, run.device, at_a_time),
            hooks=ManyHooks(
                on_resume=bar.resume,
                on_epoch=lambda index, row: bar.part(index, row["epoch"] + 1, training.epochs),
                on_job=lambda index, job, trained: tell(bar, index, job, trained),
            ),
        )
    found = (math.nan if isinstance(trained, DivergenceError) else accuracy(trained) for trained in results)
    scores = {which: list(itertools.islice(found, len(architectures))) for which in rounds}
    pairs = zip(jobs, results, strict=True)
    return Retrained(scores, {job.name: trained.what for job, trained in pairs if isinstance(trained, DivergenceError)})


def tell(bar: Pieces, index: int, job: Job, trained: Trained | DivergenceError) -> None:
    """Say how a retraining ended."""
    if isinstance(trained, DivergenceError):
        bar.say(f"warning: {job.name} {trained.what}; its architecture is left out of the ranking")
        bar.end(index, {})
    else:
        bar.end(index, epoch_figures({"valid_accuracy": accuracy(trained)}))


def accuracy(trained: Trained) -> float:
    """Return what an architecture is ranked by: the accuracy after the last epoch."""
    return float(trained.rows[-1]["valid_accuracy"])


def sound(run: Run, architectures: list[Architecture], retrained: Retrained) -> tuple[list[Architecture], Scores]:
    """Return the architectures that diverged in no round, and their scores.

    Raises:
        UserError: too few are left to be ranked.
    """
    whole = [not any(math.isnan(values[i]) for values in retrained.scores.values()) for i in range(len(architectures))]
    if sum(whole) < FEWEST:
        how = some([f"{name} {what}" for name, what in retrained.diverged.items()])
        raise UserError(
            f"kendall_tau: {len(retrained.diverged)} retrainings diverged ({how}), so only "
            f"{sum(whole)} of {len(architectures)} architectures could be ranked and {FEWEST} are needed; lower "
            f"kendall_tau.training.lr (got {run.params.kendall_tau.training.lr:g})"
        )
    scores = {which: list(itertools.compress(values, whole)) for which, values in retrained.scores.items()}
    return list(itertools.compress(architectures, whole)), scores


def write_ranking(
    run: Run,
    ranked: RankingSetup,
    architectures: list[Architecture],
    scores: Scores,
    *,
    diverged: dict[str, str],
    provenance: dict[str, Any],
) -> None:
    """Write the pairs, the ranking and its picture."""
    settings = run.params.kendall_tau
    table = pd.DataFrame(
        {
            "architecture": [architecture.name for architecture in architectures],
            "search_score": [architecture.search_score for architecture in architectures],
            **{f"retrain_{which}": values for which, values in scores.items()},
            "genotype": [json.dumps(architecture.genotype.to_json()) for architecture in architectures],
        }
    )
    ranking = rank_correlation(table["search_score"], table["retrain_first"], seed=run.params.seed)
    others = {
        name: rank_correlation(scores["first"], scores[which], seed=run.params.seed)
        for name, which in (("retest", "second"), ("depth", "deep"))
        if which in scores
    }
    tree: dict[str, Any] = {
        "source": settings.source, "ranking": ranking.as_dict(), "diverged": diverged,
        **{name: other.as_dict() for name, other in others.items()},
    }  # fmt: skip
    shown = describe_ranking(ranking)
    if "retest" in others:
        tree["ceiling_tau_b"] = attainable_tau(others["retest"].tau_b)
        shown["retest agreement"] = f"tau-b {others['retest'].in_words()}, of two seeds of retraining"
        shown["perfect score"] = f"would reach tau-b {number(tree['ceiling_tau_b'])} against one of them, on average"
    if "depth" in others:
        shown["depth"] = f"tau-b {others['depth'].in_words()}, of search depth and retraining depth"
    if settings.mode == "trajectory":
        tree["trajectory"] = write_trajectory(ranked, architectures, scores["first"])
    write_outputs(run, tree, table, Drawn(ranking, "retrain_first", "retraining"), provenance)
    summary(f"kendall_tau, {settings.mode}: {settings.search_score} against retraining", shown, RESULTS)


def write_trajectory(
    ranked: RankingSetup, architectures: list[Architecture], retrain: list[float]
) -> list[dict[str, Any]]:
    """Score the same architectures by every snapshot and return tau per epoch."""
    score = scorer(ranked)
    sources = ranked.snapshots()
    states = (source.open() for source in sources)
    scores_TN = [[score(state, architecture.genotype) for architecture in architectures] for state in states]
    table = trajectory(scores_TN, retrain, epochs=[int(source.name.removeprefix("epoch ")) for source in sources])
    write_table(KENDALL / "trajectory.csv", table)
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows

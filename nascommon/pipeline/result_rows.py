"""Rows of the table of results: what was tested, on which pictures, how large it is and what it cost."""

from __future__ import annotations

import math
from typing import Any

import torch

from nascommon.config import Params
from nascommon.data.loading import Data
from nascommon.pipeline.against_random import Judged, RandomOnes
from nascommon.pipeline.paths import (
    METRICS,
    TRANSFER,
    TRANSFER_DATA,
)
from nascommon.pipeline.run import Run
from nascommon.pipeline.tested import Measured, errors_of, tested
from nascommon.report.linear import linear_classifier_hits
from nascommon.report.table import MILLION
from nascommon.runtime.progress import duration
from nascommon.runtime.records import Figures, read_figures
from nascommon.statistics.intervals import summarise


def searched_row(run: Run, ours: Measured | None, judged: list[Judged]) -> list[dict[str, Any]]:
    """Return the table's row of the searched network, if it was retrained."""
    if ours is None:
        return []
    metrics = figures("retrain")
    row: dict[str, Any] = {
        "what": f"{origin_in_words(run)} and retrained",
        "data set": run.params.data.source,
        **ours.errors(),
        **size_columns(metrics),
        "search cost": cost_in_words(run),
        "note": f"seed {run.params.seed}{of_trainings(ours)}, last epoch, {run.provenance()['hardware']}",
    }
    if judged:
        first = judged[0].comparison
        row |= {"percentile vs random": first.percentile, "p vs random": first.p_value}
    return [row]


def of_trainings(ours: Measured) -> str:
    """Say of how many trainings a figure is the mean, unless it is one."""
    return f", mean of {len(ours.hits)} trainings" if len(ours.hits) > 1 else ""


def cost_in_words(run: Run) -> str:
    """Say how long the search took, if it found what is judged."""
    return duration(figures("search")["search_seconds"]) if run.params.discretize.genotype is None else "none"


def origin_in_words(run: Run) -> str:
    """Say where the architecture comes from: from the search, or given in its place."""
    given = run.params.discretize.genotype
    return f"{run.params.search.method}, searched" if given is None else f"{given}, given"


def random_row(run: Run, random: list[RandomOnes]) -> list[dict[str, Any]]:
    """Return a row of the random architectures of the same protocol from each source."""
    rows = []
    for ones in random:
        errors = summarise([100 - mean for mean in ones.means(1)])
        rows.append(
            {
                "what": f"random architectures{of_space(run.params)}, same protocol",
                "data set": run.params.data.source,
                "test error %": errors.mean,
                "± sd": math.nan if errors.sd is None else errors.sd,
                "params M": math.nan if ones.params is None else ones.params / MILLION,
                "search cost": "none",
                "note": f"{ones.source}; mean of {errors.n}, one training each, last epoch",
            }
        )
    return rows


def linear_row(run: Run, target: Data) -> list[dict[str, Any]]:
    """Return the row of the linear classifier, if it is asked for."""
    if not run.params.evaluate.linear_classifier:
        return []
    sets = [list(target.evaluation(target.prepared.part(part), 500).epoch(0)) for part in ("train", "test")]
    train, test = ((torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])) for pairs in sets)
    hits = linear_classifier_hits(train, test)
    errors = errors_of([hits], len(test[1]))
    return [{"what": "linear classifier on raw pixels", "data set": run.params.data.source, **errors}]


def transfer_row(run: Run) -> list[dict[str, Any]]:
    """Return the row of the transferred network, if there is one."""
    settings = run.params.transfer.data
    if settings is None:
        return []
    result = tested(run, run.open(TRANSFER_DATA), [TRANSFER], "transfer")
    return [
        {
            "what": f"{origin_in_words(run)}, transferred (ImageNet network)",
            "data set": f"{settings.source} at {settings.size} px",
            **result.errors(),
            **size_columns(figures("transfer")),
            "note": f"seed {run.params.seed}, last epoch",
        }
    ]


def figures(stage: str) -> Figures:
    """Read the metrics of a stage."""
    return read_figures(METRICS / f"{stage}.json", stage)


def size_columns(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the network's size as columns of the table."""
    names = {"params": "params M", "mult_adds": "mult-adds M", "paper_flops": "paper_flops M"}
    return {column: metrics[name] / MILLION for name, column in names.items()}


def of_space(params: Params) -> str:
    """Name the space, unless it is the papers'."""
    return "" if params.search.space == "darts" else f" in space {params.search.space}"


def title_of(params: Params) -> str:
    """Name the method, or the genotype that was given in its result's place, the space, the data and the seed."""
    method, given = params.search.method, params.discretize.genotype
    what = method if given is None else f"{given} (given; beside a search by {method})"
    return f"{what}{of_space(params)} on {params.data.source}, seed {params.seed}"

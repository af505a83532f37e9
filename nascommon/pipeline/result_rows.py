"""Rows of the table of results: what was tested, on which pictures, how large it is and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nascommon.config import Params
from nascommon.data.loading import Data
from nascommon.pipeline.paths import (
    METRICS,
    TRANSFER,
    TRANSFER_DATA,
)
from nascommon.pipeline.run import Run
from nascommon.report.linear import linear_classifier_hits
from nascommon.report.table import MILLION
from nascommon.runtime.progress import duration
from nascommon.runtime.records import Figures, read_figures
from nascommon.statistics.intervals import wilson_interval
from nascommon.statistics.null import Comparison
from nascommon.training.artefact import load_network
from nascommon.training.loop import predict

TOP = 5


@dataclass(frozen=True)
class TestHits:
    """A network's hits on a test set."""

    correct: int
    correct_top5: int
    total: int
    params: float | None = None
    """Trainable numbers of the network."""

    @property
    def accuracy(self) -> float:
        """Share of test images whose first answer is right."""
        return self.correct / self.total

    def errors(self) -> dict[str, float]:
        """Return the test error in percent with its 95 % interval (Wilson), as columns of the table."""
        low, high = wilson_interval(self.correct, self.total)
        return {
            "test error %": 100 * (1 - self.accuracy),
            "95 % low": 100 * (1 - high),
            "95 % high": 100 * (1 - low),
            "top-5 error %": 100 * (1 - self.correct_top5 / self.total),
        }


def tested(run: Run, data: Data, folder: Path, stage: str) -> TestHits:
    """Load a network that a stage has trained and count its hits on the test set."""
    network, _, metrics = load_network(folder, run.device, stage)
    logits_NK, labels_N = predict(network, data.evaluation(data.prepared.part("test"), run.params.evaluate.batch_size))
    best_NT = logits_NK.topk(min(TOP, logits_NK.shape[1]), dim=1).indices
    hits_NT = best_NT == labels_N[:, None]
    return TestHits(int(hits_NT[:, 0].sum()), int(hits_NT.sum()), len(labels_N), metrics.get("params"))


def searched_row(run: Run, ours: TestHits | None, comparisons: list[Comparison]) -> list[dict[str, Any]]:
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
        "note": f"seed {run.params.seed}, last epoch, {run.provenance()['hardware']}",
    }
    if comparisons:
        row |= {"percentile vs random": comparisons[0].percentile, "p vs random": comparisons[0].p_value}
    return [row]


def cost_in_words(run: Run) -> str:
    """Say how long the search took, if it found what is judged."""
    return duration(figures("search")["search_seconds"]) if run.params.discretize.genotype is None else "none"


def origin_in_words(run: Run) -> str:
    """Say where the architecture comes from: from the search, or given in its place."""
    given = run.params.discretize.genotype
    return f"{run.params.search.method}, searched" if given is None else f"{given}, given"


def random_row(run: Run, random: list[TestHits]) -> list[dict[str, Any]]:
    """Return the row of the random architectures of the same protocol, if there are any."""
    if not random:
        return []
    errors = torch.tensor([100 * (1 - result.accuracy) for result in random], dtype=torch.float64)
    params = [result.params or math.nan for result in random]
    return [
        {
            "what": f"random architectures{of_space(run.params)}, same protocol",
            "data set": run.params.data.source,
            "test error %": float(errors.mean()),
            "± sd": float(errors.std()) if len(random) > 1 else math.nan,
            "params M": sum(params) / len(params) / MILLION,
            "search cost": "none",
            "note": f"mean of {len(random)}, last epoch",
        }
    ]


def linear_row(run: Run, target: Data) -> list[dict[str, Any]]:
    """Return the row of the linear classifier, if it is asked for."""
    if not run.params.evaluate.linear_classifier:
        return []
    sets = [list(target.evaluation(target.prepared.part(part), 500).epoch(0)) for part in ("train", "test")]
    train, test = ((torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])) for pairs in sets)
    hits = linear_classifier_hits(train, test)
    errors = TestHits(hits, hits, len(test[1])).errors()
    del errors["top-5 error %"]
    return [{"what": "linear classifier on raw pixels", "data set": run.params.data.source, **errors}]


def transfer_row(run: Run) -> list[dict[str, Any]]:
    """Return the row of the transferred network, if there is one."""
    settings = run.params.transfer.data
    if settings is None:
        return []
    result = tested(run, run.open(TRANSFER_DATA), TRANSFER, "transfer")
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

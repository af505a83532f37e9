"""Networks that a stage has trained, on the test images: what each has right, and what several of one architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from nascommon.cost.footprint import prepared_shape
from nascommon.data.loading import Data
from nascommon.pipeline.memory_limit import require_testing
from nascommon.pipeline.run import Run
from nascommon.space.genotype import Genotype
from nascommon.statistics.intervals import mean_share, summarise, wilson_interval
from nascommon.training.artefact import load_network
from nascommon.training.loop import predict

TOP = 5


@dataclass(frozen=True)
class Hits:
    """A network's hits on a test set."""

    correct: int
    correct_top5: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of test images whose first answer is right."""
        return self.correct / self.total


@dataclass(frozen=True)
class Measured:
    """An architecture, trained once or several times."""

    genotype: Genotype
    hits: tuple[Hits, ...]
    """Of each training, in the order of their seeds."""
    params: float | None = None
    """Trainable numbers of the network."""

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Share of test images that each training has right."""
        return tuple(hits.accuracy for hits in self.hits)

    @cached_property
    def accuracy(self) -> float:
        """Mean over the trainings."""
        return mean_share(self.accuracies)

    @property
    def sd(self) -> float | None:
        """Standard deviation over the trainings; None of one."""
        return summarise(self.accuracies).sd

    def errors(self) -> dict[str, float]:
        """Return the mean test error in percent with what the size of the test set leaves open (Wilson), as columns."""
        columns = errors_of([hits.correct for hits in self.hits], self.hits[0].total)
        top5 = fmean(hits.correct_top5 for hits in self.hits) / self.hits[0].total
        spread = {} if self.sd is None else {"± sd": 100 * self.sd}
        return {**columns, **spread, "top-5 error %": 100 * (1 - top5)}


def errors_of(correct: Sequence[int], total: int) -> dict[str, float]:
    """Return the mean test error in percent of hits on one set, its 95 % interval and its size, as columns."""
    low, high = wilson_interval(round(fmean(correct)), total)
    return {
        "test error %": 100 * (1 - fmean(correct) / total),
        "95 % low": 100 * (1 - high),
        "95 % high": 100 * (1 - low),
        "test images": total,
    }


def tested(run: Run, data: Data, folders: Sequence[Path], stage: str) -> Measured:
    """Load the trainings of one architecture and count their hits on the test set.

    Raises:
        UserError: ``evaluate.batch_size`` images at a time do not fit into the free memory.
    """
    loaded, size = [load_network(folder, run.device, stage) for folder in folders], run.params.evaluate.batch_size
    network, genotype, metrics = loaded[0]
    require_testing(genotype, network.spec, prepared_shape(data.prepared), size, run.device)
    test = data.evaluation(data.prepared.part("test"), size)
    hits = []
    for network, _, _ in loaded:
        logits_NK, labels_N = predict(network, test)
        best_NT = logits_NK.topk(min(TOP, logits_NK.shape[1]), dim=1).indices
        hits_NT = best_NT == labels_N[:, None]
        hits.append(Hits(int(hits_NT[:, 0].sum()), int(hits_NT.sum()), len(labels_N)))
    return Measured(genotype, tuple(hits), metrics.get("params"))

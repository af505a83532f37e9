"""Networks that train at the same time on one device, against one after the other: is it right, and is it faster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.images import CLASSES, random_part
from benchmarks.measured import Bench, Tell
from benchmarks.timing import MEBIBYTE, MILLI
from nascommon.data.batches import evaluation_batches, training_batches
from nascommon.data.settings import Augment
from nascommon.runtime.executor import IN_LINE
from nascommon.runtime.interleaved import Interleaved
from nascommon.runtime.seeding import generator, seed_globals
from nascommon.space.draws import random_genotype
from nascommon.space.network import build_network
from nascommon.training.loop import Trained
from nascommon.training.many import Job, ManyHooks, train_many

COUNTS = (1, 2, 4, 8)
EPOCHS = 4
"""Of each network; the first, in which its steps are recorded, is not timed."""
BATCHES = 40
"""In an epoch."""


@dataclass
class Clock:
    """When the last of so many networks ended its first epoch, and when the last of all did."""

    count: int
    first: list[float] = field(default_factory=list)
    last: float = 0.0

    def on_epoch(self, _index: int, row: dict[str, Any]) -> None:
        """Take the time of an epoch's end, at which the device has been waited for."""
        self.last = time.perf_counter()
        if row["epoch"] == 0:
            self.first.append(self.last)

    def seconds(self) -> float:
        """Return how long the epochs after the first took."""
        assert len(self.first) == self.count
        return self.last - max(self.first)


def many(bench: Bench, _name: str, tell: Tell) -> dict[str, Any]:
    """Train 1, 2, 4 and 8 networks of ``kendall_tau`` at a time; return ms a step of each, and how far apart they end.

    ``apart`` is the largest distance of the weights that a network ends with from those with which it ends alone, as a
    share of the way from its first weights.
    """
    network, training = bench.params.kendall_tau.network, bench.params.kendall_tau.training
    training = training.model_copy(update={"epochs": EPOCHS, "drop_path": 0.0})
    spec = replace(network.spec(classes=CLASSES, image_channels=3), precision=bench.precision)
    space = bench.params.search.chosen_space()
    jobs = [
        Job(f"network {index}", random_genotype(space, generator(0, "many", index)), spec, index)
        for index in range(max(COUNTS))
    ]
    part = random_part(BATCHES * training.batch_size, bench.side)
    batches = partial(
        training_batches, part, training.batch_size, Augment(), device=bench.device, cutout=training.cutout
    )
    valid = partial(evaluation_batches, part, training.batch_size, device=bench.device)
    row: dict[str, Any] = {"batch": training.batch_size, "ms": {}, "peak_mib": {}, "apart": {}}
    alone: list[Trained] = []
    for count in COUNTS:
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
        clock, does = Clock(count), IN_LINE if count == 1 else Interleaved(count, bench.device)
        ended = train_many(
            jobs[:count], training, batches, device=bench.device, validation=valid, executor=does,
            hooks=ManyHooks(on_epoch=clock.on_epoch),
        )  # fmt: skip
        trained = [each for each in ended if isinstance(each, Trained)]
        alone = alone or trained
        steps = (EPOCHS - 1) * BATCHES * count
        row["ms"][str(count)] = MILLI * clock.seconds() / steps
        row["peak_mib"][str(count)] = max(each.peak_memory for each in trained) / MEBIBYTE
        row["apart"][str(count)] = _apart(trained[0], alone[0], jobs[0])
        tell(row)
    return row


def _apart(ours: Trained, theirs: Trained, job: Job) -> float:
    """Return the largest distance of weights as a share of their way."""
    seed_globals(job.seed, "network")
    start, here, there = map(_weights, (build_network(job.genotype, job.spec), ours.network, theirs.network))
    return max(
        float((weight - there[name]).norm() / (there[name] - start[name]).norm()) for name, weight in here.items()
    )


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in network.named_parameters()}

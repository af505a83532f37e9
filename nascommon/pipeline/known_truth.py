"""What a table knows of the architecture that was found: its rank among all, without one retraining."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nascommon.pipeline.run import Run
from nascommon.space.genotype import Genotype
from nascommon.space.nasbench201 import NAME
from nascommon.space.nasbench201_text import from_digits
from nascommon.space.network import NetworkSpec, build_network
from nascommon.truth.judgement import judge, random_search
from nascommon.truth.table import DATA_SETS, PROTOCOL, Table, find_table, load_table

EPOCHS, IMAGES, CLASSES, SIDE, COLOURS = 200, 50_000, 10, 32, 3
"""The benchmark's training on CIFAR-10."""
TIMED_IMAGES = {"cpu": 32, "cuda": 256}
"""Images of a timed step: as many as fill the device; a benchmark's batch has 256."""
TIMED_STEPS = 3


def known_truth(run: Run, genotype: Genotype, search_seconds: float) -> dict[str, Any] | None:
    """Return what is known of the architecture that a search found, as plain values for the report.

    The table holds no times, so that of training a cell is estimated: a step of one of average size is timed, here and
    now, on the device of the stage.

    Args:
        run: of the stage.
        genotype: what was found.
        search_seconds: what finding it took.

    Returns:
        None for a space of which no table is known; ``unknown`` alone, the reason, where the table has other pictures.
    """
    if genotype.skeleton != NAME:
        return None
    source = run.params.data.source
    own = find_table(NAME, source)
    if own is None:
        return {"unknown": f"the table of {NAME} knows {', '.join(DATA_SETS.values())}; this search saw {source}"}
    table = load_table()
    training_seconds = seconds_of_training(run, table)
    seconds = {"search_seconds": search_seconds, "training_seconds": training_seconds}
    drawn = random_search(table, own, search_seconds / training_seconds)
    return {"protocol": PROTOCOL, **judge(table, genotype, own), "random_search": {**seconds, **drawn}}


def seconds_of_training(run: Run, table: Table) -> float:
    """Return the seconds that the benchmark's training of a cell of average size would take on this device."""
    average = from_digits(table.digits[int(np.abs(table.macs - table.macs.mean()).argmin())])
    spec = NetworkSpec(16, 15, CLASSES, "cifar", COLOURS, auxiliary=False, precision=run.precision)
    network = build_network(average, spec).to(run.device)
    images = TIMED_IMAGES[run.device.type]
    x_BCHW = torch.zeros(images, COLOURS, SIDE, SIDE, device=run.device)
    labels_B = torch.zeros(images, dtype=torch.long, device=run.device)
    seconds = []
    for _ in range(1 + TIMED_STEPS):  # the first one warms up
        started = time.perf_counter()
        functional.cross_entropy(network(x_BCHW), labels_B).backward()  # type: ignore[no-untyped-call]
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / images * IMAGES * EPOCHS

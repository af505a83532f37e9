"""What the whole protocol costs on one GPU and on many, from counted steps, measured ones and a simulated queue.

    python -m benchmarks.scale                             # the tables of docs/scale.md
    python -m benchmarks.scale --page docs/scale.md        # the same, written into the page
    python -m benchmarks.scale --count                     # counts the steps anew, minutes without a GPU

Steps of today's code are predicted: their operators are counted (``benchmarks.counts``), and the prediction is
multiplied by how much longer such a step of an earlier code took, measured (``MEASURED``), than was predicted of that
code (``THEN``). Assumed are the constants of this module that say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.counts import KERNEL_SECONDS, RETRAIN_BATCH, counts, network_counts
from benchmarks.markdown import table
from benchmarks.schedule import Job, gpu_seconds, least_seconds, seconds_of, spread
from nascommon.runtime.artefacts import read_json, write_json
from nascommon.runtime.revision import revision
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.training.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "results" / "device" / "h200_0eb2eab.json"
THEN = {"darts": 31e-3, "pcdarts": 34e-3, "retrain": 16.1e-3}
"""Seconds that were predicted of a step of the code that is measured there: the ladder of docs/speed.md."""
DECODED = ROOT / "results" / "scale" / "decoding.json"
COUNTED = ROOT / "results" / "scale" / "counts.json"
BEGIN, END = "<!-- scale: begin, by python -m benchmarks.scale --page docs/scale.md -->\n", "<!-- scale: end -->\n"

HOUR, MILLI = 3600, 1e-3
FLOAT32_BYTES = 4
NODE = 8
"""GPUs of a machine."""
INSIDE, BETWEEN = (350e9, 5e-6), (40e9, 15e-6)
"""Assumed of a ring inside of a machine (NVLink 4) and between machines (400 Gb/s a GPU): bytes a second that a GPU
sends while it receives as many, and the seconds of one of its 2 (n - 1) turns."""
SPREAD = 0.1
"""Assumed of the durations of jobs: standard deviation of their logarithm."""
DRAWS = 15
"""Simulated queues, of which the median is shown."""
GPUS = (1, 8, 64)
POWERS = (1, 2, 4, 8, 16, 32, 64)
"""GPUs of one training."""
STUDIES = {
    "one method, one seed": (("darts",), 1),
    "eight methods, three seeds": (("darts", "pcdarts", "pdarts", "da2s", "ecdarts", "fairdarts", "drnas", "gdas"), 3),
}
"""Methods and seeds by what a reader calls them."""
FEWEST_PICTURES = 12
"""Of a rank: batch norm takes its statistics from them."""


@dataclass(frozen=True)
class Work:
    """Steps of one kind in a run of the protocol.

    Attributes:
        name: as a reader knows it.
        pictures: in an epoch.
        epochs: as in the paper.
        batch: pictures of a step, of all ranks together.
        case: what is measured of it, or of what is most like it: key of ``THEN``.
        network: key of the counted network; empty for a search.
    """

    name: str
    pictures: int
    epochs: int
    batch: int
    case: str
    network: str = ""

    @property
    def steps(self) -> int:
        """Steps of all epochs; the last partial batch of an epoch is dropped."""
        return self.pictures // self.batch * self.epochs


SEARCHES = {
    "darts": Work("search, DARTS", 25_000, 50, 64, "darts"),
    "pcdarts": Work("search, PC-DARTS", 25_000, 50, 256, "pcdarts"),
}
"""Searches whose step is counted; those of the other methods are priced as DARTS'."""
RETRAIN = Work("CIFAR-10 training", 50_000, 600, RETRAIN_BATCH, "retrain", "cifar10")
TRANSFERS = (
    Work("ImageNet training, batch 128", 1_281_167, 250, 128, "retrain", "imagenet"),
    Work("ImageNet training, batch 1024", 1_281_167, 250, 1024, "retrain", "imagenet"),
)
NETWORKS = {
    "cifar10": (NetworkSpec(36, 20, 10, precision="bfloat16"), TrainingSettings(drop_path=0.1), 32, (96, 48, 24, 12)),
    "imagenet": (
        NetworkSpec(48, 14, 1000, stem="imagenet", precision="bfloat16"),
        TrainingSettings(drop_path=0, label_smoothing=0.1),
        224,
        (1024, 512, 256, 128, 64, 32, 16),
    ),
}
"""Network, training, side of its pictures in pixels, and the pictures of a rank that are counted."""


@cache
def measured_seconds(case: str) -> float:
    """Return the step of a case as it was measured of an earlier code."""
    rows = [row for row in read_json(MEASURED)["rows"] if row["part"] == "steps" and row["case"] == case]
    return float(rows[0]["ms"]["as shipped"]) * MILLI


@cache
def counted() -> dict[str, Any]:
    """Return the counted steps; see ``recount``."""
    return dict(read_json(COUNTED))


def predicted_seconds(work: Work, pictures: int) -> float:
    """Return a step on so many pictures as it is predicted from its operators alone."""
    return float(counted()[work.network or work.case]["predicted_ms"][str(pictures)]) * MILLI


def slowness(case: str) -> float:
    """Return how much longer a step took, when it was measured, than was predicted of it."""
    return measured_seconds(case) / THEN[case]


def all_reduce_seconds(network: str, ranks: int) -> float:
    """Return what a ring of ranks takes to sum up the float32 gradients of a network.

    Each sends 2 (n - 1) / n of the bytes in 2 (n - 1) turns; the slowest link sets the pace.
    """
    size = FLOAT32_BYTES * int(counted()[network]["parameters"])
    rate, turn = INSIDE if ranks <= NODE else BETWEEN
    return 2 * (ranks - 1) * (size / ranks / rate + turn)


def step_seconds(work: Work, ranks: int = 1) -> float:
    """Return a step over ranks: each computes its share, then the gradients are summed up.

    A search is the work of one GPU.
    """
    assert work.network or ranks == 1
    summed = all_reduce_seconds(work.network, ranks) if work.network else 0.0
    return slowness(work.case) * predicted_seconds(work, work.batch // ranks) + summed


def seconds(work: Work, ranks: int = 1) -> float:
    """Return what all steps of a work take."""
    return work.steps * step_seconds(work, ranks)


def protocol(study: str, transfer: Work, ranks: int, searches: float = 1.0) -> list[Job]:
    """Return the jobs of a study, its ImageNet trainings on ``ranks`` GPUs each.

    Args:
        study: its methods and seeds.
        transfer: the recipe on ImageNet.
        ranks: of each of its trainings.
        searches: factor of the searches' time, to see what their price changes.
    """
    methods, seeds = STUDIES[study]
    jobs = []
    for method in methods:
        search = searches * seconds(SEARCHES.get(method, SEARCHES["darts"]))
        for seed in range(seeds):
            name = f"{method} {seed}"
            jobs += [
                Job(f"search {name}", search),
                Job(f"retrain {name}", seconds(RETRAIN), after=(f"search {name}",)),
                Job(f"transfer {name}", seconds(transfer, ranks), ranks, after=(f"search {name}",)),
            ]
    return jobs


def most_ranks(work: Work) -> int:
    """Return over how many GPUs a training can be divided."""
    return work.batch // FEWEST_PICTURES


def drawn_seconds(jobs: Sequence[Job], gpus: int) -> float:
    """Return the median end of queues whose jobs are longer and shorter than planned."""
    return median(seconds_of(spread(jobs, SPREAD, seed), gpus) for seed in range(DRAWS))


def best_ranks(study: str, transfer: Work, gpus: int) -> int:
    """Return with how many GPUs for each ImageNet training the queue with a spread ends first."""
    choices = [ranks for ranks in POWERS if ranks <= min(gpus, most_ranks(transfer))]
    return min(choices, key=lambda ranks: drawn_seconds(protocol(study, transfer, ranks), gpus))


def jobs_table() -> list[str]:
    """Return what every kind of job takes on one GPU."""
    works = [*SEARCHES.values(), RETRAIN, *TRANSFERS]
    then = str(read_json(MEASURED)["commit"])
    heads = ("job", "steps", f"a step at {then}, measured, ms", "today's, counted, ms", "today's, predicted, ms",
             "hours on one GPU", "pictures a second", "cores to decode them")  # fmt: skip
    return table(
        heads,
        [
            (work.name, f"{work.steps:,}", "" if work in TRANSFERS else f"{measured_seconds(work.case) / MILLI:.1f}",
             f"{predicted_seconds(work, work.batch) / MILLI:.1f}", f"{step_seconds(work) / MILLI:.1f}",
             f"{seconds(work) / HOUR:.2f}", f"{work.batch / step_seconds(work):,.0f}",
             cores(work) if work in TRANSFERS else "")
            for work in works
        ],
    )  # fmt: skip


def cores(work: Work) -> int:
    """Return how many cores keep one GPU fed with pictures of ImageNet's size, as the product decodes them."""
    product = read_json(DECODED)["rates"][0]
    per_core: float = product["per_core"][1]
    return math.ceil(work.batch / step_seconds(work) / per_core)


def ranks_table() -> list[str]:
    """Return how a step shrinks with the ranks of one training."""
    trainings = (RETRAIN, *TRANSFERS)
    heads = ("GPUs", *(f"{work.name}, ms (times faster)" for work in trainings), "of which all_reduce on ImageNet, ms")
    rows = []
    for ranks in POWERS:
        cells = [_shrunk(work, ranks) for work in trainings]
        rows.append((ranks, *cells, f"{all_reduce_seconds('imagenet', ranks) / MILLI:.2f}"))
    return table(heads, rows)


def _shrunk(work: Work, ranks: int) -> str:
    if ranks > most_ranks(work):
        return ""
    step = step_seconds(work, ranks)
    return f"{step / MILLI:.1f} ({step_seconds(work) / step:.2f})"


def protocol_table() -> list[str]:
    """Return what the whole protocol takes on so many GPUs."""
    heads = ("study", "ImageNet batch", "GPUs", "of them an ImageNet training", "GPU hours", "at least, hours",
             "simulated, hours", f"with a spread of {SPREAD:.0%}", "GPUs busy", "times faster")  # fmt: skip
    rows = [_row(study, transfer, gpus) for study in STUDIES for transfer in TRANSFERS for gpus in GPUS]
    return table(heads, rows)


def _row(study: str, transfer: Work, gpus: int) -> tuple[object, ...]:
    alone = seconds_of(protocol(study, transfer, 1), 1)
    ranks = best_ranks(study, transfer, gpus)
    jobs = protocol(study, transfer, ranks)
    end, drawn, work = seconds_of(jobs, gpus), drawn_seconds(jobs, gpus), gpu_seconds(jobs)
    hours = (f"{took / HOUR:.1f}" for took in (work, least_seconds(jobs, gpus), end, drawn))
    return study, transfer.batch, gpus, ranks, *hours, f"{work / gpus / end:.0%}", f"{alone / end:.1f}"


def sentences() -> list[str]:
    """Return what the tables rest on, as far as it has numbers."""
    study, transfer = list(STUDIES)[-1], TRANSFERS[0]
    methods, seeds = STUDIES[study]
    dear = gpu_seconds(protocol(study, transfer, 1, searches=3.0)) / gpu_seconds(protocol(study, transfer, 1)) - 1
    took = ", ".join(f"{slowness(case):.2f} ({case})" for case in THEN)
    return [
        f"- Eight methods are {', '.join(methods)}; with {seeds} seeds these are {3 * len(methods) * seeds} jobs.",
        f"- Measured steps took {took} times what was counted; today's ({counted()['commit']}) are predicted to.",
        f"- Searches three times as long would add {dear:.0%} to the GPU hours (ImageNet batch {transfer.batch}).",
    ]


@cache
def block() -> str:
    """Return the part of the page that is computed."""
    parts = [jobs_table(), ranks_table(), protocol_table(), sentences()]
    return BEGIN + "\n" + "\n\n".join("\n".join(lines) for lines in parts) + "\n\n" + END


def with_block(page: str) -> str:
    """Return the page with its computed part renewed."""
    before, _, rest = page.partition(BEGIN)
    return before + block() + rest.partition(END)[2]


def recount() -> None:
    """Count the steps anew and keep them beside their origin."""
    found: dict[str, object] = {
        "command": "python -m benchmarks.scale --count",
        "commit": str(revision(ROOT)),
        "kernel_seconds": KERNEL_SECONDS,
    }
    for name, work in SEARCHES.items():
        step = counts(name)
        found[name] = {
            "kernels": {str(work.batch): step.kernels}, "predicted_ms": {str(work.batch): step.seconds / MILLI},
        }  # fmt: skip
    for name, (spec, settings, side, batches) in NETWORKS.items():
        steps = {str(batch): network_counts(spec, settings, batch, side) for batch in batches}
        found[name] = {
            "parameters": sum(weight.numel() for weight in Network(PUBLISHED["DARTS_V2"], spec).parameters()),
            "kernels": {batch: step.kernels for batch, step in steps.items()},
            "predicted_ms": {batch: step.seconds / MILLI for batch, step in steps.items()},
        }
    write_json(COUNTED, found)


def main(
    page: Annotated[Path | None, typer.Option(help="Markdown page whose computed part is renewed")] = None,
    count: Annotated[bool, typer.Option(help="count the steps anew, which takes minutes")] = False,
) -> None:
    """Print what the whole protocol costs on one GPU and on many."""
    if count:
        recount()
    if page is None:
        typer.echo(block())
    else:
        page.write_text(with_block(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

"""The parts of the report on a device: each asks one thing of one method, or of retraining."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import cases, plain, released, timing
from benchmarks.cases import NCHW, REPLAYED, RUNGS, SHIPPED, TWIN, Search, Sizes, Ways, network_spec, new_network
from benchmarks.gate import STEPS, judge
from benchmarks.images import random_batch, random_halves
from benchmarks.kernels import profile_of
from benchmarks.plain import twin_forward
from benchmarks.released import Released
from benchmarks.search import pictures
from benchmarks.timing import MEBIBYTE, MILLI, Step
from nascommon.config import Params, load_params
from nascommon.cost.live_bytes import META, peak_bytes
from nascommon.data.batches import evaluation_batches, training_batches
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.hardware import resolve_precision
from nascommon.search.loop import Hooks, run_search
from nascommon.search.passes import SearchData
from nascommon.space.network import NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.supernet import SupernetSpec
from nascommon.training.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
RETRAIN, IMAGENET = "retrain", "imagenet"
"""Training steps of a stand-alone network: on CIFAR-10 as the params file says, on ImageNet as its preset does."""
IMAGENET_BATCH, IMAGENET_CLASSES, IMAGENET_SIDE = 128, 1000, 224
"""Pictures in a GPU's share of a batch, their classes, and their pixels."""
EAGER = "eager, float32"
JUDGED_IMAGES, JUDGED_CELLS = 8, 3
"""Size of a step of the gate. Rounding grows from cell to cell: a change of the pictures by eight units in the last
place moves the end of five steps of DARTS by 7 % of their way with 8 cells."""
CASE_SECONDS = 12.0
FEWEST, MOST = 3, 15
"""Repeats of a case; as many as fit into ``CASE_SECONDS``."""
RECORDED = 3
"""Steps until one is recorded and replayed."""
SPARE = 1.2
"""Factor by which the next epoch may exceed the last one."""

Tell = Callable[[dict[str, Any]], None]
"""Takes what is known of a part so far, to be written at once."""


class Deadline:
    """Seconds from now on, or as long as it takes."""

    def __init__(self, seconds: float | None) -> None:
        self._ends = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; infinity where there is no limit."""
        return float("inf") if self._ends is None else self._ends - time.monotonic()


@dataclass(frozen=True)
class TrainingCase:
    """A training of a stand-alone network, of which a step is taken on so many pictures of so many pixels."""

    spec: NetworkSpec
    settings: TrainingSettings
    batch: int
    side: int


@dataclass(frozen=True)
class Bench:
    """Settings of a measurement.

    Attributes:
        params: sizes and settings of search and retraining.
        device: where.
        authors: checkouts of released codes.
        side: pixels of a picture.
        pictures: random ones in either half of the whole search.
        data: a prepared folder whose pictures are searched on instead.
        deadline: when to stop.
    """

    params: Params
    device: torch.device
    authors: tuple[Released, ...]
    side: int
    pictures: int
    data: Path | None
    deadline: Deadline

    @property
    def precision(self) -> Precision:
        """Return what ``precision: auto`` is on the device."""
        return resolve_precision("auto", self.device)

    @property
    def sizes(self) -> Sizes:
        """The sizes as the cases have them."""
        search, network = self.params.search, self.params.retrain.network
        return Sizes(
            search.channels, search.cells, network.channels, network.cells, self.side, self.pictures, search.nodes
        )

    def method(self, name: str) -> Method:
        """Return a method with the settings of the params file."""
        search = self.params.search
        size = SearchSize(search.channels, search.cells, search.chosen_space())
        return REGISTRY[name].recipe(getattr(self.params.methods, name), size)

    def batch(self, name: str) -> int:
        """Return the images in a step."""
        case = self.training(name)
        return self.method(name).batch_size if case is None else case.batch

    def training(self, name: str) -> TrainingCase | None:
        """Return the training whose step it is, or None for a method."""
        if name == RETRAIN:
            settings, batch = TrainingSettings(drop_path=cases.DROP_PATH), self.params.retrain.training.batch_size
            return TrainingCase(network_spec(self.sizes), settings, batch, self.side)
        if name == IMAGENET:
            retrain = load_params(ROOT / "presets" / "imagenet.yaml").retrain
            spec = retrain.network.spec(classes=IMAGENET_CLASSES, image_channels=3)
            return TrainingCase(spec, retrain.training, IMAGENET_BATCH, IMAGENET_SIDE)
        return None

    def search(self, name: str, device: torch.device | None = None) -> Search:
        """Return the bilevel step of a method on random images, on the bench's device or another."""
        device = device or self.device
        data = random_halves(self.batch(name), device, self.side)
        return Search(self.method(name), data, device, self.params.search.nodes)

    def step(self, name: str, device: torch.device, *, replay: bool) -> Step:
        """Return a step as it is shipped for this bench's device, maybe on another, recorded or not."""
        if case := self.training(name):
            spec = replace(case.spec, precision=self.precision)
            return cases.network_way(spec, case.settings, random_batch(case.batch, device, case.side), replay=replay)
        return cases.library_way(self.search(name, device), precision=self.precision, replay=replay)

    def plain_step(self, name: str) -> Step:
        """Return the step of nothing but PyTorch."""
        if case := self.training(name):
            images = random_batch(case.batch, self.device, case.side)
            network, optimiser = new_network(case.spec, case.settings, self.device, NCHW)
            return plain.retrain_step(network, optimiser, images, case.settings)
        return cases.plain_way(self.search(name), twin_forward, NCHW)


def gate(bench: Bench, name: str) -> dict[str, Any]:
    """Ask whether the device computes right, with few cells; see ``benchmarks.gate``."""
    search = bench.search(name)
    phase = replace(search.method.phases[0], cells=JUDGED_CELLS)
    search = replace(search, method=replace(search.method, phases=(phase,)))
    halves = [
        tuple(random_batch(JUDGED_IMAGES, bench.device, bench.side, f"{half} {step}") for half in ("train", "valid"))
        for step in range(STEPS)
    ]
    return judge(lambda precision: search.state(precision=precision), [(one, two) for one, two in halves]).as_dict()


def steps(bench: Bench, name: str, tell: Tell) -> dict[str, Any]:
    """Time the step as it is shipped, and in turns with it the released code's where its checkout is at hand."""
    theirs: Ways = {
        authors.name: partial(_released, bench, name, authors) for authors in bench.authors if _of(authors, name)
    }
    return timed(bench, name, theirs, tell)


def ladder(bench: Bench, name: str, tell: Tell) -> dict[str, Any]:
    """Time the step as it is shipped in turns with plain PyTorch's and our own rung by rung."""
    rungs: Ways = {TWIN: lambda: bench.plain_step(name), EAGER: partial(RUNGS["channels last"], bench.search(name))}
    if bench.device.type == "cuda":
        rungs[REPLAYED] = partial(RUNGS[REPLAYED], bench.search(name))
    return timed(bench, name, rungs, tell)


def timed(bench: Bench, name: str, others: Ways, tell: Tell) -> dict[str, Any]:
    """Time the step as it is shipped alone, which is told at once, and then in turns with other ways."""
    made = {SHIPPED: bench.step(name, bench.device, replay=True)}
    row = {"batch": bench.batch(name), **compared(timing.interleaved(made, FEWEST, bench.device))}
    tell(row)
    # The others load libraries and try out kernels of their own.
    if not others or bench.deadline.left() < CASE_SECONDS:
        return row
    made = {**{way: make() for way, make in others.items()}, **made}
    began = time.perf_counter()
    pilot = timing.interleaved(made, 1, bench.device)
    round_seconds = sum(seconds for (seconds,) in pilot.values())
    fits = min(CASE_SECONDS, bench.deadline.left() - (time.perf_counter() - began)) / round_seconds
    seconds = timing.interleaved(made, min(max(int(fits), FEWEST), MOST), bench.device) if fits > 1 else pilot
    return {**row, **compared(seconds)}


def _of(authors: Released, name: str) -> bool:
    """Say whether a checkout has that step; a training step of DARTS_V2 all of them have, and one is enough."""
    return authors.kind == ("darts" if name == RETRAIN else name)


def _released(bench: Bench, name: str, authors: Released) -> Step:
    if name == RETRAIN:
        batch = random_batch(bench.batch(name), bench.device, bench.side)
        return next(iter(cases.retrain_ways(bench.sizes, batch, authors).values()))()
    search = bench.search(name)
    return released.search_step(authors, search.method, search.data, search.device)


def compared(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return medians of every way in milliseconds, and how many times faster ours is than every other, pair by pair."""
    ours = seconds[SHIPPED]
    faster = {
        way: sorted(theirs / mine for theirs, mine in zip(taken, ours, strict=True))
        for way, taken in seconds.items()
        if way != SHIPPED
    }
    return {
        "repeats": len(ours),
        "ms": {way: MILLI * median(taken) for way, taken in seconds.items()},
        "times_faster": {way: [median(ratios), ratios[0], ratios[-1]] for way, ratios in faster.items()},
    }


def profile(bench: Bench, name: str) -> dict[str, Any]:
    """Look into one step, eager and as it is repeated."""
    eager, repeated = (bench.step(name, bench.device, replay=replay) for replay in (False, True))
    for _ in range(RECORDED):
        eager()
        repeated()
    return {"batch": bench.batch(name), **profile_of(eager, repeated, bench.device)}


def memory(bench: Bench, name: str) -> dict[str, Any]:
    """Compare the peak of a step with its network, in MiB, with what is predicted from tensors without data."""

    def program(device: torch.device) -> None:
        step = bench.step(name, device, replay=False)
        step()
        step()

    predicted = peak_bytes(lambda: program(META))
    program(bench.device)  # the first step of a size loads what stays
    taken = {
        "predicted_mib": predicted,
        "eager_mib": timing.peak_bytes(lambda: program(bench.device), bench.device),
        "plain_mib": timing.peak_bytes(lambda: bench.plain_step(name)(), bench.device),  # noqa: PLW0108 -- made inside
        **(recorded(bench, name) if bench.device.type == "cuda" else {}),
    }
    return {"batch": bench.batch(name), **{key: size / MEBIBYTE for key, size in taken.items()}}


def recorded(bench: Bench, name: str) -> dict[str, int]:
    """Return what recorded steps take: tensors at the peak, and what the process keeps from others."""
    torch.cuda.empty_cache()
    before, kept = torch.cuda.memory_allocated(bench.device), torch.cuda.memory_reserved(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    step = bench.step(name, bench.device, replay=True)
    for _ in range(RECORDED):
        step()
    return {
        "recorded_mib": torch.cuda.max_memory_allocated(bench.device) - before,
        "reserved_mib": torch.cuda.max_memory_reserved(bench.device) - kept,
    }


class OutOfTimeError(Exception):
    """The next epoch would end too late."""


def search(bench: Bench, name: str, tell: Tell) -> dict[str, Any]:
    """Search as the stage does, checkpoints and watch included; what is known after an epoch is told after it."""
    method, device = bench.method(name), bench.device
    halves, _ = pictures(bench.data, None if bench.data else bench.pictures)
    manifest, space = halves[0].manifest, method.searched(bench.params.search.chosen_space())
    base = SupernetSpec(
        0,
        0,
        len(manifest.classes),
        space,
        manifest.channels,
        precision=bench.precision,
        affine=bench.params.search.affine,
    )
    augment = bench.params.data.augment
    weights, architecture = (
        training_batches(part, method.batch_size, augment, seed=seed, device=device) for seed, part in enumerate(halves)
    )
    data = SearchData(weights, architecture, evaluation_batches(halves[1], method.batch_size, device=device))
    rows: list[dict[str, Any]] = []
    told: dict[str, Any] = {"pictures": manifest.source, "images": len(halves[0]), "batch": method.batch_size}

    def on_epoch(row: dict[str, Any]) -> None:
        rows.append(row)
        tell(told | progress_of(rows, method.epochs))
        if len(rows) < method.epochs and SPARE * row["seconds"] > bench.deadline.left():
            raise OutOfTimeError

    with tempfile.TemporaryDirectory() as folder, suppress(OutOfTimeError):
        run_search(
            method, base, data, seed=bench.params.seed, device=device, hooks=Hooks(on_epoch=on_epoch),
            checkpoint=Checkpoint(Path(folder) / "state.ckpt", "benchmark"),
            watch_every=bench.params.search.watch_every,
        )  # fmt: skip
    return told | progress_of(rows, method.epochs)


def progress_of(rows: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
    """Return how far a search is, and how long it takes in all if every epoch to come is like the last."""
    spent, last = sum(row["seconds"] for row in rows), rows[-1]
    return {
        "epochs": len(rows),
        "of_epochs": epochs,
        "search_seconds": spent,
        "predicted_seconds": spent + (epochs - len(rows)) * last["seconds"],
        "epoch_seconds": [row["seconds"] for row in rows],
        "train_accuracy": last["train_accuracy"],
        "valid_accuracy": last["valid_accuracy"],
        "genotype": last["genotype"],
    }

"""The frame around the work of every stage: its identity, its tracking, and an end in plain words."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nascommon.config import Params
from nascommon.data.loading import Data, open_data
from nascommon.pipeline.birth import birth
from nascommon.pipeline.paths import METRICS, ROOT, TIMES, TRANSFER_DATA
from nascommon.runtime import ranks
from nascommon.runtime.artefacts import digest, write_json
from nascommon.runtime.checkpoint import CheckpointFolder, Identity
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.graph import code_of_all, code_version, dependencies, input_hashes
from nascommon.runtime.hardware import cores, describe, resolve_device, resolve_precision, tune
from nascommon.runtime.home import home
from nascommon.runtime.joining import on_this_machine
from nascommon.runtime.reading import value_at
from nascommon.runtime.revision import revision
from nascommon.settings import UserError, leaves
from nascommon.space.precision import Precision
from nascommon.tracking.identity import StageRun
from nascommon.tracking.tracker import Tracker, tracked

MACHINE = ("device", "threads", "jobs", "executor", "launch", "sync_batch_norm", "tracking")
"""Keys of params.yaml that say where and how to compute, and change no number."""

KEY = re.compile(rf"({'|'.join(Params.model_fields)})(\.\w+)*: ")
"""How a message begins that says of a key of params.yaml what is wrong."""


@dataclass(frozen=True)
class Run:
    """One run of a stage."""

    stage: str
    params: Params
    device: torch.device
    tracker: Tracker
    checkpoints: CheckpointFolder

    def write_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Write the figures of the stage for those after it, and log those that are known."""
        write_json(METRICS / f"{self.stage}.json", metrics)
        self.tracker.headline({name: value for name, value in metrics.items() if value is not None})

    @property
    def precision(self) -> Precision:
        """Number format that networks are computed in on this device."""
        return resolve_precision(self.params.precision, self.device)

    def provenance(self, **otherwise: Any) -> dict[str, Any]:
        """Return the birth certificate of a figure; ``otherwise`` says what was computed in another way than usual."""
        return {
            "command": f"python -m stages.{self.stage}",
            "method": self.params.search.method,
            "seed": self.params.seed,
            "commit": str(revision(ROOT)),
            "code": code_version(self.stage, self.params.search.method),
            "hardware": describe(self.device),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "pieces": self.pieces,
            "ranks": ranks.share().count,
            "sync_batch_norm": self.params.sync_batch_norm,
            "torch": torch.__version__,
            **otherwise,
        }

    def open(self, folder: Path) -> Data:
        """Open a prepared set.

        Raises:
            UserError: it is missing, torn or of an incompatible version, or its pictures do not fit a network that is
                to see them, in this stage or in a later one.
        """
        data = open_data(folder, self.params.seed, self.device)
        manifest, section = data.prepared.manifest, "transfer.data" if folder == TRANSFER_DATA else "data"
        self.params.check_image_size(section, manifest.height, manifest.width)
        return data

    @property
    def pieces(self) -> int | None:
        """Into how many pieces a batch of the stage is cut; None where it trains nothing."""
        params = self.params
        return {
            "search": params.search.pieces,
            "retrain": params.retrain.training.pieces,
            "baseline": params.retrain.training.pieces,
            "transfer": params.transfer.training.pieces,
            "kendall_tau": params.kendall_tau.training.pieces,
        }.get(self.stage)


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[Run]:
    """Open a stage: its device, MLflow run and checkpoints.

    What of the params, the inputs and the code makes its fingerprint stands in dvc.yaml.

    Raises:
        UserError: an input is missing, another process is at the same work, or the training diverges inside.
    """
    with naming(params.file), _opened(stage, params) as run:
        yield run


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the params file before what is said inside of one of its keys, as ``data.size: ``.

    Raises:
        UserError: what was said.
    """
    try:
        yield
    except UserError as error:
        raise UserError(*(f"{file}: {line}" if KEY.match(line) else line for line in error.args)) from error


@contextmanager
def _opened(stage: str, params: Params) -> Iterator[Run]:
    began = time.perf_counter()
    device = prepare_device(params)
    identity = identify(stage, params, device)
    ranks.require_alike(asdict(identity), "the same data, code and PyTorch, and GPUs of one kind")
    fingerprint = identity.fingerprint(stage)
    born = birth(stage, params)
    alone = ranks.first()
    with tracked(params.tracking if alone else "none", tracked_run(stage, params, device, fingerprint)) as tracker:
        checkpoints = CheckpointFolder(home(), stage, fingerprint, report=lambda line: print(line, file=sys.stderr))
        try:
            with checkpoints.exclusive(identity) if alone else nullcontext():
                yield Run(stage, params, device, tracker, checkpoints)
        except DivergenceError as diverged:
            advice = diverged.advice(section_of(stage, params, diverged))
            raise UserError(f"{params.file}: {stage} {advice}") from diverged
        seconds = time.perf_counter() - began
        write_seconds(stage, seconds, born)
        tracker.headline({"stage_seconds": seconds})


def tracked_run(stage: str, params: Params, device: torch.device, fingerprint: str) -> StageRun:
    """Return what MLflow is told of a stage before it starts."""
    return StageRun(
        root=home().resolve(),
        stage=stage,
        method=params.search.method,
        seed=params.seed,
        data=params.data.source,
        key=fingerprint,
        pipeline=digest(params.model_dump(mode="json", exclude={*MACHINE, "methods"}), method_tree(params)),
        params=tracked_params(params),
        tags={
            "protocol": protocol(params),
            "settings": method_hash(params),
            "hardware": describe(device),
            "torch": torch.__version__,
            "code": code_of_all(),
        },
        checkout=ROOT,
    )


@ranks.first_only
def write_seconds(stage: str, seconds: float, born: Mapping[str, Any] | None = None) -> None:
    """Write how long the process took that finished a stage, apart from its figures, which a second run repeats.

    Args:
        stage: that ended.
        seconds: of the process.
        born: of what its figures were made; None where it has none.
    """
    write_json(TIMES / f"{stage}.json", {"seconds": seconds, **(born or {})})


def identify(stage: str, params: Params, device: torch.device) -> Identity:
    """Return what a stage's work belongs to.

    Raises:
        UserError: an input is missing.
    """
    method = params.search.method
    # A checkpoint of a GPU, where auto is bfloat16, is not gone on with in float32.
    tree = params.model_dump(mode="json") | {"precision": resolve_precision(params.precision, device)}
    settings = {key: value_at(tree, tuple(key.split("."))) for key in dependencies(stage, method).keys}
    inputs = input_hashes(stage, method, ROOT)
    return Identity(digest(settings), digest(inputs), code_version(stage, method), torch.__version__)


def section_of(stage: str, params: Params, diverged: DivergenceError) -> str:
    """Return the section, with a dot behind it, that holds the learning rate of what diverged in a stage."""
    if "training.lr" not in diverged.keys:
        return f"methods.{params.search.method}."
    return "retrain." if stage == "baseline" else f"{stage}."


def protocol(params: Params) -> str:
    """Return the hash of everything but method and seed: what must be equal for methods to be compared."""
    return digest(
        params.model_dump(
            mode="json",
            exclude={**dict.fromkeys(MACHINE, True), "methods": True, "seed": True, "search": {"method"}},
        )
    )


def method_hash(params: Params) -> str:
    """Return a short hash of the selected method's settings, which tells its variants apart."""
    return digest(method_tree(params))[:6]


def method_tree(params: Params) -> dict[str, Any]:
    """Return the selected method's settings as plain values."""
    tree: dict[str, Any] = params.method_settings().model_dump(mode="json")
    return tree


def shared_settings(params: Params) -> dict[str, Any]:
    """Return by dotted key what ranks must have read alike: all but what a machine may have of its own."""
    tree = params.model_dump(mode="json", exclude={*MACHINE} - {"sync_batch_norm"})
    return {key: value for key, value in leaves(tree) if not key.endswith("data.workers")}


def tracked_params(params: Params) -> dict[str, Any]:
    """Return the params as MLflow shows them: of the methods only the selected one."""
    tree = params.model_dump(mode="json", exclude={"methods", "tracking"})
    return {**tree, "methods": {params.search.method: method_tree(params)}}


def prepare_device(params: Params) -> torch.device:
    """Apply ``threads`` and return the device that ``device`` names; of several ranks each takes a GPU of its own.

    Raises:
        UserError: there is no such device, or not one for each rank.
    """
    index, beside = on_this_machine()
    ranks.synchronise_batch_norm(params.sync_batch_norm)
    if params.threads is not None:
        torch.set_num_threads(params.threads)
    elif beside > 1:
        torch.set_num_threads(max(1, cores() // beside))
    device = resolve_device(params.device)
    if device.type == "cuda" and beside > 1:
        gpus = 1 if ":" in params.device else torch.cuda.device_count()
        if beside > gpus:
            raise UserError(
                f"launch: {beside} processes take a GPU each, and `device: {params.device}` gives them {gpus}; start "
                "fewer, or set device: auto"
            )
        device = torch.device("cuda", index)
    tune(device)
    return device

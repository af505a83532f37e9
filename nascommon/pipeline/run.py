"""What every stage does around its work: read params.yaml, know its fingerprint, track, and end in plain words."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from nascommon.config import Params, load_params
from nascommon.data.batches import Batches, evaluation_batches, training_batches
from nascommon.data.prepared import Part, Prepared, open_prepared
from nascommon.runtime.artefacts import digest
from nascommon.runtime.checkpoint import CheckpointFolder, Identity
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.hardware import describe, resolve_device, resolve_precision, tune
from nascommon.runtime.progress import number, percent
from nascommon.runtime.revision import code_version, revision
from nascommon.runtime.seeding import derive
from nascommon.search.choose import calibration_batches, find_genotype
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype
from nascommon.space.precision import Precision
from nascommon.tracking.tracker import Tracker, tracked
from nascommon.training.scoring import ImageBatches

ROOT = Path()
"""Stages run in the folder of params.yaml, as DVC runs them."""
TARGET, TRANSFER = Path("data/prepared/target"), Path("data/prepared/transfer")
SEARCH, DISCRETIZE, RETRAIN = Path("data/search"), Path("data/discretize"), Path("data/retrain")
TRANSFERRED, KENDALL, BASELINE = Path("data/transfer"), Path("data/kendall_tau"), Path("data/baseline")
EVALUATE = Path("data/evaluate")
METRICS, PLOTS = Path("data/metrics"), Path("data/plots")
"""Apart from the folders above, because DVC wants metrics and plots as outputs of their own."""

MACHINE = ("device", "threads", "jobs", "tracking")
"""Keys of params.yaml that say where and how to compute, and change no number."""
ParamsFile = Annotated[Path, typer.Option("--params", help="The params file.", show_default=True)]


@dataclass(frozen=True)
class Run:
    """One run of a stage."""

    stage: str
    params: Params
    device: torch.device
    tracker: Tracker
    checkpoints: CheckpointFolder

    @property
    def precision(self) -> Precision:
        """In which numbers networks are computed."""
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
            "torch": torch.__version__,
            **otherwise,
        }

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
def stage_run(
    stage: str, params_file: Path, sections: Callable[[Params], list[Any]], inputs: list[Path]
) -> Iterator[Run]:
    """Open a stage: its params, device, MLflow run and checkpoints.

    Args:
        stage: name of the stage.
        params_file: where the params are.
        sections: what of them changes the stage's numbers.
        inputs: files that the stage reads; their hashes, the sections, the code and torch make the fingerprint.
    """
    params = load_params(params_file)
    device = prepare_device(params)
    numbers = [
        params.seed,
        resolve_precision(params.precision, device),
        *(_plain(section) for section in sections(params)),
    ]
    code = code_version(stage, params.search.method)
    identity = Identity(digest(numbers), digest([input_hash(path) for path in inputs]), code, torch.__version__)
    fingerprint = identity.fingerprint(stage)
    pipeline = digest(
        params.model_dump(mode="json", exclude={*MACHINE, "methods"}),
        _plain(params.method_settings()),
    )
    with tracked(
        params.tracking,
        project_root=ROOT,
        stage=stage,
        method=params.search.method,
        seed=params.seed,
        data=params.data.source,
        key=fingerprint,
        pipeline=pipeline,
        params=tracked_params(params),
        tags={"protocol": protocol(params), "settings": method_hash(params)},
    ) as tracker:
        checkpoints = CheckpointFolder(ROOT, stage, fingerprint, report=lambda line: print(line, file=sys.stderr))
        try:
            with checkpoints.held(identity):
                yield Run(stage, params, device, tracker, checkpoints)
        except DivergenceError as diverged:
            advice = diverged.advice(section_of(stage, params, diverged))
            raise UserError(f"{params_file}: {stage} {advice}") from diverged


def given_genotype(params: Params) -> Genotype | None:
    """Return the genotype that ``discretize.genotype`` names; None where the search's own is to be retrained.

    Raises:
        UserError: it is nowhere, or no genotype.
    """
    try:
        return None if params.discretize.genotype is None else find_genotype(params.discretize.genotype)
    except UserError as error:
        raise UserError(f"params.yaml: discretize.genotype: {error}") from error


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
    return digest(_plain(params.method_settings()))[:6]


def tracked_params(params: Params) -> dict[str, Any]:
    """Return the params as MLflow shows them: of the methods only the selected one."""
    tree = params.model_dump(mode="json", exclude={"methods", "tracking"})
    return {**tree, "methods": {params.search.method: _plain(params.method_settings())}}


def prepare_device(params: Params) -> torch.device:
    """Apply ``threads`` and return the device that ``device`` names."""
    if params.threads is not None:
        torch.set_num_threads(params.threads)
    device = resolve_device(params.device)
    tune(device)
    return device


@dataclass(frozen=True)
class Data:
    """A prepared set and how its batches are made."""

    prepared: Prepared
    seed: int
    device: torch.device

    @property
    def content_hash(self) -> str:
        """Hash of all pixels, labels and the split."""
        return self.prepared.manifest.content_hash

    def training(
        self, part: Part, batch_size: int, purpose: str, *, cutout: int = 0, seed: int | None = None
    ) -> Batches:
        """Return augmented, shuffled batches; ``purpose`` and seed decide order and augmentation."""
        number = derive(self.seed if seed is None else seed, "batches", purpose)
        augment = self.prepared.manifest.augment
        return training_batches(part, batch_size, augment, seed=number, device=self.device, cutout=cutout)

    def calibration(self, purpose: str, batch_size: int, count: int) -> ImageBatches:
        """Return ``count`` batches of the weight half for batch-norm statistics, seen as in the search."""
        batches = self.training(self.prepared.part("weights"), batch_size, purpose)
        return calibration_batches(batches, count, self.seed)

    def evaluation(self, part: Part, batch_size: int) -> Batches:
        """Return the images as they are, in order."""
        return evaluation_batches(part, batch_size, device=self.device)


def open_data(run: Run, folder: Path) -> Data:
    """Open a prepared set for this run."""
    return Data(open_prepared(folder), run.params.seed, run.device)


def input_hash(path: Path) -> str:
    """Return the hash of a file that a stage reads.

    Raises:
        UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` to make what comes before it")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _plain(section: Any) -> Any:
    return section.model_dump(mode="json") if hasattr(section, "model_dump") else section


def epoch_figures(figures: Mapping[str, float | None]) -> dict[str, str]:
    """Return accuracies and training loss of an epoch as its line and the stage's summary write them."""
    written = (("train_accuracy", "train acc", percent), ("valid_accuracy", "valid acc", percent),
               ("train_loss", "train loss", number))  # fmt: skip
    return {label: write(value) for name, label, write in written if (value := figures.get(name)) is not None}

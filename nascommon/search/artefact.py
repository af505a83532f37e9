"""Files that a search leaves for the stages after it: its last supernet and logits, snapshots, and its history."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from nascommon.method import Method
from nascommon.runtime.artefacts import read_tensors, write_json, write_table, write_tensors
from nascommon.runtime.records import read_record, remake_hint
from nascommon.search.history import History
from nascommon.search.state import InducedModel, SearchState, new_state
from nascommon.settings import Cells, Channels, Count, Probability, Settings, UserError, Whole
from nascommon.space.precision import Precision
from nascommon.space.record import SpaceRecord
from nascommon.space.space import Space
from nascommon.space.stem import Stem
from nascommon.space.supernet import SupernetSpec

SCHEMA: Literal[2] = 2
SUMMARY, HISTORY, ARCHITECTURE = "search.json", "history.parquet", "architecture.parquet"
STAGE = "search"


class InducedRecord(Settings):
    """EC-DARTS' best induced model."""

    accuracy: Probability
    genotype: dict[str, Any]
    epoch: Whole


class StateRecord(Settings):
    """Entry of ``search.json`` about a supernet that lies beside it as a file."""

    file: Annotated[str, Field(pattern=r"^(snapshots/)?[A-Za-z0-9_-]+\.safetensors$")]
    epoch: Annotated[int, Field(ge=-1)]
    """-1 where nothing was trained."""
    phase: Whole
    progress: Probability
    valid_accuracy: Probability | None
    """None where nothing was trained."""
    channels: Channels
    cells: Cells
    classes: Count
    space: SpaceRecord
    """Space with the candidates that are left in this phase."""
    image_channels: Literal[1, 3]
    channel_divisor: Channels
    stem: Stem
    precision: Precision
    affine: bool = False
    induced: InducedRecord | None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.channels % self.channel_divisor:
            raise ValueError(f"channel_divisor: must divide the {self.channels} channels")
        return self

    def spec(self) -> SupernetSpec:
        """Return the size of the supernet."""
        return SupernetSpec(
            self.channels, self.cells, self.classes, self.space.open(), self.image_channels, self.channel_divisor,
            self.stem, self.precision, self.affine,
        )  # fmt: skip


class SearchRecord(Settings):
    """Part of ``search.json`` that later stages read; provenance and figures beside it are for people."""

    model_config = ConfigDict(extra="ignore")

    version: Annotated[Literal[2], Field(alias="schema")]
    final: StateRecord
    snapshots: tuple[StateRecord, ...]


@dataclass(frozen=True)
class SavedState:
    """A supernet with its logits as a file, and what is needed to rebuild it."""

    file: Path
    epoch: int
    phase: int
    progress: float
    valid_accuracy: float | None
    """None where nothing was trained."""
    spec: SupernetSpec
    induced: InducedModel | None = None

    def load(self, method: Method, device: torch.device) -> SearchState:
        """Rebuild the state; its optimisers are fresh.

        Raises:
            UserError: the file does not hold this supernet.
        """
        tensors = read_tensors(self.file)
        weights = _strip(tensors, "supernet.")
        misfit = UserError(f"{self.file}: does not fit the method's supernet; {remake_hint(STAGE)}")
        # Compared before anything is built: a size edited by hand may be any. Cells without weights are not there.
        cells = len({name.split(".")[1] for name in weights if name.startswith("cells.")})
        shapes = {name: tensor.shape for name, tensor in weights.items()}
        if self.phase >= len(method.phases) or cells not in (0, self.spec.cells) or _shapes(self.spec) != shapes:
            raise misfit
        state = new_state(method, self.spec, seed=0, phase=self.phase, device=device)
        try:
            state.supernet.load_state_dict(weights)
            state.logits.load(_strip(tensors, "logits."))
        except (RuntimeError, KeyError) as error:
            raise misfit from error
        state.progress, state.induced = self.progress, self.induced
        return state


@dataclass(frozen=True)
class SavedSearch:
    """A finished search on disk."""

    folder: Path
    final: SavedState
    snapshots: tuple[SavedState, ...]


def save_state(path: Path, state: SearchState) -> None:
    """Write the network weights, batch-norm buffers and logits of a state."""
    tensors: dict[str, Tensor] = {f"supernet.{name}": tensor for name, tensor in state.supernet.state_dict().items()}
    tensors |= {f"logits.{name}": tensor for name, tensor in state.logits.named().items()}
    write_tensors(path, tensors)


def describe_state(file: str, state: SearchState, row: dict[str, Any]) -> dict[str, Any]:
    """Return what ``SavedState`` needs beside the file, as JSON; ``row`` is the epoch's row of the history."""
    spec = state.spec
    record = StateRecord(
        file=file,
        epoch=row["epoch"],
        phase=row["phase"],
        progress=state.progress,
        valid_accuracy=row["valid_accuracy"],
        channels=spec.channels,
        cells=spec.cells,
        classes=spec.classes,
        space=SpaceRecord.of(spec.space),
        image_channels=spec.image_channels,  # type: ignore[arg-type]
        channel_divisor=spec.channel_divisor,
        stem=spec.stem,
        precision=spec.precision,
        affine=spec.affine,
        induced=None if state.induced is None else InducedRecord(**state.induced.to_json()),
    )
    return record.model_dump(mode="json", by_alias=True)


def save_history(folder: Path, history: History, space: Space) -> None:
    """Write the history as parquet: a row per epoch, and a row per epoch, edge and candidate."""
    write_table(folder / HISTORY, history.table())
    write_table(folder / ARCHITECTURE, history.architecture_table(space))


def save_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write ``search.json``; it must hold ``final`` and ``snapshots`` as ``describe_state`` gives them."""
    write_json(folder / SUMMARY, {"schema": SCHEMA, **summary})


def load_search(folder: Path) -> SavedSearch:
    """Open what a search stage wrote.

    Raises:
        UserError: it is missing, of another version, or says what cannot be.
    """
    path = folder / SUMMARY
    record = read_record(path, SearchRecord, STAGE)
    try:
        snapshots = tuple(_saved_state(folder, state) for state in record.snapshots)
        return SavedSearch(folder, _saved_state(folder, record.final), snapshots)
    except UserError as error:
        raise UserError(f"{path}: induced: {error}; {remake_hint(STAGE)}") from error


def _saved_state(folder: Path, record: StateRecord) -> SavedState:
    return SavedState(
        folder / record.file, record.epoch, record.phase, record.progress, record.valid_accuracy, record.spec(),
        InducedModel.from_json(None if record.induced is None else record.induced.model_dump()),
    )  # fmt: skip


def _shapes(spec: SupernetSpec) -> dict[str, torch.Size]:
    """Return the shape of every tensor of a supernet without allocating one; none where there is no such supernet."""
    with torch.device("meta"), suppress(ValueError):
        return {name: tensor.shape for name, tensor in spec.build().state_dict().items()}
    return {}


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

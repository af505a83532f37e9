"""What a search leaves for the stages after it: its last supernet and logits, snapshots on the way, and its history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascommon.method import Method
from nascommon.runtime.artefacts import read_json, read_tensors, write_json, write_table, write_tensors
from nascommon.search.history import History, candidates_from_json
from nascommon.search.state import Induced, SearchState, new_state
from nascommon.settings import UserError
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology

SCHEMA = 1
SUMMARY, HISTORY, ARCHITECTURE = "search.json", "history.parquet", "architecture.parquet"


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
    induced: Induced | None = None

    def load(self, method: Method, device: torch.device) -> SearchState:
        """Rebuild the state; its optimisers are fresh.

        Raises:
            UserError: the file does not hold this supernet.
        """
        tensors = read_tensors(self.file)
        state = new_state(method, self.spec, seed=0, phase=self.phase, device=device)
        try:
            state.supernet.load_state_dict(_strip(tensors, "supernet."))
            state.logits.load(_strip(tensors, "logits."))
        except (RuntimeError, KeyError) as error:
            raise UserError(f"{self.file}: does not fit the method's supernet; run the search again") from error
        state.progress, state.induced = self.progress, self.induced
        return state


@dataclass(frozen=True)
class SavedSearch:
    """A finished search on disk."""

    folder: Path
    summary: dict[str, Any]
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
    return {
        "file": file,
        "epoch": row["epoch"],
        "phase": row["phase"],
        "progress": state.progress,
        "valid_accuracy": row["valid_accuracy"],
        "channels": spec.channels,
        "cells": spec.cells,
        "classes": spec.classes,
        "nodes": spec.topology.nodes,
        "image_channels": spec.image_channels,
        "candidates": {kind: spec.candidates.cell(kind) for kind in CELL_KINDS},
        "channel_divisor": spec.channel_divisor,
        "stem": spec.stem,
        "induced": state.induced and state.induced.to_json(),
    }


def save_history(folder: Path, history: History, topology: Topology) -> None:
    """Write the history as parquet: a row per epoch, and a row per epoch, edge and candidate."""
    write_table(folder / HISTORY, history.table())
    write_table(folder / ARCHITECTURE, history.architecture_table(topology))


def save_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write ``search.json``; it must hold ``final`` and ``snapshots`` as ``describe_state`` gives them."""
    write_json(folder / SUMMARY, {"schema": SCHEMA, **summary})


def load_search(folder: Path) -> SavedSearch:
    """Open what a search stage wrote.

    Raises:
        UserError: it is missing or of another version.
    """
    summary = read_json(folder / SUMMARY)
    try:
        if summary["schema"] != SCHEMA:
            raise UserError(
                f"{folder / SUMMARY}: schema must be {SCHEMA} (got {summary['schema']!r}); run the search again"
            )
        final = _saved_state(folder, summary["final"])
        return SavedSearch(folder, summary, final, tuple(_saved_state(folder, tree) for tree in summary["snapshots"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY}: lacks {error}; run the search again") from error


def _saved_state(folder: Path, tree: dict[str, Any]) -> SavedState:
    spec = SupernetSpec(
        tree["channels"],
        tree["cells"],
        tree["classes"],
        candidates_from_json(tree["candidates"]),
        Topology(tree["nodes"]),
        tree["image_channels"],
        tree["channel_divisor"],
        tree["stem"],
    )
    return SavedState(
        folder / tree["file"], tree["epoch"], tree["phase"], tree["progress"], tree["valid_accuracy"], spec,
        Induced.from_json(tree["induced"]),
    )  # fmt: skip


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

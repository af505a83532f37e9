"""The history of a search: one row per epoch, and every logit and mixing weight of every epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from nascommon.search.state import SearchState
from nascommon.space.genotype import Genotype
from nascommon.space.space import Candidates, Space

OF_SUPERNET = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
OF_CELLS = ("skips", "entropy")
"""Measured for every kind of cell: ``skips_normal``."""
OF_EPOCH = ("learning_rate", "seconds")


@dataclass
class History:
    """Figures and architectures of the epochs so far; ``candidates`` has one entry per phase begun."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    architecture: list[dict[str, Tensor]] = field(default_factory=list)
    candidates: list[Candidates] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, before and after any interruption."""
        return float(sum(row["seconds"] for row in self.rows))

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "rows": json.dumps(self.rows),
            "architecture": self.architecture,
            "candidates": json.dumps([dict(candidates) for candidates in self.candidates]),
        }

    @staticmethod
    def from_state_dict(state: dict[str, Any]) -> History:
        """Take up what ``state_dict`` returned."""
        return History(
            json.loads(state["rows"]),
            state["architecture"],
            [candidates_from_json(tree) for tree in json.loads(state["candidates"])],
        )

    def table(self) -> pd.DataFrame:
        """Return a row per epoch: phase, the scalars, what else some epochs measured, and the genotype as JSON."""
        of_cells = [f"{figure}_{kind}" for figure in OF_CELLS for kind in self.candidates[0]]
        known = ["epoch", "phase", *OF_SUPERNET, *of_cells, *OF_EPOCH]
        more = sorted({name for row in self.rows for name in row} - {*known, "genotype", "warnings"})
        table = pd.DataFrame(self.rows, columns=[*known, *more, "genotype"])
        return table.assign(warnings=["; ".join(row.get("warnings", [])) for row in self.rows])

    def architecture_table(self, space: Space) -> pd.DataFrame:
        """Return a row per epoch, cell, edge and candidate with its logit ``alpha`` and its mixing ``weight``."""
        rows = [
            (row["epoch"], row["phase"], kind, position, edge.source, edge.node, operation, alpha, weight)
            for row, tensors in zip(self.rows, self.architecture, strict=True)
            for kind, edges in self.candidates[row["phase"]].items()
            for position, (edge, names) in enumerate(zip(space.cells[kind].topology.edges, edges, strict=True))
            for operation, alpha, weight in zip(
                names,
                tensors[f"{kind}.alpha_EO"][position].tolist(),
                tensors[f"{kind}.weights_EO"][position].tolist(),
                strict=True,
            )
        ]
        columns = ["epoch", "phase", "cell", "edge", "source", "node", "operation", "alpha", "weight"]
        return pd.DataFrame(rows, columns=columns)


def candidates_from_json(tree: dict[str, Any]) -> Candidates:
    """Read candidates that were written as lists."""
    return Candidates((kind, tuple(tuple(names) for names in edges)) for kind, edges in tree.items())


@torch.no_grad()
def architecture_snapshot(state: SearchState) -> dict[str, Tensor]:
    """Return copies on the CPU of all logits and mixing weights (times those of the edges) by name."""
    mixing = state.mixing()
    weights = {f"{kind}.weights_EO": cell.products() for kind, cell in mixing.items()}
    return {name: tensor.detach().cpu().clone() for name, tensor in {**state.logits.named(), **weights}.items()}


def architecture_scalars(snapshot: dict[str, Tensor], genotype: Genotype) -> dict[str, float]:
    """Return skip count and mean entropy of the edges' (normalised) mixing weights, in nats, per kind of cell."""
    scalars: dict[str, float] = {}
    for kind, cell in genotype.items():
        weights_EO = snapshot[f"{kind}.weights_EO"].double()
        share_EO = weights_EO / weights_EO.sum(dim=1, keepdim=True)
        scalars[f"skips_{kind}"] = cell.skips
        scalars[f"entropy_{kind}"] = float(torch.special.entr(share_EO).sum(dim=1).mean())
    return scalars

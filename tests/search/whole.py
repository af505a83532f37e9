"""Whole searches that take a moment, and all that they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.method import Method, Phase, SearchSize, WeightOptimiser
from nascommon.methods.random import RandomSettings, random
from nascommon.parts.logits import normal_alpha
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.state import SearchState
from nascommon.space.topology import Topology
from tests.search.small import CPU, SOME, tiny_data, tiny_method, tiny_spec
from tests.space.kinds import space_of

DATA = tiny_data()
TWO_PHASES = tiny_method(
    phases=(Phase(2, 2, 3, warmup=1, keep=3), Phase(2, 4, 4)),
    initialise=normal_alpha(1.0),
    weights=WeightOptimiser(lr=0.1, lr_min=0.01),
)
ONE_PHASE = tiny_method(phases=(Phase(2, 2, 3),), initialise=normal_alpha(1.0))
RANDOM = random(RandomSettings(epochs=2, batch_size=5), SearchSize(2, 3, space_of(SOME, Topology(2))))


def search(method: Method, *, seed: int = 0, checkpoint: Checkpoint | None = None, **hooks: Any) -> Outcome:
    return run_search(method, tiny_spec(), DATA, seed=seed, device=CPU, checkpoint=checkpoint, hooks=Hooks(**hooks))


def record(outcome: Outcome) -> dict[str, Any]:
    """Return all that a search leaves, but for its wall time."""
    return {
        "state": outcome.state.state_dict(),
        "progress": outcome.state.progress,
        "rows": [{key: value for key, value in row.items() if key != "seconds"} for row in outcome.history.rows],
        "architecture": outcome.history.architecture,
        "candidates": outcome.history.candidates,
    }


@dataclass(frozen=True)
class Watched:
    """A search, and the states in which its epochs ended."""

    outcome: Outcome
    states: list[SearchState]


class KilledError(Exception):
    pass


def killer(after: int) -> Callable[..., None]:
    """Return a hook that raises when it is called for the ``after``-th time."""
    calls = iter(range(1, after + 1))

    def hook(*_arguments: object, **_options: object) -> None:
        if next(calls) == after:
            raise KilledError

    return hook


def resumed(method: Method, path: Path, hook: str, after: int) -> tuple[Outcome, list[int]]:
    """Kill a search in the ``after``-th call of ``hook`` and run it again in a new process's place."""
    hooks: dict[str, Any] = {hook: killer(after)}
    with pytest.raises(KilledError):
        search(method, checkpoint=Checkpoint(path, "mine"), **hooks)
    done: list[int] = []
    torch.manual_seed(99)  # a new process has other global generators
    outcome = search(method, checkpoint=Checkpoint(path, "mine"), on_resume=done.append)
    return outcome, done

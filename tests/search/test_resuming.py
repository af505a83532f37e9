"""A search that is killed and taken up ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nascommon.method import ArchGradient, Phase
from nascommon.parts.choices import Approximation, Unrolled, UnrolledExact
from nascommon.parts.logits import normal_alpha
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.search.loop import Hooks, run_search
from tests.search.small import adam, equal, tiny_method, tiny_spec
from tests.search.whole import DATA, ONE_PHASE, RANDOM, TWO_PHASES, Watched, record, resumed, search


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_search_killed_after_any_epoch_ends_bit_identical(two_phases: Watched, tmp_path: Path, epochs: int) -> None:
    outcome, done = resumed(TWO_PHASES, tmp_path / "search.ckpt", "on_epoch", epochs)
    assert done == [epochs]
    assert equal(record(outcome), record(two_phases.outcome))


@pytest.mark.parametrize(("hook", "call", "epochs"), [("on_snapshot", 3, 2), ("on_batch", 8, 3)])
def test_a_search_killed_within_an_epoch_runs_that_epoch_again(
    two_phases: Watched, tmp_path: Path, hook: str, call: int, epochs: int
) -> None:
    outcome, done = resumed(TWO_PHASES, tmp_path / "search.ckpt", hook, call)
    assert done == [epochs]
    assert equal(record(outcome), record(two_phases.outcome))


def test_a_search_killed_before_its_first_epoch_is_done_starts_over(tmp_path: Path) -> None:
    outcome, done = resumed(ONE_PHASE, tmp_path / "search.ckpt", "on_batch", 1)
    assert done == []
    assert equal(record(outcome), record(search(ONE_PHASE)))


@pytest.mark.parametrize("kind", [Unrolled(), pytest.param(UnrolledExact(), marks=pytest.mark.slow)], ids=str)
def test_second_order_searches_resume_bit_identical(tmp_path: Path, kind: Approximation) -> None:
    method = tiny_method(phases=(Phase(2, 2, 3),), initialise=normal_alpha(1.0), arch_gradient=ArchGradient(kind))
    outcome, _ = resumed(method, tmp_path / "search.ckpt", "on_epoch", 1)
    assert equal(record(outcome), record(search(method)))


def test_a_search_that_samples_paths_resumes_bit_identical(tmp_path: Path) -> None:
    outcome, _ = resumed(RANDOM, tmp_path / "search.ckpt", "on_epoch", 1)
    assert equal(record(outcome), record(search(RANDOM)))


@pytest.mark.filterwarnings("ignore:.*to a meta parameter in the current model, which is a no-op")
def test_a_search_taken_up_on_another_device_computes_there_and_keeps_its_books_on_the_cpu(tmp_path: Path) -> None:
    """A finished search, since there is nothing to be computed on a device without values."""
    path, meta = tmp_path / "search.ckpt", torch.device("meta")
    finished = search(ONE_PHASE, checkpoint=Checkpoint(path, "mine"))
    outcome = run_search(
        ONE_PHASE, tiny_spec(), DATA, seed=0, device=meta, checkpoint=Checkpoint(path, "mine"), hooks=Hooks()
    )
    history = outcome.history
    assert equal(history.architecture, finished.history.architecture)
    pd.testing.assert_frame_equal(
        history.architecture_table(tiny_spec().space), finished.history.architecture_table(tiny_spec().space)
    )
    pd.testing.assert_frame_equal(history.table(), finished.history.table())
    computing = [leaf for leaf in tree_leaves(outcome.state.state_dict()) if isinstance(leaf, Tensor)]
    steps = [moments["step"] for moments in adam(outcome.state).state.values()]  # kept on the CPU by PyTorch
    assert {tensor.device.type for tensor in computing if all(tensor is not step for step in steps)} == {"meta"}


def test_a_checkpoint_of_another_fingerprint_is_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "search.ckpt"
    done: list[int] = []
    said: list[str] = []
    search(ONE_PHASE, checkpoint=Checkpoint(path, "theirs"))
    search(ONE_PHASE, checkpoint=Checkpoint(path, "mine", said.append), on_resume=done.append)
    assert done == []
    assert "other settings" in said[0]

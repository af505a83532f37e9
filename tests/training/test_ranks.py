"""A training that ranks share comes to the numbers of one process that computes every batch in as many pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.runtime import ranks
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.steps import finished
from nascommon.training.loop import training_steps
from nascommon.training.settings import TrainingSettings
from tests.runtime.team import on_ranks
from tests.search.small import CPU, TinyBatches
from tests.training.test_loop import GENOTYPE, SPEC

SETTINGS = TrainingSettings(epochs=2, batch_size=10, lr=0.1, drop_path=0.5, cutout=0)


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(
    pieces: int = 1, epochs: int = 2, file: Path | None = None, batch_size: int = 10, **changes: Any
) -> dict[str, Any]:
    """Return all tensors and figures of a training; batches of 10 are shared unevenly by three."""
    settings = SETTINGS.model_copy(update={"pieces": pieces, "epochs": epochs, **changes})
    batches = TinyBatches(20, batch_size, seed=1, dtype=torch.float64)
    validation = TinyBatches(9, 4, seed=3, shuffled=False, dtype=torch.float64)
    checkpoint = Checkpoint(file, "of these settings") if file else None
    found = finished(
        training_steps(
            GENOTYPE, SPEC, settings, batches, seed=0, device=CPU, validation=validation, checkpoint=checkpoint
        )
    )
    figures = {f"{row['epoch']}: {name}": torch.tensor(row[name]) for row in found.rows for name in row}
    return found.network.state_dict() | {name: value for name, value in figures.items() if "seconds" not in name}


def synchronised(pieces: int) -> dict[str, Any]:
    """Train without drop-path, whose draws are those of the pieces."""
    ranks.synchronise_batch_norm(True)
    try:
        return trained(pieces, drop_path=0.0)
    finally:
        ranks.synchronise_batch_norm(False)


def assert_same(ours: Any, twin: dict[str, Any]) -> None:
    assert not isinstance(ours, Exception), ours
    assert list(ours) == list(twin)
    torch.testing.assert_close(ours, twin, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_come_to_what_one_process_does_in_as_many_pieces(count: int) -> None:
    twin, ours = trained(pieces=count), on_ranks(count, trained)
    for each in ours:
        assert_same(each, twin)
    with pytest.raises(AssertionError):  # batch norm and drop-path see the shares
        torch.testing.assert_close(trained(), twin)


@pytest.mark.parametrize(
    ("count", "pieces", "alone"),
    [
        pytest.param(2, 1, 1, marks=pytest.mark.slow),
        pytest.param(3, 1, 1, marks=pytest.mark.slow),
        (3, 2, 2),  # shares of 4, 3 and 3, which fall into 2, 1 and 1 pieces by themselves
        pytest.param(3, 5, 3, marks=pytest.mark.slow),  # pieces of two images would leave a rank without any
        pytest.param(7, 2, 1, marks=pytest.mark.slow),  # shares of one image
    ],
)
def test_with_synchronised_batch_norm_ranks_come_to_what_one_process_does_in_the_same_pieces(
    count: int, pieces: int, alone: int
) -> None:
    twin = trained(alone, drop_path=0.0)
    for each in on_ranks(count, synchronised, pieces):
        assert_same(each, twin)


@pytest.mark.slow
def test_ranks_may_compute_their_shares_in_pieces() -> None:
    # Of 20 images, as the pieces of 10 are not the same: 3, 2, 3 and 2, or 3, 3, 2 and 2.
    ours, twin = on_ranks(2, trained, 2, 2, None, 20)[1], trained(pieces=4, batch_size=20)
    learned = [name for name in twin if "running" not in name and "valid" not in name]
    assert_same({name: ours[name] for name in learned}, {name: twin[name] for name in learned})


@pytest.mark.slow
def test_a_training_is_taken_up_by_another_number_of_ranks(tmp_path: Path) -> None:
    file = tmp_path / "state.ckpt"
    trained(pieces=3, epochs=1, file=tmp_path / "twin.ckpt")
    twin = trained(pieces=1, epochs=2, file=tmp_path / "twin.ckpt")
    on_ranks(3, trained, 1, 1, file)
    assert_same(trained(epochs=2, file=file), twin)
    again = on_ranks(2, trained, 1, 3, file)
    assert_same(again[1], trained(pieces=2, epochs=3, file=tmp_path / "twin.ckpt"))

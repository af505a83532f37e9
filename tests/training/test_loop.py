"""Training follows its protocol to the letter, can be killed after any epoch, and reports the last one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nascommon.data.batches import Batches
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.divergence import DivergenceError
from nascommon.runtime.seeding import seed_globals
from nascommon.runtime.steps import Steps, finished
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.network import Network, NetworkSpec
from nascommon.training import loop
from nascommon.training.descent import TrainingHooks
from nascommon.training.loop import (
    COLUMNS,
    Trained,
    network_scores,
    predict,
    train_epoch,
    training_steps,
)
from nascommon.training.settings import TrainingSettings
from tests.search.small import CPU, NoNumbersFrom, TinyBatches, equal
from tests.space.kinds import two

CELL = CellGenotype(
    ((Choice("sep_conv_3x3", 0), Choice("max_pool_3x3", 1)), (Choice("skip_connect", 0), Choice("dil_conv_3x3", 2))),
    (2, 3),
)
GENOTYPE = two(Genotype, CELL, CELL)
SPEC = NetworkSpec(2, 3, 4)
SETTINGS = TrainingSettings(epochs=3, batch_size=5, lr=0.1, drop_path=0.5, cutout=0)
VALID = TinyBatches(9, 4, seed=3, shuffled=False)


class KilledError(Exception):
    pass


def train(*, seed: int = 0, settings: TrainingSettings = SETTINGS, batches: Batches | None = None,
          checkpoint: Checkpoint | None = None, validation: Batches | None = VALID,
          **hooks: Any) -> Trained:  # fmt: skip
    return finished(training_steps(
        GENOTYPE, SPEC, settings, batches or TinyBatches(seed=1), seed=seed, device=CPU, validation=validation,
        checkpoint=checkpoint, hooks=TrainingHooks(**hooks),
    ))  # fmt: skip


def record(trained: Trained) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in trained.rows]
    return {"network": trained.network.state_dict(), "rows": rows}


@pytest.fixture(scope="module")
def uninterrupted() -> Trained:
    return train()


def raise_at(epoch: int) -> Callable[[dict[str, Any]], None]:
    def on_epoch(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise KilledError

    return on_epoch


# -- killed and taken up --


@pytest.mark.filterwarnings("ignore:.*to a meta parameter in the current model, which is a no-op")
def test_a_training_taken_up_on_another_device_has_its_network_there(tmp_path: Path) -> None:
    """A finished training, since there is nothing to be computed on a device without values."""
    path = tmp_path / "train.ckpt"
    whole = train(checkpoint=Checkpoint(path, "mine"))
    meta = torch.device("meta")
    resumed = finished(
        training_steps(
            GENOTYPE, SPEC, SETTINGS, TinyBatches(seed=1), seed=0, device=meta, checkpoint=Checkpoint(path, "mine")
        )
    )
    assert resumed.rows == whole.rows
    assert {tensor.device.type for tensor in resumed.network.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_training_killed_after_any_epoch_ends_bit_identical(
    uninterrupted: Trained, tmp_path: Path, epoch: int
) -> None:
    path = tmp_path / "a.ckpt"
    done: list[int] = []
    with pytest.raises(KilledError):
        train(checkpoint=Checkpoint(path, "mine"), on_epoch=raise_at(epoch))
    torch.manual_seed(99)
    trained = train(checkpoint=Checkpoint(path, "mine"), on_resume=done.append)
    assert done == [epoch + 1]
    assert equal(record(trained), record(uninterrupted))


def test_a_training_killed_within_an_epoch_runs_that_epoch_again(uninterrupted: Trained, tmp_path: Path) -> None:
    path, batches = tmp_path / "a.ckpt", iter(range(3))

    def on_batch(_done: int, _total: int) -> None:
        if next(batches) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train(checkpoint=Checkpoint(path, "mine"), on_batch=on_batch)
    assert equal(record(train(checkpoint=Checkpoint(path, "mine"))), record(uninterrupted))


def test_a_loss_that_is_no_number_stops_the_training_and_the_last_good_epoch_stays(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.ckpt", "f")
    told: list[int] = []
    for _ in range(2):  # taken up again, it neither begins anew nor goes on with broken weights
        with pytest.raises(DivergenceError, match=r"train_loss is nan after epoch 2; lower training\.lr"):
            finished(training_steps(
                GENOTYPE, SPEC, SETTINGS, NoNumbersFrom(1), seed=0, device=CPU, checkpoint=checkpoint,
                hooks=TrainingHooks(on_epoch=lambda row: told.append(row["epoch"])),
            ))  # fmt: skip
    assert told == [0]
    saved = checkpoint.load()
    assert saved is not None
    assert all(bool(weight.isfinite().all()) for weight in saved["network"].values())


def test_the_seed_decides_weights_and_drop_path(uninterrupted: Trained) -> None:
    torch.manual_seed(5)
    assert equal(record(train()), record(uninterrupted))
    assert not equal(record(train(seed=1)), record(uninterrupted))


# -- one epoch, by formula --


def one_step(
    settings: TrainingSettings, *, second: bool = False
) -> tuple[Network, Network, Tensor, Tensor, dict[str, float]]:
    """Train one batch; return the network before (a copy in training mode) and after, the batch and the figures."""
    torch.manual_seed(0)
    network = Network(GENOTYPE, SPEC).double()
    before = copy.deepcopy(network).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    batches = TinyBatches(6, 6, dtype=torch.float64)
    metrics = finished(train_epoch(network, optimiser, settings, batches, int(second), TrainingHooks()))
    images, labels = next(iter(batches.epoch(int(second))))
    return before, network, images, labels, metrics


def smoothed(logits_BK: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross entropy to (1 - e) * one-hot + e / K."""
    targets = functional.one_hot(labels, 4).double() * (1 - smoothing) + smoothing / 4
    return -(targets * logits_BK.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_the_step_follows_the_smoothed_loss_with_the_weighted_auxiliary_loss(weight: float, smoothing: float) -> None:
    settings = TrainingSettings(label_smoothing=smoothing, auxiliary_weight=weight, clip=1e3)
    before, after, images, labels, metrics = one_step(settings)
    logits, auxiliary = before.forward_auxiliary(images)
    assert auxiliary is not None
    main = smoothed(logits, labels, smoothing)
    (main + weight * smoothed(auxiliary, labels, smoothing)).backward()  # type: ignore[no-untyped-call]
    for w, ours in zip(before.parameters(), after.parameters(), strict=True):
        assert w.grad is not None
        torch.testing.assert_close(ours, w - 0.1 * w.grad, rtol=1e-9, atol=1e-11)
    assert metrics["train_loss"] == pytest.approx(float(main.detach()))
    assert metrics["train_accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_the_gradient_is_clipped_to_its_norm() -> None:
    before, after, *_ = one_step(TrainingSettings(clip=0.01))
    moved = torch.cat([(a - b).flatten() for a, b in zip(after.parameters(), before.parameters(), strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_figures_are_means_over_images_of_uneven_batches() -> None:
    torch.manual_seed(0)
    network = Network(GENOTYPE, SPEC).double()
    batches = TinyBatches(7, 5, dtype=torch.float64)
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    metrics = finished(train_epoch(network, frozen, TrainingSettings(), batches, 0, TrainingHooks()))
    pairs = [(network(images), labels) for images, labels in batches.epoch(0)]
    loss = (
        sum(float(functional.cross_entropy(logits, labels, reduction="sum").detach()) for logits, labels in pairs) / 7
    )
    assert metrics["train_loss"] == pytest.approx(loss)


# -- the protocol over epochs --


def test_drop_path_and_learning_rate_are_set_before_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float, int]] = []
    real = loop.train_epoch

    def watching(network: Network, optimiser: torch.optim.Optimizer, settings: TrainingSettings, batches: Batches,
                 epoch: int, *more: Any) -> Steps[dict[str, float]]:  # fmt: skip
        seen.append((network.drop_probability, optimiser.param_groups[0]["lr"], epoch))
        return real(network, optimiser, settings, batches, epoch, *more)

    monkeypatch.setattr(loop, "train_epoch", watching)
    trained = train(settings=SETTINGS.model_copy(update={"epochs": 4, "schedule": "exponential", "warmup_epochs": 1}))
    assert [epoch for _, _, epoch in seen] == [0, 1, 2, 3]
    assert [probability for probability, _, _ in seen] == pytest.approx([0.0, 0.125, 0.25, 0.375])
    assert [rate for _, rate, _ in seen] == pytest.approx([0.1 * 0.97**epoch for epoch in range(4)])
    assert [row["learning_rate"] for row in trained.rows] == [rate for _, rate, _ in seen]


def test_momentum_and_weight_decay_reach_the_optimiser() -> None:
    plain = {"epochs": 1, "drop_path": 0.0, "clip": 1e3}
    settings = SETTINGS.model_copy(update={**plain, "momentum": 0.7, "weight_decay": 0.05})
    batches = TinyBatches(10, 5, seed=1)
    ours = train(settings=settings, batches=batches).network
    seed_globals(0, "network")
    twin = Network(GENOTYPE, SPEC)
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.7, weight_decay=0.05)
    finished(train_epoch(twin, optimiser, settings, batches, 0, TrainingHooks()))
    for mine, other in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_every_row_has_all_columns_and_validation_is_scored_in_evaluation_mode(uninterrupted: Trained) -> None:
    assert all(tuple(row) == COLUMNS for row in uninterrupted.rows)
    assert [row["epoch"] for row in uninterrupted.rows] == [0, 1, 2]
    last = uninterrupted.rows[-1]
    network = copy.deepcopy(uninterrupted.network).eval()
    logits = network(VALID.images)
    assert last["valid_accuracy"] == pytest.approx(float((logits.argmax(1) == VALID.labels).float().mean()))
    assert last["valid_loss"] == pytest.approx(float(functional.cross_entropy(logits, VALID.labels).detach()), rel=1e-5)


def test_without_validation_only_training_figures_are_reported() -> None:
    trained = train(validation=None, settings=SETTINGS.model_copy(update={"epochs": 1}))
    assert not any("valid" in key for key in [*trained.rows[0], *trained.summary()])


def test_validation_changes_nothing_but_the_report(uninterrupted: Trained) -> None:
    blind = train(validation=None)
    assert equal(blind.network.state_dict(), uninterrupted.network.state_dict())


def test_the_last_epoch_is_the_headline_and_the_best_is_only_reported() -> None:
    rows = [
        {"epoch": epoch, "train_loss": 1.0 - epoch, "train_accuracy": epoch / 10, "valid_loss": 0.0,
         "valid_accuracy": accuracy, "learning_rate": 0.1, "seconds": 2.0, "images": 100}
        for epoch, accuracy in enumerate([0.5, 0.9, 0.9, 0.6])
    ]  # fmt: skip
    figures = Trained(Network(GENOTYPE, SPEC), rows, peak_memory=3 * 2**20).summary()
    assert figures == {
        "train_loss": -2.0,
        "train_accuracy": 0.3,
        "images_per_second": 50.0,
        "train_seconds": 8.0,
        "peak_memory_mib": 3.0,
        "valid_accuracy": 0.6,
        "best_epoch_valid_accuracy": 0.9,
        "best_epoch": 1,
    }


def test_the_result_is_the_network_of_the_last_epoch(uninterrupted: Trained) -> None:
    accuracy = network_scores(uninterrupted.network, VALID)[1]
    assert accuracy == uninterrupted.summary()["valid_accuracy"] == uninterrupted.rows[-1]["valid_accuracy"]


def test_the_images_counted_are_those_that_were_trained_on() -> None:
    settings = SETTINGS.model_copy(update={"epochs": 1, "batch_size": 64})
    assert train(settings=settings, batches=TinyBatches(10, 64)).rows[0]["images"] == 10


def test_hooks_are_told_batches_and_epochs_after_their_checkpoint(tmp_path: Path) -> None:
    told: list[object] = []
    checkpoint = Checkpoint(tmp_path / "a.ckpt", "mine")

    def on_epoch(row: dict[str, Any]) -> None:
        told.append(("epoch", row["epoch"], checkpoint.load() is not None))

    train(settings=SETTINGS.model_copy(update={"epochs": 2}), checkpoint=checkpoint, on_epoch=on_epoch,
          on_batch=lambda *done: told.append(done))  # fmt: skip
    assert told == [(1, 2), (2, 2), ("epoch", 0, True), (1, 2), (2, 2), ("epoch", 1, True)]


def test_predictions_come_in_the_order_of_the_data_and_leave_the_mode(uninterrupted: Trained) -> None:
    network = copy.deepcopy(uninterrupted.network).train()
    logits, labels = predict(network, VALID)
    assert torch.equal(labels, VALID.labels)
    torch.testing.assert_close(logits, copy.deepcopy(network).eval()(VALID.images).detach(), rtol=1e-4, atol=1e-5)
    assert network.training
    assert not logits.requires_grad


def test_training_learns() -> None:
    settings = TrainingSettings(epochs=8, batch_size=10, lr=0.1, drop_path=0.0)
    rows = train(settings=settings, batches=TinyBatches(20, 10)).rows
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]


def test_kernels_are_chosen_by_what_is_left_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(loop, "choose_kernels", lambda device, left: told.append(left) if device == CPU else None)
    first, second, _ = (row["seconds"] for row in train().rows)
    assert told == [0.0, 0.0, min(first, second)]

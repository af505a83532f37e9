"""Train a stand-alone network from scratch; its last epoch is the result, any better epoch before is only reported."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nascommon.data.batch import Batch
from nascommon.data.batches import Batches
from nascommon.data.task import figures
from nascommon.parts.schedule import drop_path_probability
from nascommon.runtime import ranks
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.divergence import refuse_divergence
from nascommon.runtime.hardware import choose_kernels, peak_memory_bytes, seconds_left
from nascommon.runtime.optimisers import load_optimiser, set_rate, sgd
from nascommon.runtime.replay import Recordings
from nascommon.runtime.seeding import seed_globals
from nascommon.runtime.steps import Steps
from nascommon.space.genotype import Genotype
from nascommon.space.network import Network, NetworkSpec, build_network
from nascommon.training.descent import TrainingHooks, descend, sweep
from nascommon.training.scoring import evaluate, evaluating
from nascommon.training.settings import TrainingSettings

COLUMNS = (
    "epoch", "train_loss", "train_accuracy", "images", "valid_loss", "valid_accuracy", "learning_rate", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    network: Network
    rows: list[dict[str, Any]]
    """``COLUMNS`` per epoch; the two ``valid_*`` only where there is validation data."""
    peak_memory: int
    """Bytes; see ``peak_memory_bytes``."""

    def summary(self) -> dict[str, float]:
        """Return the headline figures: those of the last epoch, cost, and for the record the best epoch."""
        last = self.rows[-1]
        seconds = sum(row["seconds"] for row in self.rows)
        figures = {
            "train_loss": last["train_loss"],
            "train_accuracy": last["train_accuracy"],
            "images_per_second": sum(row["images"] for row in self.rows) / seconds,
            "train_seconds": seconds,
            "peak_memory_mib": self.peak_memory / 2**20,
        }
        if "valid_accuracy" in last:
            best = max(self.rows, key=lambda row: float(row["valid_accuracy"]))
            figures["valid_accuracy"] = last["valid_accuracy"]
            figures["best_epoch_valid_accuracy"] = best["valid_accuracy"]
            figures["best_epoch"] = best["epoch"]
        return figures


def training_steps(
    genotype: Genotype,
    spec: NetworkSpec,
    settings: TrainingSettings,
    batches: Batches,
    *,
    seed: int,
    device: torch.device,
    validation: Batches | None = None,
    checkpoint: Checkpoint | None = None,
    hooks: TrainingHooks = TrainingHooks(),
) -> Steps[Trained]:
    """Train the network of a genotype from scratch, with a pause after every batch.

    Every epoch is a pure function of the state before it, the seed and its index, so a training that was killed and
    taken up from its checkpoint ends bit-identical (on a CPU) to one that was not.

    Args:
        genotype: the architecture.
        spec: the network's size.
        settings: the protocol.
        batches: augmented training batches.
        seed: seed of initial weights and drop-path (and, through ``batches``, of order and augmentation).
        device: where to compute.
        validation: batches that the network never learns from; None reports training figures only.
        checkpoint: taken up if there is one, and written after every epoch.
        hooks: who is told.

    Raises:
        DivergenceError: a loss is not finite at the end of an epoch; the checkpoint of the epoch before stays.
    """
    seed_globals(seed, "network")
    network = build_network(genotype, spec).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = fresh_optimiser(network, settings)
    rows: list[dict[str, Any]] = []
    saved = checkpoint.load() if checkpoint else None
    if saved:
        network.load_state_dict(saved["network"])
        load_optimiser(optimiser, saved["optimiser"])
        rows = json.loads(saved["rows"])
        hooks.on_resume(len(rows))
    learning_rate, recordings = settings.learning_rate(), Recordings()
    for epoch in range(len(rows), settings.epochs):
        started = time.perf_counter()
        seed_globals(seed, "epoch", epoch)
        choose_kernels(device, seconds_left([row["seconds"] for row in rows], settings.epochs))
        lr = learning_rate(epoch, settings.epochs)
        set_rate(optimiser.param_groups[0], lr)
        network.drop_probability = drop_path_probability(settings.drop_path, epoch, settings.epochs)
        row = yield from train_epoch(network, optimiser, settings, batches, epoch, hooks, recordings)
        if validation is not None:
            row |= figures(validation.task, "valid", *network_scores(network, validation))
        refuse_divergence(row, epoch, ("training.lr",), network)
        ranks.require_equal(f"after epoch {epoch + 1}", {"weights": network.state_dict().values()})
        rows.append({"epoch": epoch, **row, "learning_rate": lr, "seconds": time.perf_counter() - started})
        if checkpoint:
            checkpoint.save(
                {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "rows": json.dumps(rows)}
            )
        hooks.on_epoch(rows[-1])
    return Trained(network, rows, peak_memory_bytes(device))


def train_epoch(
    network: Network,
    optimiser: torch.optim.Optimizer,
    settings: TrainingSettings,
    batches: Batches,
    epoch: int,
    hooks: TrainingHooks,
    recordings: Recordings | None = None,
) -> Steps[dict[str, float]]:
    """Train one epoch, with a pause after every batch.

    Comes to mean loss without the auxiliary head and mean score on the augmented images. ``recordings`` are those of
    the optimiser, if epochs went before; None begins anew.
    """
    network.train()
    device = next(network.parameters()).device
    step = (recordings or Recordings()).repeated(
        partial(train_step, network, optimiser, settings), device, kind=network.drop_probability > 0
    )
    with ranks.shared_statistics(network):
        mine = batches.epoch(epoch, ranks.share())
        loss, score, images = yield from sweep(mine, len(batches), step, device=device, on_batch=hooks.on_batch)
    return {**figures(batches.task, "train", loss, score), "images": images}


def fresh_optimiser(network: Network, settings: TrainingSettings) -> torch.optim.SGD:
    """Return SGD on all weights of a network, which it first lets lie as is best where they are."""
    network.lay_together()
    return sgd(network, settings.lr, settings.momentum, settings.weight_decay)


def train_step(
    network: Network, optimiser: torch.optim.Optimizer, settings: TrainingSettings, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Take one step of SGD; return the batch's mean loss without the auxiliary head's, and its sum of scores."""

    def forward(piece: Batch) -> tuple[Tensor, Tensor, Tensor]:
        outputs, auxiliary = network.forward_auxiliary(piece.images)
        main = piece.loss(outputs, label_smoothing=settings.label_smoothing)
        if auxiliary is None:
            return outputs, main, main
        smoothed = piece.loss(auxiliary, label_smoothing=settings.label_smoothing)
        return outputs, main, main + settings.auxiliary_weight * smoothed

    return descend(network, optimiser, batch, forward, clip=settings.clip, pieces=settings.pieces)


def network_scores(network: Network, batches: Batches) -> tuple[float, float]:
    """Return (mean loss, mean score) in evaluation mode."""
    with evaluating(network):
        return evaluate(network, batches.epoch(0, ranks.share()))


def predict(network: Network, batches: Batches) -> tuple[Tensor, Tensor]:
    """Return outputs [N, ...] and labels [N] on the CPU, in evaluation mode and in the order of the data."""
    with evaluating(network), torch.no_grad():
        pairs = [(network(images).cpu(), labels.cpu()) for images, labels in batches.epoch(0)]
    return torch.cat([outputs for outputs, _ in pairs]), torch.cat([labels for _, labels in pairs])

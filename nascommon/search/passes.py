"""One pass over the weight half: an architecture step and a weight step per batch, as the papers alternate them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import nn
from torch.nn import functional

from nascommon.data.batches import Batches
from nascommon.method import PassName
from nascommon.runtime.seeding import derive
from nascommon.search.gradients import Batch, arch_gradient
from nascommon.search.state import SearchState


@dataclass(frozen=True)
class SearchData:
    """What a search reads; no part of it is the test set.

    Attributes:
        weights: augmented batches of the weight half.
        architecture: augmented batches of the architecture half, for the architecture steps.
        validation: the architecture half as it is, for the reported accuracy.
    """

    weights: Batches
    architecture: Batches
    validation: Batches


@dataclass(frozen=True)
class Epoch:
    """Where the search is: the epoch over all phases, and whether architecture steps are taken in it."""

    index: int
    architecture_steps: bool


OnBatch = Callable[[int, int], None]
"""(batches done, batches in all) of a pass."""
Pass = Callable[[SearchState, SearchData, Epoch, OnBatch], dict[str, float]]
"""Run one pass and return its metrics."""


def soft_pass(state: SearchState, data: SearchData, epoch: Epoch, on_batch: OnBatch) -> dict[str, float]:
    """Train the supernet under its mixing weights (DARTS, algorithm 1: architecture step first, then weight step)."""
    state.supernet.train()
    device = state.logits.normal.alpha_EO.device
    loss, correct, images = torch.zeros((), device=device), torch.zeros((), device=device), 0
    valid_batches = endless(data.architecture, epoch.index)
    for done, (train_images, train_labels) in enumerate(data.weights.epoch(epoch.index), start=1):
        train = Batch(train_images, train_labels)
        if epoch.architecture_steps:
            architecture_step(state, train, Batch(*next(valid_batches)))
        batch_loss, batch_correct = weight_step(state, train)
        loss += batch_loss * len(train.labels)
        correct += batch_correct
        images += len(train.labels)
        on_batch(done, len(data.weights))
    return {"train_loss": float(loss) / images, "train_accuracy": float(correct) / images}


PASSES: dict[PassName, Pass] = {"soft": soft_pass}


def architecture_step(state: SearchState, train: Batch, valid: Batch) -> None:
    """Move the logits one step of Adam against the gradient of the validation loss."""
    for tensor, gradient in zip(state.logits.tensors(), arch_gradient(state, train, valid), strict=True):
        tensor.grad = gradient
    state.arch_optimiser.step()
    state.arch_optimiser.zero_grad(set_to_none=True)


def weight_step(state: SearchState, train: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the network weights one step of SGD; return the batch's mean loss and its number of correct answers."""
    logits_BK = state.supernet(train.images, state.draw().detach())
    loss = functional.cross_entropy(logits_BK, train.labels)
    state.weight_optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.supernet.parameters(), state.method.weights.clip)
    state.weight_optimiser.step()
    return loss.detach(), (logits_BK.detach().argmax(1) == train.labels).sum()


def endless(batches: Batches, key: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of one shuffled sweep after the other; a pure function of ``key``."""
    for sweep in count():
        yield from batches.epoch(derive(key, "sweep", sweep))

"""A step of SGD on some network weights, computed in pieces where memory is short, and a sweep of such steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nascommon.data.batch import Batch
from nascommon.runtime import ranks
from nascommon.runtime.optimisers import clip_gradients
from nascommon.runtime.steps import Steps

OnBatch = Callable[[int, int], None]
"""(batches done, batches in all) of a sweep."""


def ignore(*_arguments: object, **_options: object) -> None:
    """Do nothing: the default of every hook."""


@dataclass(frozen=True)
class TrainingHooks:
    """Callbacks of a training.

    Attributes:
        on_resume: (epochs done by an earlier process), before the first epoch of this one.
        on_batch: (batches done, batches in all) of a sweep.
        on_epoch: the row of the epoch, after its checkpoint is on disk.
    """

    on_resume: Callable[[int], None] = ignore
    on_batch: OnBatch = ignore
    on_epoch: Callable[[dict[str, Any]], None] = ignore


class Forward(Protocol):
    """Computes a piece of a batch in training mode."""

    def __call__(self, piece: Batch, /) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs [B, ...], the mean loss that is reported, and the mean loss whose gradient is followed."""
        ...


def descend(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, forward: Forward, *, clip: float, pieces: int
) -> tuple[Tensor, Tensor]:
    """Take one step of SGD against the gradient of the whole batch; batch norm alone sees a piece at a time.

    Where ranks share the batch, this is its one share, and the step the same on all of them.

    Args:
        network: its weights are moved.
        optimiser: the one that moves these weights.
        batch: images and labels.
        forward: computes a piece.
        clip: largest norm of the gradient.
        pieces: computed one after the other, the memory of one at a time.

    Returns:
        Mean reported loss of the batch and its sum of scores, scalars on the device and not waited for; of a share
        what it adds to either.
    """
    optimiser.zero_grad(set_to_none=True)
    losses, scores = [], []
    for piece, share in ranks.apart(batch.pieces(pieces), pieces, batch.device):
        outputs, reported, followed = forward(piece)
        (share * followed).backward()  # type: ignore[no-untyped-call]
        losses.append(share * reported.detach())
        scores.append(piece.scores(outputs.detach()).sum())
    ranks.sum_gradients(network.parameters())
    clip_gradients(network.parameters(), clip)
    optimiser.step()
    return torch.stack(losses).sum(), torch.stack(scores).sum()


def sweep(
    batches: Iterable[Batch],
    count: int,
    step: Callable[[Batch], tuple[Tensor, ...]],
    *,
    device: torch.device,
    on_batch: OnBatch,
) -> Steps[tuple[float, float, int]]:
    """Take a step on each of ``count`` batches; come to (mean loss, mean score, images), the device waited for once.

    Args:
        batches: those of an epoch.
        count: how many there are.
        step: takes a batch, or its share; returns what ``descend`` does, which the next step may overwrite.
        device: where the steps are taken.
        on_batch: told after every step.
    """
    loss_sum, score_sum, images = torch.zeros((), device=device), torch.zeros((), device=device), 0
    for done, batch in enumerate(batches, start=1):
        loss, score = step(batch)
        loss_sum += loss * batch.count
        score_sum += score
        images += batch.count
        on_batch(done, count)
        yield
    loss_total, score_total = ranks.totals(float(loss_sum), float(score_sum))
    return loss_total / images, score_total / images, images

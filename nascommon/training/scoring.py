"""Scores of a network on a set of images: mean loss and mean score, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nascommon.data.batch import Batch
from nascommon.runtime import ranks


@torch.no_grad()
def evaluate(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> tuple[float, float]:
    """Return (mean loss, mean score) of ``forward``: images -> outputs, waiting for the device once.

    The batches are a rank's share, or all of them on every rank; the means are those over all ranks.
    """
    losses, scores, count = [], [], 0
    for batch in batches:
        outputs = forward(batch.images)
        losses.append(batch.loss(outputs, reduction="sum"))
        scores.append(batch.scores(outputs).sum())
        count += len(batch.labels)
    sums = [float(torch.stack(each).sum()) if each else 0.0 for each in (losses, scores)]
    loss, score, images = ranks.totals(*sums, count)
    return loss / images, score / images


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode and back."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)

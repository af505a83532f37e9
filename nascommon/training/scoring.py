"""Scores of a network on a set of images: mean loss and mean score, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nascommon.data.batch import Batch


@torch.no_grad()
def evaluate(forward: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> tuple[float, float]:
    """Return (mean loss, mean score) of ``forward``: images -> outputs, waiting for the device once."""
    losses, scores, count = [], [], 0
    for batch in batches:
        outputs = forward(batch.images)
        losses.append(batch.loss(outputs, reduction="sum"))
        scores.append(batch.scores(outputs).sum())
        count += len(batch.labels)
    return float(torch.stack(losses).sum()) / count, float(torch.stack(scores).sum()) / count


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode and back."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)

"""How well a network does on a set of images: mean cross entropy and accuracy, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.data.batch import ImageBatches


@torch.no_grad()
def evaluate(forward: Callable[[Tensor], Tensor], batches: ImageBatches) -> tuple[float, float]:
    """Return (mean cross entropy, accuracy in [0, 1]) of ``forward``: images -> logits, waiting for the device once."""
    losses, hits, count = [], [], 0
    for images, labels in batches:
        logits_BK = forward(images)
        losses.append(functional.cross_entropy(logits_BK, labels, reduction="sum"))
        hits.append((logits_BK.argmax(1) == labels).sum())
        count += len(labels)
    return float(torch.stack(losses).sum()) / count, float(torch.stack(hits).sum()) / count


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode and back."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)

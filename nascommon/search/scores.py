"""How good is a supernet under given mixing weights: its accuracy, before and after its batch norm is recalibrated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nascommon.space.mixing import Mixing
from nascommon.space.supernet import Supernet
from nascommon.training.scoring import ImageBatches, evaluate, evaluating


def supernet_scores(supernet: Supernet, draw: Callable[[], Mixing], batches: ImageBatches) -> tuple[float, float]:
    """Return (loss, accuracy) of the supernet in evaluation mode; ``draw`` gives the mixing weights of each batch."""
    with evaluating(supernet):
        return evaluate(lambda images: supernet(images, draw()), batches)


def recalibrated_scores(
    supernet: Supernet, draw: Callable[[], Mixing], calibration: ImageBatches, batches: ImageBatches
) -> tuple[float, float]:
    """Return (loss, accuracy) with batch-norm statistics measured anew under ``draw``; the supernet is left as it was.

    The running statistics of a supernet are those of its mixture and wrong for a part of it (methods.md, section 6).
    """
    with fresh_statistics(supernet):
        with torch.no_grad():
            for images, _ in calibration:
                supernet(images, draw())
        return supernet_scores(supernet, draw, batches)


@contextmanager
def fresh_statistics(module: nn.Module) -> Iterator[None]:
    """Forget the batch-norm statistics and average new ones over all batches seen; put the old ones back at the end."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    momenta = [norm.momentum for norm in norms]
    training = module.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches instead of an exponential one
    module.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])
        module.train(training)

"""Scores of a supernet under given mixing weights, before and after its batch norm is recalibrated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from nascommon.data.batch import Batch
from nascommon.space.mixing import Mixing
from nascommon.space.supernet import Supernet
from nascommon.training.scoring import evaluate, evaluating


def supernet_scores(supernet: Supernet, mixing: Mixing, batches: Iterable[Batch]) -> tuple[float, float]:
    """Return (loss, accuracy) of the supernet under ``mixing``, in evaluation mode."""
    with evaluating(supernet), supernet.still():
        return evaluate(lambda images: supernet(images, mixing), batches)


def recalibrated_scores(
    supernet: Supernet, mixing: Mixing, calibration: Iterable[Batch], batches: Iterable[Batch]
) -> tuple[float, float]:
    """Return (loss, accuracy) with batch norm measured anew under ``mixing``; the supernet is left as it was.

    The running statistics of a supernet are those of its mixture and wrong for a part of it (docs/methods.md,
    section 6).
    """
    with fresh_statistics(supernet):
        recalibrate(supernet, mixing, calibration)
        return supernet_scores(supernet, mixing, batches)


def scores_of_each(
    supernet: Supernet, mixings: Iterable[Mixing], calibration: Sequence[Batch], batches: Sequence[Batch]
) -> Iterator[tuple[float, float]]:
    """Yield the ``recalibrated_scores`` of each mixing; what is the same for all is done once, not for each.

    Walking through all modules of a small supernet takes longer than its images.
    """
    with fresh_statistics(supernet):
        norms = [layer for layer in supernet.modules() if isinstance(layer, nn.BatchNorm2d)]
        for mixing in mixings:
            for norm in norms:
                norm.reset_running_stats()
                norm.training = True
            with torch.no_grad():
                for images, _ in calibration:
                    supernet(images, mixing)
            for norm in norms:
                norm.training = False
            yield evaluate(partial(supernet, mixing=mixing), batches)


@torch.no_grad()
def recalibrate(supernet: Supernet, mixing: Mixing, calibration: Iterable[Batch]) -> None:
    """Replace the batch-norm statistics by those of the calibration images under ``mixing``."""
    with _averaging(supernet), supernet.still():
        for images, _ in calibration:
            supernet(images, mixing)


@contextmanager
def fresh_statistics(module: nn.Module) -> Iterator[None]:
    """Forget the batch-norm statistics and average new ones over all batches seen; put the old ones back at the end."""
    # All buffers, the counters of batches among them, which the plain average advances.
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with _averaging(module):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(kept[name])


@contextmanager
def _averaging(module: nn.Module) -> Iterator[None]:
    """Let batch norm forget its statistics and average new ones; everything else is as in evaluation."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    # Only batch norm is in training mode: dropout after skips would change what its statistics are measured on.
    momenta, training = [norm.momentum for norm in norms], module.training
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches instead of an exponential one
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.train(training)

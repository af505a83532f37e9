"""Memory of a stage: its process, its images, and the program that has to fit beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nascommon.cost.live_bytes import META, block_bytes, heap_bytes, peak_bytes
from nascommon.data.batch import Batch
from nascommon.data.batches import evaluation_size
from nascommon.data.prepared import Prepared
from nascommon.kernels.home import meta_stands_for
from nascommon.runtime import ranks

DRAWING_STAGES = ("search", "kendall_tau")
DRAWING_BYTES = 135 * 2**20
"""Memory that Matplotlib and the tables take when results are written (124 to 143 MiB measured)."""
SIZES = {"cpu": heap_bytes, "cuda": block_bytes}
"""Function from the bytes of a tensor to the bytes it costs, by kind of device."""


@dataclass(frozen=True)
class Shape:
    """Number, size and classes of a set of images: all that an estimate needs to know of it."""

    images: int
    channels: int
    height: int
    width: int
    classes: int
    in_memory: bool = True

    def batch(self, size: int, device: torch.device) -> Batch:
        """Return a batch of random images [size, C, H, W] and labels [size] on ``device``."""
        images = torch.randn(size, self.channels, self.height, self.width, device=device)
        return Batch(images, torch.randint(self.classes, (size,), device=device))

    def evaluated(self, batch_size: int, device: torch.device, pieces: int) -> int:
        """Return how many images a batch of evaluation has; see ``evaluation_size``."""
        numbers = self.channels * self.height * self.width if self.in_memory else None
        return min(evaluation_size(batch_size, numbers, device, pieces), self.images)

    def resident_bytes(self) -> int:
        """Return the bytes of the images where they are kept in memory, a byte per pixel and channel; else 0."""
        return self.images * self.channels * self.height * self.width if self.in_memory else 0


def prepared_shape(prepared: Prepared) -> Shape:
    """Return the shape of a prepared set."""
    manifest = prepared.manifest
    images = sum(sum(counts.values()) for part, counts in manifest.counts.items() if part != "test")
    in_memory = manifest.storage == "memory"
    return Shape(images, manifest.channels, manifest.height, manifest.width, len(manifest.classes), in_memory)


def memory_of(program: Callable[[torch.device], object], device: torch.device) -> int:
    """Predict the most bytes that ``program`` takes on a device, by running it on tensors that have no data.

    Args:
        program: takes the device (``meta`` here) on which it makes all its tensors.
        device: the one whose memory is predicted; it is not touched.
    """
    # Some kernels are chosen by the device: they must be chosen as they would be on the one that is predicted. Of ranks
    # each asks for itself, or not at all: it has as much free memory as it has.
    with meta_stands_for(device.type), ranks.alone():
        return peak_bytes(lambda: program(META), SIZES[device.type])


def fill_optimiser_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Give the weights gradients and momenta, as they have them from the second step on."""
    # The first step allocates the momenta; a peak measured in it would be that of no other step.
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()

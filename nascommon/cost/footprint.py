"""What every stage has in memory: its process, its images, and a program that is to fit beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nascommon.cost.live_bytes import META, block_bytes, heap_bytes, peak_bytes
from nascommon.data.batch import Batch
from nascommon.data.prepared import Prepared
from nascommon.kernels.home import meta_stands_for

DRAWING_STAGES = ("search", "kendall_tau")
DRAWING_BYTES = 135 * 2**20
"""What Matplotlib and the tables take when the results are written. Measured: 124 to 143 MiB."""
SIZES = {"cpu": heap_bytes, "cuda": block_bytes}
"""What a tensor costs on each kind of device."""


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a set of images."""

    images: int
    channels: int
    height: int
    width: int
    classes: int
    in_memory: bool = True

    def batch(self, size: int, device: torch.device) -> Batch:
        """Return random images and labels."""
        images = torch.randn(size, self.channels, self.height, self.width, device=device)
        return Batch(images, torch.randint(self.classes, (size,), device=device))

    def resident_bytes(self) -> int:
        """Return the bytes of the images, a byte a pixel, where they are kept in memory."""
        return self.images * self.channels * self.height * self.width if self.in_memory else 0


def shape_of(prepared: Prepared) -> Shape:
    """Return the shape of a prepared set."""
    manifest = prepared.manifest
    images = sum(sum(counts.values()) for part, counts in manifest.counts.items() if part != "test")
    in_memory = manifest.storage == "memory"
    return Shape(images, manifest.channels, manifest.height, manifest.width, len(manifest.classes), in_memory)


def memory_of(program: Callable[[torch.device], object], device: torch.device) -> int:
    """Predict the most bytes that ``program`` takes on a device, by running it on tensors that have no data."""
    with meta_stands_for(device.type):
        return peak_bytes(lambda: program(META), SIZES[device.type])


def fill_optimiser_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Give the weights gradients and momenta, as they have them from the second step on."""
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()

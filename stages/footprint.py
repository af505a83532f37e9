"""What a stage holds in memory at its peak: the process before its first step, and the largest of its steps."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle

import torch
from torch import nn

from nascommon.method import Method
from nascommon.runtime.hardware import peak_memory_bytes
from nascommon.runtime.memory import META, in_heap, peak_bytes, resident_bytes
from nascommon.search.gradients import Batch
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state
from nascommon.search.watch import hessian_eigenvalue
from nascommon.space.genotype import CELL_KINDS
from nascommon.space.mixing import Candidates, Mixing
from nascommon.space.operations import CANDIDATES, search_operation
from nascommon.space.supernet import SupernetSpec

STAGES = ("search", "retrain", "kendall_tau")
"""Whose imports a process of a long stage has."""
DRAWING_STAGES = ("search", "kendall_tau")
DRAWING_BYTES = 135 * 2**20
"""What Matplotlib and the tables take when the results are written. Measured: 124 to 143 MiB."""
DRAWS = 1000
"""Of a method that samples what is computed, the largest of so many samples stands for the largest of a search."""
INDUCED_COPIES = 3
"""Of the network weights that an induced pass holds besides: its model's weights, momenta and gradients."""
TRACKING_BYTES = 100 * 2**20
"""What MLflow adds to a process: 99 and 115 MiB in two stages, as what the rest of the estimate leaves unexplained."""
KERNEL_BYTES = 30 * 2**20
"""What the kernels take that oneDNN makes for the shapes of a network; 42 to 60 MiB measured in a supernet of 8 cells,
less in small ones."""
LAYERS = {name: sum(1 for _ in search_operation(name, 2, 1).modules()) for name in CANDIDATES}


@dataclass(frozen=True)
class Shape:
    """What the estimate needs to know of a set of images."""

    images: int
    channels: int
    side: int
    classes: int
    in_memory: bool = True

    def batch(self, size: int, device: torch.device) -> Batch:
        """Return random images and labels."""
        images = torch.randn(size, self.channels, self.side, self.side, device=device)
        return Batch(images, torch.randint(self.classes, (size,), device=device))

    def resident_bytes(self) -> int:
        """Return the bytes of the images, a byte a pixel, where they are kept in memory."""
        return self.images * self.channels * self.side**2 if self.in_memory else 0


def process_bytes(device: torch.device, *, tracked: bool) -> int:
    """Return the memory of a stage's process before its first step; none of it is counted on a GPU."""
    if device.type == "cuda":
        return 0
    for stage in STAGES:
        importlib.import_module(f"stages.{stage}")
    # The first step loads what PyTorch loads late, and makes the kernels that a process then keeps.
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(3), nn.AvgPool2d(3))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.randn(2, 1, 16, 16)).sum().backward()
    optimiser.step()
    return resident_bytes() + KERNEL_BYTES + tracked * TRACKING_BYTES


def memory_of(program: Callable[[torch.device], object], device: torch.device) -> int:
    """Return the most bytes that ``program`` takes on a device: measured there on a GPU, counted for a CPU."""
    if device.type != "cuda":
        return peak_bytes(lambda: program(META), in_heap)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    program(device)
    return peak_memory_bytes(device) - before


def with_fixed_draw(method: Method, state: SearchState) -> Method:
    """Return the method without its sampler's numbers, but with the largest of many choices of what is computed.

    Samplers need real numbers, and what they draw is small: only ``active`` decides what a step holds.
    """
    if method.sample is None:
        return method
    use = next(iter(method.sample_in))
    with torch.no_grad():
        largest = state.draw(use)
        if largest.normal.active is not None:
            draws = (state.draw(use) for _ in range(DRAWS))
            largest = max(draws, key=lambda drawn: layers(drawn, state.spec.candidates))
    kinds = cycle(CELL_KINDS)  # the order in which a state asks its sampler
    return replace(
        method,
        sample=lambda _logits, mixing, _space, _progress: replace(mixing, active=largest.cell(next(kinds)).active),
    )


def layers(drawn: Mixing, candidates: Candidates) -> int:
    """Count the layers of the operations drawn, as a measure of what they keep for the backward pass."""
    return sum(
        LAYERS[names[choice]]
        for kind in CELL_KINDS
        for names, chosen in zip(candidates.cell(kind), drawn.cell(kind).active or (), strict=True)
        for choice in chosen
    )


def search_steps(method: Method, spec: SupernetSpec, shape: Shape, watched: int, device: torch.device) -> None:
    """Do all in a phase that may take the most memory: both steps, and the watch of the Hessian on so many images."""
    state = new_state(method, spec, seed=0, phase=0, device=device)
    settle(state.supernet, state.weight_optimiser)
    weights = list(state.supernet.parameters()) * INDUCED_COPIES if "induced" in method.passes else []
    held = [torch.empty_like(weight) for weight in weights]
    train, valid = (shape.batch(method.batch_size, device) for _ in range(2))
    if method.arch_gradient is not None:
        architecture_step(state, train, valid)
    weight_step(state, train)
    if method.arch_gradient is not None and watched:
        hessian_eigenvalue(state, Batch(valid.images[:watched], valid.labels[:watched]))
    del held


def settle(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Give the weights gradients and momenta, as they have them from the second step on."""
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()

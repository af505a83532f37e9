"""Counts of a network: parameters, multiply-adds, and what the papers print as FLOPs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from nascommon.space.genotype import Genotype
from nascommon.space.network import NetworkSpec, build_network
from nascommon.space.operations import ReluFirst


@dataclass(frozen=True)
class Complexity:
    """Counts for one image in evaluation mode, where no auxiliary head runs.

    Attributes:
        params: without the auxiliary head.
        params_with_auxiliary: with it; equal to ``params`` where there is none.
        mult_adds: multiply-adds of convolutions and linear layers.
        paper_flops: ``mult_adds`` + 2 x batch-norm outputs + ReLU outputs, which reproduces the FLOPs published for
            PC-DARTS and P-DARTS to the nearest million (docs/methods.md, section 5).
    """

    params: int
    params_with_auxiliary: int
    mult_adds: int
    paper_flops: int

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


@functools.cache
def network_complexity(genotype: Genotype, spec: NetworkSpec, height: int, width: int) -> Complexity:
    """Count a stand-alone network without allocating it: everything happens on the meta device."""
    # Counting needs shapes only; on meta an ImageNet network is counted in a fraction of a second.
    with torch.device("meta"):
        network = build_network(genotype, spec).eval()
        image = torch.empty(1, spec.image_channels, height, width)
    auxiliary = count_parameters(network.auxiliary) if network.auxiliary is not None else 0
    total = count_parameters(network)
    mult_adds, paper_extra = count_operations(network, lambda: network(image))
    return Complexity(total - auxiliary, total, mult_adds, mult_adds + paper_extra)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_operations(module: nn.Module, forward: Callable[[], object]) -> tuple[int, int]:
    """Run ``forward`` once and count in ``module``: (multiply-adds, 2 x batch-norm outputs + ReLU outputs)."""
    counts = {"mult_adds": 0, "paper_extra": 0}

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        match layer:
            case nn.Conv2d():
                # A group sees its share of the input channels only; bias, where there is one, is not counted.
                per_output = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
                counts["mult_adds"] += out.numel() * per_output
            case nn.Linear():
                counts["mult_adds"] += out.numel() * layer.in_features
            case nn.BatchNorm2d():
                counts["paper_extra"] += 2 * out.numel()
            case nn.ReLU():
                counts["paper_extra"] += out.numel()
            case ReluFirst() if len(inputs) > 1:  # the papers count its ReLU for every operation that begins with it
                counts["paper_extra"] += inputs[0].numel()

    with torch.no_grad(), _hooked(module, count):
        forward()
    return counts["mult_adds"], counts["paper_extra"]


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""The supernet holds every candidate of every edge and mixes their outputs by weights given with each call.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``E`` edges, ``O`` operations, ``K`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nascommon.space.mixing import Candidates, CellMixing, EdgeCandidates, Mixing
from nascommon.space.operations import FactorizedReduce, relu_conv_bn, search_operation
from nascommon.space.topology import Topology, reduction_cells, stride

STEM_MULTIPLIER = 3


@dataclass(frozen=True)
class SupernetSpec:
    """The size of a supernet and what its edges may be."""

    channels: int
    cells: int
    classes: int
    candidates: Candidates
    topology: Topology = Topology()
    image_channels: int = 3


class SupernetCell(nn.Module):
    """A cell whose every edge is a mixed operation: the weighted sum of its candidates."""

    def __init__(
        self,
        channels_in: tuple[int, int],
        channels: int,
        candidates: EdgeCandidates,
        topology: Topology,
        *,
        reduction: bool,
        reduction_before: bool,
    ) -> None:
        super().__init__()
        self.topology = topology
        before_last = FactorizedReduce if reduction_before else relu_conv_bn
        self.preprocess0 = before_last(channels_in[0], channels, affine=False)
        self.preprocess1 = relu_conv_bn(channels_in[1], channels, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: search_operation(name, channels, stride(edge, reduction=reduction)) for name in names})
            for edge, names in zip(topology.edges, candidates, strict=True)
        )
        self.halves = [stride(edge, reduction=reduction) for edge in topology.edges]

    def forward(self, before_last: Tensor, last: Tensor, mixing: CellMixing) -> Tensor:
        """Map the outputs of the two cells before to [B, nodes * C, H', W']."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for node, incoming in self.topology.incoming.items():
            terms = [
                mixing.weights_EO[edge, choice] * operation(states[self.topology.edges[edge].source])
                for edge in incoming
                for choice, operation in self._active(edge, mixing)
            ]
            # A node without any active input (a dead node) still has its place among the states and in the output.
            states.append(sum(terms[1:], terms[0]) if terms else self._zeros(states[0], node))
        return torch.cat(states[2:], dim=1)

    def _active(self, edge: int, mixing: CellMixing) -> list[tuple[int, nn.Module]]:
        """List (position, module) of the candidates to compute; ``none`` adds nothing and is never computed."""
        operations = self.edges[edge]
        assert isinstance(operations, nn.ModuleDict)
        chosen = range(len(operations)) if mixing.active is None else mixing.active[edge]
        return [(i, op) for i, (name, op) in enumerate(operations.items()) if i in chosen and name != "none"]

    def _zeros(self, state: Tensor, node: int) -> Tensor:
        halve = self.halves[self.topology.incoming[node][0]]
        return torch.zeros_like(state[:, :, ::halve, ::halve])


class Supernet(nn.Module):
    """The weight-sharing network of the search: network weights inside, mixing weights outside."""

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.reductions = reduction_cells(spec.cells)
        width = STEM_MULTIPLIER * spec.channels
        self.stem = nn.Sequential(
            nn.Conv2d(spec.image_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.cells = nn.ModuleList()
        channels, widths = spec.channels, (width, width)
        for index in range(spec.cells):
            reduction = index in self.reductions
            channels *= 2 if reduction else 1
            self.cells.append(
                SupernetCell(
                    widths,
                    channels,
                    spec.candidates.cell("reduction" if reduction else "normal"),
                    spec.topology,
                    reduction=reduction,
                    reduction_before=index - 1 in self.reductions,
                )
            )
            widths = (widths[1], spec.topology.nodes * channels)
        self.classifier = nn.Linear(widths[1], spec.classes)

    def forward(self, images_BCHW: Tensor, mixing: Mixing) -> Tensor:
        """Return logits [B, K]; height and width of the images must be divisible by 4."""
        before_last = last = self.stem(images_BCHW)
        for index, cell in enumerate(self.cells):
            weights = mixing.cell("reduction" if index in self.reductions else "normal")
            before_last, last = last, cell(before_last, last, weights)
        logits_BK: Tensor = self.classifier(last.mean(dim=(2, 3)))
        return logits_BK

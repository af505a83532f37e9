"""The supernet of NAS-Bench-201 as its description says, in plain PyTorch: what ours has to equal.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``E`` edges, ``O`` operations, ``K`` classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


def conv(channels_in: int, channels: int, kernel: int, stride: int = 1, *, affine: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


class Nothing(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * 0


def candidates(channels: int, *, affine: bool) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "none": Nothing(),
            "skip_connect": nn.Identity(),
            "nor_conv_1x1": conv(channels, channels, 1, affine=affine),
            "nor_conv_3x3": conv(channels, channels, 3, affine=affine),
            "avg_pool_3x3": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        }
    )


class TwinCell(nn.Module):
    def __init__(self, channels: int, divisor: int, *, affine: bool) -> None:
        super().__init__()
        self.mixed, self.divisor = channels // divisor, divisor
        self.edges = nn.ModuleList(candidates(self.mixed, affine=affine) for _ in EDGES)

    def forward(self, x_BCHW: Tensor, weights_EO: Tensor, edges_E: Tensor, active: list[list[int]]) -> Tensor:
        states = [x_BCHW]
        for node in (1, 2, 3):
            total = torch.zeros_like(x_BCHW)
            for edge, (source, target) in enumerate(EDGES):
                if target == node and active[edge]:
                    total = total + edges_E[edge] * self.edge(edge, states[source], weights_EO[edge], active[edge])
            states.append(total)
        return states[3]

    def edge(self, edge: int, x_BCHW: Tensor, weights_O: Tensor, active: list[int]) -> Tensor:
        """Mix the first of so many parts of the channels, let the others pass, shuffle (PC-DARTS, section 3.1)."""
        seen_BCHW = x_BCHW[:, : self.mixed]
        operations = self.edges.get_submodule(str(edge))
        outputs = [weights_O[o] * operations.get_submodule(OPERATIONS[o])(seen_BCHW) for o in active]
        mixed_BCHW = torch.stack(outputs).sum(dim=0)
        together = torch.cat([mixed_BCHW, x_BCHW[:, self.mixed :]], dim=1)
        B, C, H, W = together.shape
        return together.view(B, self.divisor, C // self.divisor, H, W).transpose(1, 2).reshape(B, C, H, W)


class TwinBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = conv(channels_in, channels, 3, 2)
        self.second = conv(channels, channels, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels_in, channels, 1, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        through_BCHW: Tensor = self.second(self.first(x_BCHW))
        shortcut_BCHW: Tensor = self.shortcut(x_BCHW)
        return through_BCHW + shortcut_BCHW


class Twin(nn.Module):
    """Names as in ours, so that weights can be copied; one stage after the other."""

    def __init__(self, channels: int, cells: int, classes: int, divisor: int = 1, *, affine: bool = False) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels]
        self.stem = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))]
        )
        self.each = cells // 3
        self.cells = nn.ModuleList(
            TwinCell(width, divisor, affine=affine) for width in widths for _ in range(self.each)
        )
        self.blocks = nn.ModuleList([TwinBlock(widths[0], widths[1]), TwinBlock(widths[1], widths[2])])
        self.last = nn.Sequential(nn.BatchNorm2d(widths[2]), nn.ReLU())
        self.classifier = nn.Linear(widths[2], classes)

    def forward(
        self,
        images_BCHW: Tensor,
        weights_EO: Tensor,
        edges_E: Tensor | None = None,
        active: list[list[int]] | None = None,
    ) -> Tensor:
        edges_E = torch.ones_like(weights_EO[:, 0]) if edges_E is None else edges_E
        active = [list(range(len(OPERATIONS))) for _ in EDGES] if active is None else active
        x_BCHW = self.stem[0](images_BCHW)
        for third in range(3):
            if third:
                x_BCHW = self.blocks[third - 1](x_BCHW)
            for cell in self.cells[third * self.each : (third + 1) * self.each]:
                x_BCHW = cell(x_BCHW, weights_EO, edges_E, active)
        logits_BK: Tensor = self.classifier(self.last(x_BCHW).mean(dim=(2, 3)))
        return logits_BK

"""The supernet without sharing and stacking: every candidate of every edge is called as the module that it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
from torch import Tensor, nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.space import fan


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make supernets call every candidate of every edge as the module that it is, times its weight."""

    def edge_terms(
        x_BCHW: Tensor, edges: Sequence[nn.ModuleDict], places: Mapping[str, Sequence[fan.Place]], weights: fan.Scales
    ) -> Iterator[tuple[int, Tensor]]:
        for name, group in places.items():
            for edge, choice in group:
                yield edge, weights[edge][choice][0] * edges[edge][name](x_BCHW)

    monkeypatch.setattr("nascommon.space.supernet.edge_terms", edge_terms)
    monkeypatch.setattr("nascommon.space.supernet.runs_abreast", lambda _: False)
    monkeypatch.setattr(BatchNorm, "forward", nn.BatchNorm2d.forward)  # PyTorch's own

"""The space of NAS-Bench-201, in which every architecture has been trained: 15,625 cells of six edges.

Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
"""

from __future__ import annotations

from torch import nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.space.operations import OPERATIONS, Convolution, OperationBuilder, ReluFirst
from nascommon.space.topology import Topology

NAME = "nasbench201"
KIND = "cell"
OPERATION_ORDER = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of every edge; the digits of the benchmark's table are positions in it."""
TOPOLOGY = Topology(nodes=3, inputs=1, concat=(3,))
"""State 0 is the input, 3 the output; the edges are 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""


def _conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        conv = Convolution(channels, channels, kernel, stride, kernel // 2, bias=False)
        return ReluFirst(nn.ReLU(), conv, BatchNorm(channels, affine=affine))

    return build


OPERATIONS |= {"nor_conv_1x1": _conv(1), "nor_conv_3x3": _conv(3)}

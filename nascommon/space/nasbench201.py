"""The space of NAS-Bench-201, in which every architecture has been trained: 15,625 cells of six edges.

Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020. All cells keep
their size; between the thirds of a network stand residual blocks that halve the map and double the channels.
Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.runtime.dial import Dial
from nascommon.space.genotype import Genotype
from nascommon.space.kinds import PerKind
from nascommon.space.mixing import Mixing
from nascommon.space.network import Network, NetworkCell, NetworkSpec, retrain_operation
from nascommon.space.operations import (
    OPERATIONS,
    Convolution,
    OperationBuilder,
    ReluFirst,
    State,
    bare_operation,
    global_mean,
)
from nascommon.space.plan import Plans
from nascommon.space.precision import computing, widened
from nascommon.space.skeleton import Skeleton
from nascommon.space.space import CellSpace, Space, register
from nascommon.space.stem import build_stem, stem_outputs
from nascommon.space.supernet import Supernet, SupernetCell, SupernetSpec
from nascommon.space.topology import Topology

NAME = "nasbench201"
KIND = "cell"
OPERATION_ORDER = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of every edge; the digits of the benchmark's table are positions in it."""
TOPOLOGY = Topology(nodes=3, inputs=1, concat=(3,))
"""State 0 is the input, 3 the output; the edges are 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""
THIRDS = 3
"""A network has as many cells before, between and after its two residual blocks."""


def _conv(kernel: int) -> OperationBuilder:
    def build(channels: int, stride: int, affine: bool) -> nn.Module:
        return _relu_conv_bn(channels, channels, kernel, stride, affine=affine)

    return build


def _relu_conv_bn(channels_in: int, channels: int, kernel: int, stride: int, *, affine: bool = True) -> ReluFirst:
    conv = Convolution(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    return ReluFirst(nn.ReLU(), conv, BatchNorm(channels, affine=affine))


class ResidualBlock(nn.Module):
    """Halves height and width: two convolutions, beside them a pool and a projection; no ReLU after their sum."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = _relu_conv_bn(channels_in, channels, 3, 2)
        self.second = _relu_conv_bn(channels, channels, 3, 1)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels_in, channels, 1, bias=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, channels, H / 2, W / 2]."""
        through: Tensor = self.second(self.first(x_BCHW))
        return through + cast("Tensor", self.shortcut(x_BCHW))


class _Framed(nn.Module):
    """A stem, thirds of cells with residual blocks between them, and a head that begins with batch norm and ReLU."""

    stem: nn.ModuleList
    cells: nn.ModuleList
    blocks: nn.ModuleList
    last: nn.Sequential
    classifier: nn.Linear

    def _enclose(self, spec: SupernetSpec | NetworkSpec, cell: Callable[[int], nn.Module]) -> None:
        """Build all modules; ``cell`` makes one of so many channels.

        Raises:
            ValueError: there are no such networks of another depth or with another stem.
        """
        for misfit in SKELETON.misfits(spec.cells, spec.stem):
            raise ValueError(misfit)
        widths = [spec.channels * 2**third for third in range(THIRDS)]
        self.stem, _ = build_stem(spec.stem, spec.image_channels, spec.channels)
        self.cells = nn.ModuleList(cell(width) for width in widths for _ in range(spec.cells // THIRDS))
        self.blocks = nn.ModuleList(ResidualBlock(narrow, wide) for narrow, wide in pairwise(widths))
        self.last = nn.Sequential(BatchNorm(widths[-1]), nn.ReLU(inplace=True))  # batch norm keeps its input alone
        self.classifier = nn.Linear(widths[-1], spec.classes)

    def _logits(self, images_BCHW: Tensor, through: Callable[[nn.Module, State], Tensor]) -> Tensor:
        """Return logits [B, K]; ``through`` computes a cell, of [B, C, H, W]."""
        state, each = stem_outputs(self.stem, images_BCHW)[-1], len(self.cells) // THIRDS
        for index, cell in enumerate(self.cells):
            if index and index % each == 0:
                state = State(self.blocks[index // each - 1](state.x_BCHW))
            state = State(through(cell, state))
        logits_BK: Tensor = self.classifier(global_mean(self.last(state.x_BCHW)))
        return logits_BK


class NasBench201Supernet(_Framed, Supernet):
    """The weight-sharing network of the benchmark's searches: as stand-alone networks, with a mixed operation an edge.

    Deviation: batch norm of candidates has running statistics, measured anew before a part of the supernet is scored,
    where the benchmark's code scores with those of the batch.
    """

    def __init__(self, spec: SupernetSpec) -> None:
        nn.Module.__init__(self)
        self.spec, self.skip_dropout, self.plans = spec, 0.0, Plans()
        self.kinds = SKELETON.stack(spec.cells)
        cell = partial(
            SupernetCell,
            (),
            space=spec.space.cells.main,
            channel_divisor=spec.channel_divisor,
            affine=spec.affine,
            operation=bare_operation,
        )
        self._enclose(spec, cell)

    def forward(self, images_BCHW: Tensor, mixing: Mixing) -> Tensor:
        """Return logits [B, K]; the images must be divisible by 4."""
        with computing(images_BCHW, self.spec.precision):
            abreast = self._abreast(images_BCHW, mixing)
            logits_BK = self._logits(images_BCHW, lambda cell, state: cell([state], mixing.main, abreast))
        return widened(logits_BK, self.spec.precision)


class NasBench201Network(_Framed, Network):
    """A genotype as the benchmark trained it; there is no auxiliary head."""

    def __init__(
        self,
        genotype: Genotype,
        spec: NetworkSpec,
        operation: Callable[[str, int, int], nn.Module] = retrain_operation,
        *,
        affine: bool = True,
    ) -> None:
        """Build the network; another ``operation`` gives it the form of the supernet."""
        nn.Module.__init__(self)
        self.spec, self.dropping, self.auxiliary = spec, Dial(), None
        self._enclose(spec, partial(NetworkCell, genotype.main, (), operation=operation, affine=affine))

    def lay_together(self) -> None:
        """Leave everything where it is: nothing of it is computed in waves."""

    def forward_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits [B, K], and no others; the images must be divisible by 4."""
        with computing(images_BCHW, self.spec.precision):
            kept = self._kept(images_BCHW)
            logits_BK = self._logits(images_BCHW, lambda cell, state: cell([state], kept))
        return widened(logits_BK, self.spec.precision), None


def _kind(_index: int, _cells: int) -> str:
    return KIND


SKELETON = Skeleton(
    name=NAME,
    kinds=(KIND,),
    inputs=1,
    kind_of=_kind,
    halving=frozenset(),
    supernet=NasBench201Supernet,
    network=NasBench201Network,
    keeps_none=True,
    step=THIRDS,
    stems=("cifar",),
    auxiliary=False,
    channels=16,
    cells=15,
    operations=OPERATION_ORDER,
)
OPERATIONS |= {"nor_conv_1x1": _conv(1), "nor_conv_3x3": _conv(3)}
_CELL = CellSpace(TOPOLOGY, (OPERATION_ORDER,) * len(TOPOLOGY.edges), kept=TOPOLOGY.nodes, keeps_none=True)
register(Space(NAME, SKELETON, PerKind({KIND: _CELL}), frozenset({"candidates"})))

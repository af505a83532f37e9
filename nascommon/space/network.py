"""The stand-alone network of a genotype: what is retrained from scratch and put to use.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``K`` classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.runtime.dial import Dial
from nascommon.settings import UserError
from nascommon.space.abreast import runs_abreast
from nascommon.space.dropping import Kept, drawn_paths, draws_at_once, drop_path, kept_paths
from nascommon.space.fan import apply_stacked, stacks
from nascommon.space.genotype import CellGenotype, Choice, Genotype
from nascommon.space.narrowing import narrow_weights
from nascommon.space.operations import OPERATIONS, ReluFirst, State, apply, brought, global_mean, preprocess
from nascommon.space.precision import Precision, computed_in, computing, widened
from nascommon.space.skeleton import SKELETONS, Skeleton
from nascommon.space.stem import STEM_MULTIPLIER, Stem, build_stem, stem_outputs
from nascommon.space.topology import stride
from nascommon.space.waves import CellWaves, NetworkPlan, Waves

STEM_STRIDE: dict[Stem, int] = {"cifar": 1, "imagenet": 8}
"""Factor by which height and width shrink from the image to the first cell."""
TOTAL_STRIDE: dict[Stem, int] = {stem: 4 * stride for stem, stride in STEM_STRIDE.items()}
"""Factor by which they shrink to the last cell where two cells halve, as in the networks of the papers."""
AUXILIARY_MAP: dict[Stem, int] = {"cifar": 8, "imagenet": 7}
"""Side of the feature map that the published auxiliary heads are made for (images of 32 and of 224 pixels)."""


@dataclass(frozen=True)
class NetworkSpec:
    """The size of a stand-alone network; the defaults are those of the papers on CIFAR-10."""

    channels: int = 36
    cells: int = 20
    classes: int = 10
    stem: Stem = "cifar"
    image_channels: int = 3
    auxiliary: bool = True
    auxiliary_second_norm: bool = True
    """False: quark0/darts' ImageNet head, which has no batch norm after its second convolution."""
    precision: Precision = "float32"

    @property
    def auxiliary_cell(self) -> int:
        """Position of the cell whose output the auxiliary head sees."""
        return 2 * self.cells // 3

    def auxiliary_stride(self, skeleton: Skeleton) -> int:
        """Return by how much height and width shrink from the image to the map that the auxiliary head sees."""
        halvings = sum(at <= self.auxiliary_cell for at in skeleton.halvings(self.cells))
        return STEM_STRIDE[self.stem] << halvings


def retrain_operation(name: str, channels: int, stride: int) -> nn.Module:
    """Build an operation for retraining: affine batch norm, none after pools (docs/methods.md, section 2.2)."""
    return OPERATIONS[name](channels, stride, True)


class NetworkCell(nn.Module):
    """A discrete cell: each node sums the chosen operations on its chosen inputs."""

    def __init__(
        self,
        genotype: CellGenotype,
        channels_in: tuple[int, ...],
        channels: int,
        *,
        halving: bool = False,
        halved_before: bool = False,
        operation: Callable[[str, int, int], nn.Module],
        affine: bool,
    ) -> None:
        """Build a cell whose inputs have ``channels_in`` channels; none are named where they have the cell's width."""
        super().__init__()
        self.genotype = genotype
        inputs = genotype.inputs
        self.stride = stride(0, inputs, halving=halving)
        self.preprocesses = preprocess(self, channels_in, channels, halved_before=halved_before, affine=affine)
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                operation(name, channels, stride(source, inputs, halving=halving)) for name, source in choices
            )
            for choices in genotype.nodes
        )
        self.alike: dict[Choice, list[ReluFirst]] = {}
        """The operations with weights, those together that are the same on the same state."""
        for choices, operations in zip(genotype.nodes, self.nodes, strict=True):
            for choice, made in zip(choices, operations.children(), strict=True):
                if isinstance(made, ReluFirst):
                    self.alike.setdefault(choice, []).append(made)

    def forward(self, inputs: Sequence[State], kept: Kept) -> Tensor:
        """Map the outputs of the cells before to [B, concatenated nodes * C, H', W'].

        Args:
            inputs: these outputs.
            kept: drops the output of an operation or not: any except a true identity, as in the released code
                (docs/methods.md, 2.3).
        """
        entering = brought(self, self.preprocesses, inputs)
        states = {index: State(x_BCHW) for index, x_BCHW in enumerate(entering)}
        computed: dict[Choice, Iterator[Tensor]] = {}
        for (state, choices), operations in zip(self.genotype.by_state, self.nodes, strict=True):
            terms = []
            for choice, operation in zip(choices, operations.children(), strict=True):
                if self._as_one(choice, states[choice.source].x_BCHW):
                    if choice not in computed:
                        computed[choice] = iter(apply_stacked(self.alike[choice], states[choice.source]))
                    out = next(computed[choice])
                else:
                    out = apply(operation, states[choice.source])
                terms.append(out if isinstance(operation, nn.Identity) else kept(out))
            states[state] = State(sum(terms[1:], terms[0]) if terms else self._zeros(entering[0]))
        return torch.cat([states[state].x_BCHW for state in self.genotype.concat], dim=1)

    def _as_one(self, choice: Choice, state_BCHW: Tensor) -> bool:
        return self.training and len(self.alike.get(choice, ())) > 1 and stacks(state_BCHW)

    def _zeros(self, state_BCHW: Tensor) -> Tensor:
        """Return the output of a dead node."""
        return torch.zeros_like(state_BCHW[:, :, :: self.stride, :: self.stride])

    @property
    def paths(self) -> int:
        """Number of operations."""
        return sum(len(operations) for operations in cast("Sequence[nn.ModuleList]", self.nodes))


class AuxiliaryHead(nn.Module):
    """A second classifier two thirds up the network, used in training only."""

    def __init__(self, channels: int, classes: int, stem: Stem, *, second_norm: bool) -> None:
        super().__init__()
        self.map_side = AUXILIARY_MAP[stem]
        self.pool = nn.AvgPool2d(5, stride=3 if stem == "cifar" else 2, count_include_pad=False)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            BatchNorm(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, 768, 2, bias=False),
            BatchNorm(768) if second_norm else nn.Identity(),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, rectified_BCHW: Tensor) -> Tensor:
        """Return logits [B, K] of the ReLU of a cell's output.

        A map of another size than the published one is pooled adaptively to the same 2 x 2.
        """
        published = rectified_BCHW.shape[2:] == (self.map_side, self.map_side)
        pooled_BC22 = self.pool(rectified_BCHW) if published else functional.adaptive_avg_pool2d(rectified_BCHW, 2)
        logits_BK: Tensor = self.classifier(self.features(pooled_BC22).flatten(1))
        return logits_BK


class Network(nn.Module):
    """A genotype stacked to a network with the CIFAR or the ImageNet stem (docs/methods.md, section 2.3)."""

    def __init__(
        self,
        genotype: Genotype,
        spec: NetworkSpec,
        operation: Callable[[str, int, int], nn.Module] = retrain_operation,
        *,
        affine: bool = True,
    ) -> None:
        """Build the network; ``operation`` and ``affine`` other than the defaults give it the form of the supernet."""
        super().__init__()
        self.spec = spec
        self.dropping = Dial()
        self._plans: dict[torch.device, NetworkPlan] = {}
        skeleton = SKELETONS[genotype.skeleton]
        self.reductions, self.inputs = skeleton.halvings(spec.cells), skeleton.inputs
        width = spec.channels * (STEM_MULTIPLIER if spec.stem == "cifar" else 1)
        self.stem, widths = build_stem(spec.stem, spec.image_channels, width)
        self.cells = nn.ModuleList()
        self.auxiliary: AuxiliaryHead | None = None
        channels = spec.channels
        for index, kind in enumerate(skeleton.stack(spec.cells)):
            halving, cell = index in self.reductions, genotype[kind]
            channels *= 2 if halving else 1
            # The ImageNet stem halves once more between its two outputs, as if a reduction cell stood before cell 0.
            halved_before = index - 1 in self.reductions or (index == 0 and spec.stem == "imagenet")
            self.cells.append(
                NetworkCell(
                    cell,
                    widths[-skeleton.inputs :],
                    channels,
                    halving=halving,
                    halved_before=halved_before,
                    operation=operation,
                    affine=affine,
                )
            )
            widths = (widths[-1], len(cell.concat) * channels)
            if spec.auxiliary and index == spec.auxiliary_cell:
                self.auxiliary = AuxiliaryHead(
                    widths[-1], spec.classes, spec.stem, second_norm=spec.auxiliary_second_norm
                )
        self.classifier = nn.Linear(widths[-1], spec.classes)

    @property
    def drop_probability(self) -> float:
        """Probability that a path is dropped, in training mode; the training loop raises it epoch by epoch."""
        return self.dropping.value

    @drop_probability.setter
    def drop_probability(self, probability: float) -> None:
        self.dropping.value = probability

    def _kept(self, images_BCHW: Tensor) -> Kept:
        """Return what drops the paths of a forward pass."""
        probability = self.dropping.value
        if not self.training or probability == 0:
            return lambda out: out
        if not draws_at_once(images_BCHW):
            return lambda out: drop_path(out, probability)
        factors = kept_paths(*self._paths(images_BCHW))
        return lambda out: out * next(factors)

    def _paths(self, images_BCHW: Tensor) -> tuple[Tensor, float | Tensor, int]:
        """Return what drawing the factors of all paths asks for: what they are like, the probability, and how many."""
        maps_B = images_BCHW.new_empty(len(images_BCHW), dtype=computed_in(images_BCHW, self.spec.precision))
        paths = sum(cell.paths for cell in cast("Iterator[NetworkCell]", self.cells))
        return maps_B, self.dropping.on(maps_B.device), paths

    def _plan(self, device: torch.device) -> NetworkPlan:
        """Return how cells are computed in waves; a step that is recorded goes on reading what it has read."""
        if device not in self._plans:
            drops, cells = itertools.count(), cast("Sequence[NetworkCell]", self.cells)
            waves = [CellWaves(cell.genotype, [[*node.children()] for node in cell.nodes], drops) for cell in cells]
            self._plans[device] = NetworkPlan(waves, device)
        return self._plans[device]

    def lay_together(self) -> None:
        """Let parameters and running statistics lie in memory as waves read and move them, where there are any.

        An optimiser made afterwards takes what lies together for one weight. Nothing else changes.
        """
        weight = self.classifier.weight
        if runs_abreast(weight):
            self._plan(weight.device).lay_together()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits [B, K]; height and width of the images must be divisible by ``TOTAL_STRIDE``."""
        return self.forward_auxiliary(images_BCHW)[0]

    def forward_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits [B, K] of the classifier and, in training mode with an auxiliary head, of that head."""
        precision, auxiliary_BK = self.spec.precision, None
        plan = self._plan(images_BCHW.device) if self.training and runs_abreast(images_BCHW) else None
        gathered = {id(layer) for half in plan.halves for layer in half} if plan else set()
        narrowed = (module for module in self.modules() if id(module) not in gathered)
        with computing(images_BCHW, precision), narrow_weights(narrowed, images_BCHW, precision):
            states, through = stem_outputs(self.stem, images_BCHW), self._through(images_BCHW, plan)
            for index in range(len(self.cells)):
                states = (states[-1], State(through(index, states[-self.inputs :])))
                if self.auxiliary is not None and self.training and index == self.spec.auxiliary_cell:
                    auxiliary_BK = widened(self.auxiliary(states[-1].rectified), precision)
            logits_BK: Tensor = self.classifier(global_mean(states[-1].x_BCHW))
        return widened(logits_BK, precision), auxiliary_BK

    def _through(self, images_BCHW: Tensor, plan: NetworkPlan | None) -> Callable[[int, Sequence[State]], Tensor]:
        """Return what computes a cell, one after the other."""
        cells = cast("Sequence[NetworkCell]", self.cells)
        if plan is None:
            kept = self._kept(images_BCHW)
            return lambda index, inputs: cells[index](inputs, kept)
        factors = drawn_paths(*self._paths(images_BCHW)) if self.dropping.value > 0 else None
        waves = Waves(plan, computed_in(images_BCHW, self.spec.precision), factors)

        def through(index: int, inputs: Sequence[State]) -> Tensor:
            entering = brought(cells[index], cells[index].preprocesses, inputs)
            return waves.cell(index, entering, cells[index].stride)

        return through


def build_network(genotype: Genotype, spec: NetworkSpec) -> Network:
    """Return the network of a genotype with fresh weights, as its skeleton builds it."""
    return SKELETONS[genotype.skeleton].network(genotype, spec)


def check_image_size(height: int, width: int, stem: Stem, origin: str) -> None:
    """Refuse images that cannot be halved as often as the network halves them.

    Raises:
        UserError: naming ``origin`` (the settings key), height x width got and what is allowed.
    """
    if height % TOTAL_STRIDE[stem] or width % TOTAL_STRIDE[stem]:
        raise UserError(
            f"{origin}: images of {height} x {width} do not fit the {stem} stem, which needs a multiple of "
            f"{TOTAL_STRIDE[stem]} pixels; set the size of the images accordingly"
        )

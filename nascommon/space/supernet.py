"""The supernet holds every candidate of every edge and mixes their outputs by weights given with each call.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``E`` edges, ``O`` operations, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nascommon.kernels.batch_norm import BatchNorm
from nascommon.kernels.nodes import Nodes
from nascommon.space.abreast import Abreast, Gathered, runs_abreast, stacked
from nascommon.space.fan import Place, edge_terms, scales
from nascommon.space.leaving import Leaving, Width
from nascommon.space.mixing import CellMixing, Mixing, equal_mixing
from nascommon.space.narrowing import narrow_weights
from nascommon.space.operations import SkipDropout, State, brought, global_mean, preprocess, search_operation
from nascommon.space.plan import CellPlan, Plan, Plans
from nascommon.space.precision import Precision, computed_in, computing, widened
from nascommon.space.space import CellSpace, Space
from nascommon.space.stem import STEM_MULTIPLIER, Stem, build_stem, stem_outputs
from nascommon.space.topology import stride


@dataclass(frozen=True)
class SupernetSpec:
    """The size of a supernet and what its edges may be."""

    channels: int
    cells: int
    classes: int
    space: Space
    image_channels: int = 3
    channel_divisor: int = 1
    """The first of so many parts of the channels goes through the candidates, the others bypass them (PC-DARTS)."""
    stem: Stem = "cifar"
    precision: Precision = "float32"
    affine: bool = False
    """Whether the batch norms of candidates have a scale and a shift of their own."""

    def build(self) -> Supernet:
        """Return a supernet of this size with fresh weights."""
        return self.space.skeleton.supernet(self)


Terms = Callable[[int, Tensor], Iterator[tuple[int, Tensor]]]
"""(state, its channels [B, C, H, W]) -> (edge, part of its mixed operation) of the edges that leave it."""


def interleaved(parts: Sequence[Tensor]) -> Tensor:
    """Interleave the channels of equal parts [B, C, H, W] to [B, parts * C, H, W].

    So the next cell's candidates see other channels (ShuffleNet; PC-DARTS, section 3.1).
    """
    pixels_BHWC = [part_BCHW.permute(0, 2, 3, 1) for part_BCHW in parts]  # so that the layout stays channels-last
    return torch.stack(pixels_BHWC, dim=-1).flatten(3).permute(0, 3, 1, 2)


def weights_of(module: nn.Module, mixing: CellMixing) -> Tensor:
    """Return the mixing weights of a cell [E, O] in the type of batch norm, whatever the precision of convolutions.

    Their weights may be narrow (``narrow_weights``). Pools without batch norm and skips have no statistics.
    """
    return mixing.products().to(next(module.buffers(), mixing.weights_EO).dtype)


class SupernetCell(nn.Module):
    """A cell whose every edge is a mixed operation: the weighted sum of its candidates."""

    def __init__(
        self,
        channels_in: tuple[int, ...],
        channels: int,
        space: CellSpace,
        *,
        halving: bool = False,
        halved_before: bool = False,
        channel_divisor: int = 1,
        affine: bool = False,
        operation: Callable[[str, int, int, bool], nn.Module] = search_operation,
    ) -> None:
        """Build a cell whose inputs have ``channels_in`` channels; none are named where they have the cell's width."""
        super().__init__()
        if channels % channel_divisor:
            raise ValueError(f"{channels} channels cannot be divided into {channel_divisor} equal parts")
        self.topology = topology = space.topology
        self.divisor = channel_divisor
        self.mixed = channels // channel_divisor
        self.preprocesses = preprocess(self, channels_in, channels, halved_before=halved_before, affine=affine)
        self.strides = [stride(edge.source, topology.inputs, halving=halving) for edge in topology.edges]
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: operation(name, self.mixed, step, affine) for name in names})
            for step, names in zip(self.strides, space.candidates, strict=True)
        )
        self.candidates = space.candidates

    def forward(self, inputs: Sequence[State], mixing: CellMixing, abreast: Abreast | None = None) -> Tensor:
        """Map the outputs of the cells before to [B, concatenated nodes * C, H', W'].

        Args:
            inputs: of the cell.
            mixing: of its kind.
            abreast: the pass of all cells, this one being the next; None computes kind by kind.
        """
        states = brought(self, self.preprocesses, inputs)
        if abreast is not None:
            return self._abreast(states, abreast)
        bypasses: list[Tensor] = []
        terms, sums = self._kind_by_kind(mixing, bypasses), dict[int, Tensor]()
        for source in self.topology.leaving:
            if source >= self.topology.inputs:
                states.append(self._node(source, sums, states, bypasses, mixing))
            for edge, term in terms(source, states[source]):
                node = self.topology.edges[edge].node
                sums[node] = sums[node] + term if node in sums else term
        states.append(self._node(len(states), sums, states, bypasses, mixing))
        return torch.cat([states[state] for state in self.topology.outputs], dim=1)

    def drops(self) -> tuple[bool, ...]:
        """Return which of its skips drop elements."""
        choices = [each for edge in cast("Sequence[nn.ModuleDict]", self.edges) for each in edge.values()]
        return tuple(each.p > 0 for each in choices if isinstance(each, nn.Dropout))

    def plan(self, mixing: CellMixing) -> CellPlan:
        """Sort the candidates that are there."""
        width, edges = Width(self.mixed, self.divisor), cast("Sequence[nn.ModuleDict]", self.edges)
        leaving: dict[int, Leaving] = {}
        for source, outgoing in self.topology.leaving.items():
            places = self._places(source, mixing)
            there = [edge for edge in outgoing if mixing.active is None or mixing.active[edge]]
            bypassed = there if self.divisor > 1 else []
            if places or bypassed:
                halves = self.strides[outgoing[0]] > 1
                leaving[source] = Leaving(places, edges, outgoing, bypassed, width, halves=halves)
        entered = [edge.node - self.topology.inputs for edge in self.topology.edges]
        shape, topology = mixing.weights_EO.shape, self.topology
        return CellPlan(leaving, width, shape, topology.nodes, entered, topology.inputs)

    def _abreast(self, inputs: Sequence[Tensor], abreast: Abreast) -> Tensor:
        """Compute candidates, bypasses and shuffle of a state or of several all at once, and add them to all nodes."""
        topology, (x_BXHW, *_) = self.topology, inputs
        rows, columns = (-(-side // self.strides[0]) for side in x_BXHW.shape[2:])
        nodes = Nodes(topology.nodes, self.mixed * self.divisor, (len(x_BXHW), rows, columns), x_BXHW)
        for alike in abreast.begin(nodes):
            node = min(alike) - topology.inputs
            if node < 0:
                abreast.enter(nodes, alike, stacked([inputs[state] for state in alike]))
            else:
                nodes.put_back(node, abreast.enter(nodes, alike, nodes.take(node)))
        abreast.end()
        return nodes.beside([state - topology.inputs for state in topology.outputs])

    def _kind_by_kind(self, mixing: CellMixing, bypasses: list[Tensor]) -> Terms:
        """Return what computes a state's candidates kind by kind, and lists what bypasses them."""
        edges, weights = cast("Sequence[nn.ModuleDict]", self.edges), scales(weights_of(self, mixing), self.mixed)

        def terms(source: int, x_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            if self.divisor > 1:
                x_BCHW, bypass_BCHW = self._divided(x_BCHW, source)
                bypasses.append(bypass_BCHW)
            return edge_terms(x_BCHW, edges, self._places(source, mixing), weights)

        return terms

    def _places(self, source: int, mixing: CellMixing) -> dict[str, list[Place]]:
        """List by name where the candidates on the edges of a state are to be computed; ``none`` never is."""
        places: dict[str, list[Place]] = {}
        for edge in self.topology.leaving[source]:
            for choice, name in enumerate(self.candidates[edge]):
                if name != "none" and (mixing.active is None or choice in mixing.active[edge]):
                    places.setdefault(name, []).append((edge, choice))
        return places

    def _divided(self, x_BCHW: Tensor, source: int) -> tuple[Tensor, Tensor]:
        """Return the channels of a state that its candidates see, and the others as all its edges pass them by."""
        mixed_BCHW, bypass_BCHW = torch.split(x_BCHW, [self.mixed, x_BCHW.shape[1] - self.mixed], dim=1)
        if self.strides[self.topology.leaving[source][0]] > 1:
            bypass_BCHW = functional.max_pool2d(bypass_BCHW, 2, 2)
        return mixed_BCHW.contiguous(memory_format=torch.channels_last), bypass_BCHW

    def _node(
        self,
        node: int,
        sums: dict[int, Tensor],
        states: list[Tensor],
        bypasses: list[Tensor],
        mixing: CellMixing,
    ) -> Tensor:
        """Finish a node when all its edges are in."""
        incoming = self.topology.incoming[node]
        if self.divisor == 1:
            # A node without any active input (a dead node) still has its place among the states and in the output.
            return sums.pop(node) if node in sums else self._zeros(states[0], incoming)
        total = sums.pop(node) if node in sums else self._zeros(states[0][:, : self.mixed], incoming)
        return self._with_bypass(total, bypasses, incoming, mixing)

    def _with_bypass(self, node: Tensor, bypasses: list[Tensor], incoming: range, mixing: CellMixing) -> Tensor:
        """Put what bypasses the candidates beside what they gave, and shuffle.

        The shuffle is linear, so doing it once per node equals the released code, which does it on every edge.
        """
        there = [edge for edge in incoming if mixing.active is None or mixing.active[edge]]
        terms = [bypasses[self.topology.edges[edge].source] for edge in there]
        if mixing.edges_E is not None:
            terms = [mixing.edges_E[edge] * term for edge, term in zip(there, terms, strict=True)]
        rest = node.shape[1] * (self.divisor - 1)
        bypass = _sum(terms) if terms else node.new_zeros(node.shape[0], rest, *node.shape[2:])
        return interleaved([node, *bypass.chunk(self.divisor - 1, dim=1)])

    def _zeros(self, state: Tensor, incoming: range) -> Tensor:
        step = self.strides[incoming[0]]
        return torch.zeros_like(state[:, :, ::step, ::step])


def _sum(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])


class Supernet(nn.Module):
    """The weight-sharing network of the search: network weights inside, mixing weights outside."""

    _still: dict[Hashable, tuple[Gathered, Mixing]] | None = None

    def __init__(self, spec: SupernetSpec) -> None:
        super().__init__()
        self.spec, self.skip_dropout, self.plans = spec, 0.0, Plans()
        skeleton = spec.space.skeleton
        self.kinds, self.reductions = skeleton.stack(spec.cells), skeleton.halvings(spec.cells)
        self.stem, widths = build_stem(spec.stem, spec.image_channels, STEM_MULTIPLIER * spec.channels)
        self.cells = nn.ModuleList()
        channels = spec.channels
        for index, kind in enumerate(self.kinds):
            halving, cell = index in self.reductions, spec.space.cells[kind]
            channels *= 2 if halving else 1
            self.cells.append(
                SupernetCell(
                    widths[-skeleton.inputs :],
                    channels,
                    cell,
                    halving=halving,
                    # The ImageNet stem halves once more between its two outputs, like a reduction cell.
                    halved_before=index - 1 in self.reductions or (index == 0 and spec.stem == "imagenet"),
                    channel_divisor=spec.channel_divisor,
                    affine=spec.affine,
                )
            )
            widths = (widths[-1], len(cell.topology.outputs) * channels)
        self.classifier = nn.Linear(widths[-1], spec.classes)

    def forward(self, images_BCHW: Tensor, mixing: Mixing) -> Tensor:
        """Return logits [B, K]; the images must be divisible by 4, with the ImageNet stem by 32."""
        precision = self.spec.precision
        with computing(images_BCHW, precision), narrow_weights(self._outside_edges(), images_BCHW, precision):
            states, inputs = stem_outputs(self.stem, images_BCHW), self.spec.space.skeleton.inputs
            abreast = self._abreast(images_BCHW, mixing)
            for kind, cell in zip(self.kinds, self.cells, strict=True):
                states = (states[-1], State(cell(states[-inputs:], mixing[kind], abreast)))
            logits_BK: Tensor = self.classifier(global_mean(states[-1].x_BCHW))
        return widened(logits_BK, precision)

    def _abreast(self, images_BCHW: Tensor, mixing: Mixing) -> Abreast | None:
        """Begin a pass of all cells; None where they are computed kind by kind."""
        whole = all(cell.active is None for cell in mixing.values())
        # A plan of a few candidates takes longer than computing these kind by kind, unless a gradient is wanted, too.
        if not runs_abreast(images_BCHW) or not (self.training or whole):
            return None
        if self._still is None:
            return Abreast(self._gathered(images_BCHW, mixing))
        key = id(mixing), self._measures(), images_BCHW.dtype, images_BCHW.device
        if key not in self._still:
            self._still.clear()
            self._still[key] = self._gathered(images_BCHW, mixing), mixing
        return Abreast(self._still[key][0])

    def _gathered(self, images_BCHW: Tensor, mixing: Mixing) -> Gathered:
        """Gather the weights of all cells."""
        products = {kind: weights_of(self, mixing[kind]) for kind in dict.fromkeys(self.kinds)}
        weights, edges = [products[kind] for kind in self.kinds], [mixing[kind].edges_E for kind in self.kinds]
        dtype = computed_in(images_BCHW, self.spec.precision)
        return Gathered(self._plan(mixing, images_BCHW.device), weights, edges, dtype, measured=self._measures())

    def _plan(self, mixing: Mixing, device: torch.device) -> Plan:
        """Return how the cells are computed abreast."""
        cells = [*zip(cast("Sequence[SupernetCell]", self.cells), (mixing[kind] for kind in self.kinds), strict=True)]
        key = tuple((given.active, given.weights_EO.shape, cell.drops()) for cell, given in cells)
        whole = all(given.active is None for _, given in cells)
        return self.plans((key, device), lambda: Plan([cell.plan(given) for cell, given in cells], device), whole=whole)

    def lay_together(self) -> None:
        """Let weights and running statistics lie in memory as passes abreast read and move them, where there are any.

        An optimiser made afterwards takes what lies together for one weight. Nothing else changes.
        """
        weight = self.classifier.weight
        if runs_abreast(weight):
            self._plan(equal_mixing(self.spec.space), weight.device).lay_together()

    def _measures(self) -> bool:
        """Return whether batch norms take the statistics of the batch, also where all else is as in evaluation."""
        return next((layer.training for layer in self.modules() if isinstance(layer, BatchNorm)), self.training)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Gather weights, and running statistics that are used, once for all passes until it ends.

        Nobody may change them meanwhile, nor mixing weights that are given.
        """
        before, self._still = self._still, {}
        try:
            yield
        finally:
            self._still = before

    def _outside_edges(self) -> Iterator[nn.Module]:
        """Yield the modules whose weights are not those of candidates, which are gathered by themselves."""
        yield from self.stem.modules()
        yield self.classifier
        for cell in cast("Iterator[SupernetCell]", self.cells):
            for name in cell.preprocesses:
                yield from getattr(cell, name).modules()

    def set_skip_dropout(self, probability: float) -> None:
        """Drop elements after every identity with ``probability`` in training mode (P-DARTS, section 3.3)."""
        self.skip_dropout = probability
        for module in self.modules():
            if isinstance(module, SkipDropout):
                module.turn(probability)

"""Cases of a comparison: every way to take a search step or a training step, or to load an epoch of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

import nascommon.methods  # noqa: F401 -- fills the registry
from benchmarks import images, plain, released
from benchmarks.plain import Forward, Halves, fused_twin_forward, supernet_forward, twin_forward
from benchmarks.released import Released
from benchmarks.timing import Step
from nascommon.data.batch import Batch
from nascommon.method import REGISTRY, ArchGradient, Method, SearchSize
from nascommon.parts.choices import Unrolled
from nascommon.runtime.hardware import resolve_precision
from nascommon.runtime.replay import replayed
from nascommon.search.passes import architecture_step, weight_step
from nascommon.search.state import SearchState, new_state, supernet_spec
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.precision import Precision
from nascommon.space.published import PUBLISHED
from nascommon.space.space import find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.training.loop import fresh_optimiser, train_step
from nascommon.training.settings import TrainingSettings

UNROLLED = "darts-unrolled"
LEARNING = [name for name in REGISTRY if name not in ("random", "custom")]
"""Methods that take architecture steps, each under one name."""
Ways = dict[str, Callable[[], Step]]
"""Ways to do the same by name, the baseline first."""
GENOTYPE = "DARTS_V2"
DROP_PATH = 0.1
"""0.2 at the end of the papers' training, so this half-way."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of networks and batches; the defaults are the papers'."""

    channels: int
    cells: int
    retrain_channels: int
    retrain_cells: int
    side: int
    pictures: int
    nodes: int | None = None


@dataclass(frozen=True)
class Search:
    """Data and method of a bilevel step."""

    method: Method
    data: Halves
    device: torch.device
    nodes: int | None = None

    def state(self, layout: torch.memory_format | None = None, precision: Precision = "float32") -> SearchState:
        """Return a fresh state in training mode, the weights in ``layout`` or as the library has them."""
        method, phase = self.method, self.method.phases[0]
        space = method.searched(find_space("darts", self.nodes))
        base = SupernetSpec(phase.channels, phase.cells, images.CLASSES, space, precision=precision)
        state = new_state(method, supernet_spec(phase, space, base, method), seed=0, phase=0, device=self.device)
        if layout is not None:
            state.supernet.to(memory_format=layout)
        state.supernet.train()
        return state


def plain_way(search: Search, forward: Callable[[], Forward], layout: torch.memory_format) -> Step:
    """Differentiate everything in a step of nothing but PyTorch."""
    return plain.search_step(search.state(layout), search.data, forward())


def library_way(
    search: Search, layout: torch.memory_format | None = None, precision: Precision = "float32", *, replay: bool = False
) -> Step:
    """Take the steps of the library, by default in its own layout."""
    state, data = search.state(layout, precision), search.data
    step = bilevel(state)
    repeat = replayed(step, search.device, lambda: not state.varies) if replay else step
    return lambda: repeat(data.train, data.valid)


def bilevel(state: SearchState) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return the step of an epoch: both steps, or where no architecture is learned the second alone.

    It takes a batch of the weight half and one of the architecture half, and returns loss and number of correct
    answers.
    """

    def step(train: Batch, valid: Batch) -> tuple[Tensor, Tensor]:
        if state.method.arch_gradient is not None:
            architecture_step(state, train, valid)
        return weight_step(state, train)

    return step


def shipped_way(search: Search) -> Step:
    """Take the steps as the search stage does on that device."""
    return library_way(search, precision=resolve_precision("auto", search.device), replay=True)


NCHW, NHWC = torch.contiguous_format, torch.channels_last
PLAIN_NETWORK = "network in NCHW"
TWIN, SHIPPED, REPLAYED = "plain twin", "as shipped", "replayed as a CUDA graph"
RUNGS: dict[str, Callable[[Search], Step]] = {
    "batch norm in one kernel": partial(plain_way, forward=fused_twin_forward, layout=NCHW),
    "supernet in NCHW": partial(plain_way, forward=supernet_forward, layout=NCHW),
    "gradients only where used": partial(library_way, layout=NCHW),
    "channels last": partial(library_way, layout=NHWC),
    REPLAYED: partial(library_way, replay=True),
    SHIPPED: shipped_way,
}
"""The ladder from the baseline to ours, a line a rung; ``REPLAYED`` differs from the one before on a GPU only."""


def method_record(name: str, sizes: Sizes) -> Method:
    """Return the method with its paper's settings on a supernet of the given size."""
    unrolled = name == UNROLLED
    entry = REGISTRY["darts" if unrolled else name]
    method = entry.recipe(entry.settings(), SearchSize(sizes.channels, sizes.cells, find_space("darts", sizes.nodes)))
    return replace(method, arch_gradient=ArchGradient(Unrolled())) if unrolled else method


def baseline_way(name: str, authors: Released | None) -> tuple[str, Callable[[Search], Step]]:
    """Return the authors' step where the checkout is of that method, else the plain twin's."""
    if authors is not None and authors.kind == name.removesuffix("-unrolled"):
        return authors.name, lambda search: released.search_step(authors, search.method, search.data, search.device)
    return TWIN, partial(plain_way, forward=twin_forward, layout=NCHW)


def search_ways(name: str, search: Search, authors: Released | None, rungs: Sequence[str] = (SHIPPED,)) -> Ways:
    """Return the baseline and the named rungs."""
    baseline, way = baseline_way(name, authors)
    return {baseline: partial(way, search), **{rung: partial(RUNGS[rung], search) for rung in rungs}}


def training_way(sizes: Sizes, batch: Batch, precision: Precision, *, replay: bool = False) -> Step:
    """Take training steps of the stand-alone network as the library does."""
    spec = replace(network_spec(sizes), precision=precision)
    return network_way(spec, TrainingSettings(drop_path=DROP_PATH), batch, replay=replay)


def network_way(spec: NetworkSpec, settings: TrainingSettings, batch: Batch, *, replay: bool = False) -> Step:
    """Take training steps of a stand-alone network of any size as the library does."""
    device = batch.images.device
    network, optimiser = new_network(spec, settings, device, NHWC)
    step = partial(train_step, network, optimiser, settings)
    repeat = replayed(step, device) if replay else step
    return lambda: repeat(batch)


def network_spec(sizes: Sizes) -> NetworkSpec:
    """Return the size of the stand-alone network on CIFAR-10."""
    return NetworkSpec(sizes.retrain_channels, sizes.retrain_cells, images.CLASSES)


def new_network(
    spec: NetworkSpec, settings: TrainingSettings, device: torch.device, layout: torch.memory_format
) -> tuple[Network, torch.optim.SGD]:
    """Return a network in training mode, its drop-path as ``settings`` say, and its optimiser."""
    made = Network(PUBLISHED[GENOTYPE], spec).to(device=device, memory_format=layout).train()  # type: ignore[call-overload]
    made.drop_probability = settings.drop_path
    return made, fresh_optimiser(made, settings)


def retrain_ways(sizes: Sizes, batch: Batch, authors: Released | None) -> Ways:
    """Return a training step of the stand-alone network, ours beside theirs or beside plain PyTorch's."""
    settings, device = TrainingSettings(drop_path=DROP_PATH), batch.images.device
    ours = partial(training_way, sizes, batch, resolve_precision("auto", device), replay=True)
    if authors is None:
        plainly = partial(plain.retrain_step, batch=batch, settings=settings)
        return {PLAIN_NETWORK: lambda: plainly(*new_network(network_spec(sizes), settings, device, NCHW)), "ours": ours}
    channels, cells = sizes.retrain_channels, sizes.retrain_cells
    theirs = partial(released.retrain_step, authors, channels, cells, batch, settings, DROP_PATH)
    return {authors.name: theirs, "ours": ours}


def data_ways(sizes: Sizes, batch: int, device: torch.device, authors: Released | None) -> Ways:
    """Return an epoch of training batches, ours beside torchvision's loader."""
    part, cutout = images.random_part(sizes.pictures, sizes.side), TrainingSettings().cutout
    transform = images.papers_transform(cutout, sizes.side) if authors is None else released.transform(authors, cutout)
    name = "torchvision DataLoader" + ("" if authors is None else f", transforms of {authors.name}")
    return {
        name: lambda: images.loader_epoch(part, batch, device, transform),
        "ours": lambda: images.our_epoch(part, batch, device, cutout),
    }

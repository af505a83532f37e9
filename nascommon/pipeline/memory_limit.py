"""Too little memory is one error before the work starts, which names what to set; nothing is cut in secret."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from nascommon.config import Params
from nascommon.cost.footprint import Shape
from nascommon.cost.live_bytes import available_bytes, resident_bytes
from nascommon.cost.peaks import scoring_peak, search_peak, stand_in, supernets, training_peak
from nascommon.method import Method
from nascommon.pipeline.side_by_side import room
from nascommon.runtime.hardware import workspace_bytes
from nascommon.search.settings import SearchSettings
from nascommon.search.watch import HESSIAN_IMAGES
from nascommon.settings import UserError
from nascommon.space.genotype import Genotype
from nascommon.space.network import TOTAL_STRIDE, NetworkSpec
from nascommon.space.stem import STEM_MULTIPLIER, Stem
from nascommon.space.supernet import SupernetSpec
from nascommon.training.settings import TrainingSettings

USABLE_SHARE = 0.9
"""Share of the free memory up to which a bound is trusted without counting, and that advice may fill."""
OPERATIONS_OF_A_CELL = 10
"""Operations per cell of a stand-alone network: two at each of four nodes, and the two preprocessors of its inputs."""
TENSORS_OF_AN_OPERATION = 6
"""Upper bound on the tensors of the size of its input that a step keeps of an operation."""
WATCHED_TENSORS = 2
"""Factor on the tensors of a step that the watch of the Hessian keeps, since it differentiates twice."""
STEM_WIDTH: dict[Stem, float] = {"cifar": STEM_MULTIPLIER, "imagenet": 1 / 4}
"""Numbers that a stem makes of a pixel, for each channel of the first cell."""
COPIES_OF_A_WEIGHT = 6
"""Copies of every weight in memory: itself, its gradient, its momentum and a temporary of the step, with the holes of
the heap."""
WEIGHTS_OF_AN_OPERATION = COPIES_OF_A_WEIGHT * 4**2
"""Numbers for each pair of channels of the first cell, at most: in the last cells they are four times as many."""
AUXILIARY_WIDTH, AUXILIARY_WEIGHTS = 768, 4 * 128 * 768
LAST_WIDTH = 4 * 32
"""Channels of the last map for each of the first cell, at most."""
FLOAT_BYTES = 4
FEWEST_INPUTS = 1
"""Fewest inputs that a cell has in whatever space."""
MIB = 2**20


def require_search(
    method: Method, base: SupernetSpec, shape: Shape, search: SearchSettings, device: torch.device
) -> None:
    """Refuse a search whose largest step does not fit into the free memory.

    Raises:
        UserError: naming the key and the number to set.
    """
    trouble = search_trouble(method, base, shape, search, device)
    if trouble is not None:
        raise UserError(trouble)


def search_trouble(
    method: Method, base: SupernetSpec, shape: Shape, search: SearchSettings, device: torch.device
) -> str | None:
    """Return what to set so that the largest step of a search fits into the free memory; None where it does."""
    # From cheap to dear: a lower bound that refuses at once, an upper bound that lets pass at once, and only between
    # them the count, which runs the steps on tensors without data and takes seconds.
    free = available_bytes(device)
    for spec in supernets(method, base):
        if (least := _lower_bound(spec)) > free:
            return f"search.channels: {_too_much('the supernet alone', least, free)}; take fewer channels or cells"
    if _search_bound(method, base, shape, search, device) < USABLE_SHARE * free:
        return None

    def peak(pieces: int, watch_every: int = 0) -> int:
        cut = search.model_copy(update={"pieces": pieces, "watch_every": watch_every})
        return search_peak(method, base, shape, cut, device)

    needed = peak(search.pieces, search.watch_every)
    if needed <= free:
        return None
    # Whose fault is it, the steps' or the watch's? Without the watch the peak is that of the steps.
    steps = peak(search.pieces)
    if steps > free:
        return pieces_advice("search.pieces", search.pieces, method.batch_size, steps, peak, free)
    return (
        f"search.watch_every: {_too_much('the look for signs of collapse', needed, free)}; set search.watch_every: 0, "
        f"which leaves it out (about {_mib(steps)})"
    )


def require_trainings(
    key: str, settings: TrainingSettings, specs: Sequence[NetworkSpec], shape: Shape, params: Params,
    device: torch.device, networks: int = 1, *, scored: bool = False,
) -> int:  # fmt: skip
    """Return how many of so many networks are to be trained at a time; refuse what does not fit into the free memory.

    Raises:
        UserError: naming the key and the number to set.
    """
    at_a_time, trouble = trainings_that_fit(key, settings, specs, shape, params, device, networks, scored=scored)
    if trouble is not None:
        raise UserError(trouble)
    return at_a_time


def trainings_that_fit(
    key: str, settings: TrainingSettings, specs: Sequence[NetworkSpec], shape: Shape, params: Params,
    device: torch.device, networks: int = 1, *, scored: bool = False,
) -> tuple[int, str | None]:  # fmt: skip
    """Return how many networks are to be trained at a time, and what to set where they do not fit; None where they do.

    Args:
        key: name of the setting that cuts a batch, such as ``retrain.training.pieces``.
        settings: protocol of every network.
        specs: sizes of the networks, of which the largest counts.
        shape: number and size of the images.
        params: all settings; ``jobs`` says how many at a time, and ``auto`` takes as many as fit.
        device: where they are trained.
        networks: how many in all.
        scored: whether each scores images after every epoch.
    """
    if networks == 0:
        return 1, None
    free, places = available_bytes(device), room(params, device)
    wanted = min(places.pieces, networks)
    if (least := max(map(_lower_bound, specs))) > free:
        network = f"{key.partition('.')[0]}.network.channels"
        return 1, f"{network}: {_too_much('the network alone', least, free)}; take fewer channels or cells"
    # A second training has images of its own, and on a CPU a process with torch; the first is counted as used already.
    process = process_bytes(shape, device, wanted)
    bound = max(_training_bound(settings, spec, shape, device, scored=scored) for spec in specs)
    if wanted * (bound + process) < USABLE_SHARE * free * places.memories:
        return wanted, None

    def peak(pieces: int) -> int:
        cut = settings.model_copy(update={"pieces": pieces})
        genotype = stand_in(params.search.chosen_space())
        return max(training_peak(cut, spec, shape, device, genotype, scored) for spec in specs)

    needed = peak(settings.pieces)
    if needed > free:
        return 1, pieces_advice(key, settings.pieces, settings.batch_size, needed, peak, free)
    return _as_many_as_fit("networks", params, wanted, needed + process, free, places.memories)


def require_testing(genotype: Genotype, spec: NetworkSpec, shape: Shape, batch_size: int, device: torch.device) -> None:
    """Refuse to score images with a trained network at ``evaluate.batch_size`` if that does not fit.

    Raises:
        UserError: naming the number to set.
    """
    free, key = available_bytes(device), "evaluate.batch_size"
    if _upper_bound(spec.cells * OPERATIONS_OF_A_CELL, spec, shape, batch_size) < USABLE_SHARE * free:
        return
    needed = scoring_peak(genotype, spec, shape, batch_size, device)
    if needed <= free:
        return
    trouble, fewer = f"{key}: {_too_much(f'scoring {batch_size} images at a time', needed, free)}", batch_size
    while fewer > 1:
        fewer //= 2
        if (bytes_then := scoring_peak(genotype, spec, shape, fewer, device)) <= USABLE_SHARE * free:
            raise UserError(f"{trouble}; set {key}: {fewer} (about {_mib(bytes_then)})")
    raise UserError(f"{trouble}, and not even one image fits; take another machine")


def require_searches(
    method: Method, base: SupernetSpec, shape: Shape, params: Params, device: torch.device, searches: int = 1
) -> int:
    """Return how many of so many searches are to run at a time; refuse what does not fit into the free memory.

    Raises:
        UserError: naming the key and the number to set.
    """
    require_search(method, base, shape, params.search, device)
    free, places = available_bytes(device), room(params, device)
    wanted = min(places.pieces, searches)
    if wanted <= 1:
        return 1
    process = process_bytes(shape, device, wanted)
    bound = _search_bound(method, base, shape, params.search, device)
    if wanted * (bound + process) < USABLE_SHARE * free * places.memories:
        return wanted
    needed = search_peak(method, base, shape, params.search, device)
    at_a_time, trouble = _as_many_as_fit("searches", params, wanted, needed + process, free, places.memories)
    if trouble is not None:
        raise UserError(trouble)
    return at_a_time


def process_bytes(shape: Shape, device: torch.device, wanted: int) -> int:
    """Return what each of several takes beside its steps: images, and a process with torch or workspaces on a GPU."""
    if wanted <= 1:
        return 0
    return shape.resident_bytes() + (resident_bytes() if device.type == "cpu" else workspace_bytes(device))


def _as_many_as_fit(
    what: str, params: Params, wanted: int, each: int, free: int, memories: int
) -> tuple[int, str | None]:
    """Return how many of ``wanted`` that take ``each`` bytes run at a time, and what to set where that is refused.

    Of several memories, those of other machines or GPUs, as much is taken to be free as of the one here.
    """
    fitting = max(1, min(wanted, memories * math.floor(USABLE_SHARE * free / each)))
    if params.jobs == "auto" or wanted * each <= memories * free:
        return fitting if params.jobs == "auto" else wanted, None
    several = _too_much(f"{wanted} {what} at a time", wanted * each, memories * free, "take")
    return wanted, f"jobs: {several}; set jobs: {fitting}"


def pieces_advice(key: str, pieces: int, batch_size: int, needed: int, peak: Callable[[int], int], free: int) -> str:
    """Say how many pieces, a power of two more than are set, let a step fit; or that no number does.

    Args:
        key: name of the setting.
        pieces: as set.
        batch_size: images; there are never more pieces.
        needed: bytes of a step as it is set.
        peak: pieces -> bytes of a step.
        free: bytes.
    """
    trouble = f"{key}: {_too_much(f'a step in {_pieces(pieces)}', needed, free)}"
    count = min(pieces, batch_size)
    while count < batch_size:
        count = min(2 * count, batch_size)
        # A step in twice the pieces takes at least half: where even that would not fit, counting is spared.
        if needed * pieces <= USABLE_SHARE * free * count and (bytes_then := peak(count)) <= USABLE_SHARE * free:
            return f"{trouble}; set {key}: {count} (about {_mib(bytes_then)}), or a smaller batch_size"
    return f"{trouble}, and no number of pieces makes it fit; take a smaller network, smaller images or another machine"


def _lower_bound(spec: SupernetSpec | NetworkSpec) -> int:
    """Return bytes that weights, gradients and momenta surely exceed: what is far too large need not be counted.

    Every cell brings its inputs, which have at least as many channels as the first cell, to its own channels.
    """
    return 3 * FLOAT_BYTES * spec.cells * FEWEST_INPUTS * spec.channels**2


def _search_bound(
    method: Method, base: SupernetSpec, shape: Shape, search: SearchSettings, device: torch.device
) -> int:
    """Return bytes that a search surely does not exceed, so that nothing need be counted for small ones."""
    images = method.batch_size + _beside_steps(method.batch_size, search.pieces, shape, device)
    images += WATCHED_TENSORS * HESSIAN_IMAGES if search.watch_every else 0
    return max(_upper_bound(spec.cells * spec.space.largest, spec, shape, images) for spec in supernets(method, base))


def _training_bound(
    settings: TrainingSettings, spec: NetworkSpec, shape: Shape, device: torch.device, *, scored: bool
) -> int:
    beside = _beside_steps(settings.batch_size, settings.pieces, shape, device) if scored else 0
    return _upper_bound(spec.cells * OPERATIONS_OF_A_CELL, spec, shape, settings.batch_size + beside)


def _beside_steps(batch_size: int, pieces: int, shape: Shape, device: torch.device) -> int:
    """Return the images that are scored beside the memory of a step; elsewhere fewer are, in its place."""
    return shape.evaluated(batch_size, device, pieces) if device.type == "cuda" else 0


def _upper_bound(operations: int, spec: SupernetSpec | NetworkSpec, shape: Shape, images: int) -> int:
    pixels = shape.height * shape.width
    before_cells, in_cells = STEM_WIDTH[spec.stem], (TOTAL_STRIDE["cifar"] / TOTAL_STRIDE[spec.stem]) ** 2
    maps = TENSORS_OF_AN_OPERATION * spec.channels * pixels * images * (before_cells + operations * in_cells)
    heads = COPIES_OF_A_WEIGHT * (AUXILIARY_WEIGHTS + spec.classes * (AUXILIARY_WIDTH + LAST_WIDTH * spec.channels))
    return round(FLOAT_BYTES * (maps + heads + operations * WEIGHTS_OF_AN_OPERATION * spec.channels**2))


def _too_much(what: str, needed: int, free: int, verb: str = "takes") -> str:
    return f"{what} {verb} about {_mib(needed)}, and {_mib(free)} are free"


def _pieces(count: int) -> str:
    return "1 piece" if count == 1 else f"{count} pieces"


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"

"""The memory of a stage is known before it starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.cost.footprint import Shape, memory_of
from nascommon.cost.live_bytes import BLOCK, META, block_bytes, peak_bytes, resident_bytes
from nascommon.cost.peaks import (
    STAND_IN,
    equivalent_pieces,
    search_peak,
    search_scores,
    search_steps,
    search_watch,
    steady_network,
    steady_state,
    supernets,
    training_peak,
    training_program,
    with_fixed_draw,
)
from nascommon.kernels.home import meta_stands_for
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.parts.choices import Induced, Soft
from nascommon.runtime import ranks
from nascommon.search.settings import SearchSettings
from nascommon.search.state import supernet_spec
from nascommon.space.network import NetworkSpec
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import SPACES
from nascommon.space.supernet import Supernet, SupernetSpec
from nascommon.space.topology import Topology
from nascommon.training.settings import TrainingSettings
from tests.methods.smoke import FEW, each_method
from tests.runtime.team import on_ranks
from tests.space.kinds import space_of

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SHAPE = Shape(images=100, channels=1, height=8, width=8, classes=10)
IMAGES = Shape(images=100, channels=3, height=32, width=32, classes=10)
NODES = 2


def method_of(name: str, candidates: tuple[str, ...] = CANDIDATES) -> Method:
    entry = REGISTRY[name]
    return replace(
        entry.recipe(entry.settings(), SearchSize(4, 3, space_of(candidates, Topology(NODES)))), batch_size=8
    )


def spec_of(method: Method, candidates: tuple[str, ...] = CANDIDATES) -> SupernetSpec:
    space = method.searched(space_of(candidates, Topology(NODES)))
    base = SupernetSpec(0, 0, SHAPE.classes, space, SHAPE.channels)
    return supernet_spec(method.phases[0], space, base, method)


def needs(method: Method, candidates: tuple[str, ...] = CANDIDATES) -> int:
    spec = spec_of(method, candidates)
    steady = with_fixed_draw(method, spec)
    return peak_bytes(lambda: search_steps(steady, spec, SHAPE, 1, META))


@pytest.mark.parametrize("name", each_method())
def test_the_steps_of_every_method_run_without_data(name: str) -> None:
    candidates = CANDIDATES if name in {"darts", "pdarts"} else FEW  # the second leaves five to its last phase
    assert needs(method_of(name, candidates), candidates) > 0


@pytest.mark.slow
def test_a_larger_batch_needs_more_and_an_eigenvalue_more_still() -> None:
    darts, larger = method_of("darts"), replace(method_of("darts"), batch_size=16)
    watch = peak_bytes(lambda: search_watch(larger, spec_of(larger), SHAPE, META))
    assert needs(darts) < needs(larger) < watch


@pytest.mark.slow
def test_half_as_wide_numbers_need_less() -> None:
    method = method_of("darts")
    specs = [replace(spec_of(method), precision=precision) for precision in ("float32", "bfloat16")]
    wide, narrow = (memory_of(partial(search_steps, method, spec, SHAPE, 1), CPU) for spec in specs)
    assert narrow < 0.8 * wide


@pytest.mark.parametrize("name", ["gdas", "random", "pdarts"])
def test_the_steps_in_the_space_of_nasbench201_run_without_data(name: str) -> None:
    entry, space = REGISTRY[name], SPACES["nasbench201"]
    changes = {"cells": (3, 3, 6), "batch_size": 8} if name == "pdarts" else {"batch_size": 8}
    method = entry.recipe(entry.settings(**changes), SearchSize(4, 3, space))
    base = SupernetSpec(0, 0, SHAPE.classes, method.searched(space), SHAPE.channels)
    for spec in supernets(method, base):
        steady = with_fixed_draw(method, spec)
        assert peak_bytes(lambda: search_steps(steady, spec, SHAPE, 1, META)) > 0  # noqa: B023


@pytest.mark.slow
def test_one_operation_an_edge_needs_less_than_all() -> None:
    assert needs(method_of("gdas")) < needs(replace(method_of("gdas"), sample=None)) / 2


def test_the_copies_of_an_induced_pass_are_counted() -> None:
    with_copies = method_of("ecdarts", FEW)
    assert Induced() in with_copies.passes
    weights = 4 * sum(weight.numel() for weight in Supernet(spec_of(with_copies, FEW)).parameters())
    assert needs(with_copies, FEW) >= needs(replace(with_copies, passes=(Soft(),)), FEW) + 3 * weights


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [3])
def test_pieces_divide_what_a_step_takes_for_its_images(pieces: int) -> None:
    """A search of so many images in so many pieces takes what one of a piece takes, and their images."""
    darts = method_of("darts")
    whole, piece = replace(darts, batch_size=24), replace(darts, batch_size=24 // pieces)
    spec = spec_of(darts)
    cut, alone = (
        peak_bytes(lambda m=method, n=count: search_steps(m, spec, SHAPE, n, META))  # type: ignore[misc]
        for method, count in ((whole, pieces), (piece, 1))
    )
    weights = 4 * sum(weight.numel() for weight in Supernet(spec).parameters())
    images = 2 * 24 * 4 * SHAPE.channels * SHAPE.height * SHAPE.width
    assert alone < cut < alone + weights + 2 * images


@pytest.mark.parametrize("pieces", [3, 8])
def test_two_pieces_stand_for_many(pieces: int) -> None:
    assert equivalent_pieces(24, pieces) == (2 * 24 // pieces, 2)
    assert equivalent_pieces(24, 1) == (24, 1)
    assert equivalent_pieces(5, 100) == (2, 2)
    assert equivalent_pieces(1, 3) == (1, 2)
    settings, spec = TrainingSettings(batch_size=24, pieces=pieces), NetworkSpec(4, 3)

    def every_piece(on: torch.device) -> None:
        training_program(settings, spec, on)(IMAGES.batch(24, on))

    assert training_peak(settings, spec, IMAGES, CPU) == pytest.approx(memory_of(every_piece, CPU), rel=0.001)


@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_the_memory_of_a_huge_network_is_predicted_without_taking_any(device: torch.device) -> None:
    before = resident_bytes()
    spec = NetworkSpec(channels=100_000, cells=3, auxiliary=False)
    assert training_peak(TrainingSettings(), spec, IMAGES, device) > 2**40
    assert resident_bytes() - before < 2**28


# -- what is done between steps --

GPU = torch.device("cuda")


def searching(method: Method, images: Shape = IMAGES) -> tuple[SupernetSpec, Callable[..., int]]:
    """Return a small supernet and what predicts the peak of its search on a device."""
    space = method.searched(space_of(CANDIDATES, Topology(1)))
    base = SupernetSpec(0, 0, images.classes, space, images.channels)
    small = replace(method, phases=method.phases[:1])

    def peak(device: torch.device, pieces: int = 1) -> int:
        settings = SearchSettings(method="darts", channels=4, cells=3, watch_every=0, pieces=pieces)
        return search_peak(small, base, images, settings, device)

    return supernet_spec(method.phases[0], space, base, method), peak


def beside(held: int, rest: Callable[[torch.device], object], score: Callable[..., object]) -> int:
    """Count scores on a GPU while so many bytes of a recorded step are held beside what lies there anyway."""

    def program(on: torch.device) -> None:
        ballast = torch.empty(held - memory_of(rest, GPU), dtype=torch.uint8, device=on)
        score(on)
        del ballast

    return memory_of(program, GPU)


def test_on_a_gpu_the_supernet_is_scored_beside_the_memory_of_a_recorded_step() -> None:
    method, many = method_of("darts"), replace(IMAGES, images=5000)
    spec, peak = searching(method, many)
    step = memory_of(partial(search_steps, method, spec, many, 1), GPU)
    scores = partial(search_scores, method, spec, many, 1024)  # images that fill a GPU
    assert memory_of(scores, GPU) > step  # so a step alone would be far from the peak
    expected = beside(step, partial(steady_state, method, spec), scores)
    assert peak(GPU) == pytest.approx(expected, abs=BLOCK)
    assert peak(GPU, pieces=4) < 0.35 * expected


def test_a_step_that_is_not_recorded_makes_room_for_scores() -> None:
    """One that draws candidates is not, and an induced pass gives the recording back."""
    for name in ("gdas", "ecdarts"):
        method, many = method_of(name), replace(IMAGES, images=5000)
        spec, peak = searching(method, many)
        assert peak(GPU) == memory_of(partial(search_scores, method, spec, many, 1024), GPU)


def of_a_rank() -> int | None:
    """Predict a search of DARTS on the first rank, while the second one asks for nothing."""
    _, peak = searching(method_of("darts"), replace(IMAGES, images=5000))
    return peak(GPU) if ranks.first() else None


def test_a_rank_predicts_for_itself_and_steps_that_ranks_share_are_not_recorded() -> None:
    method, many = method_of("darts"), replace(IMAGES, images=5000)
    spec, _ = searching(method, many)
    alone = memory_of(partial(search_scores, method, spec, many, 1024), GPU)
    assert sorted(on_ranks(2, of_a_rank), key=str) == [alone, None]


def test_an_induced_pass_recalibrates_beside_its_copies() -> None:
    """On a CPU a batch of scores is as large as one of steps, which in many pieces take less than a recalibration."""
    method = replace(method_of("ecdarts"), batch_size=64)
    spec, peak = searching(method)
    soft = replace(method, passes=(Soft(),))
    weights = 4 * sum(weight.numel() for weight in Supernet(spec).parameters())
    whole, alone = (memory_of(partial(search_scores, each, spec, IMAGES, 2), CPU) for each in (method, soft))
    assert peak(CPU, pieces=32) == whole > alone + 3 * weights


@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_network_that_is_watched_is_scored_as_its_pieces_are_trained(device: torch.device) -> None:
    settings, many = TrainingSettings(batch_size=24), replace(IMAGES, images=5000)
    spec = NetworkSpec(8, 3, auxiliary=False)

    def peak(pieces: int, *, scored: bool) -> int:
        cut = settings.model_copy(update={"pieces": pieces})
        return training_peak(cut, spec, many, device, STAND_IN, scored)

    def score(on: torch.device, images: int) -> None:
        network, _ = steady_network(settings, spec, on, STAND_IN)
        with torch.no_grad():
            batch = many.batch(images, on)
            network.eval()
            batch.loss(network(batch.images), reduction="sum")

    step, rest = peak(1, scored=False), lambda on: steady_network(settings, spec, on, STAND_IN)
    if device == CPU:
        assert peak(1, scored=True) == step  # a batch without a backward pass is less than one with it
    else:
        assert peak(1, scored=True) == pytest.approx(beside(step, rest, partial(score, images=1024)), abs=BLOCK)
        in_pieces = beside(peak(8, scored=False), rest, partial(score, images=128))
        assert peak(8, scored=True) == pytest.approx(in_pieces, abs=BLOCK)


def test_tensors_without_data_go_the_way_of_the_device_that_they_stand_for() -> None:
    settings, spec = TrainingSettings(batch_size=32), NetworkSpec(20, 3, auxiliary=False)

    def step(on: torch.device) -> None:
        training_program(settings, spec, on)(IMAGES.batch(32, on))

    on_cpu = peak_bytes(lambda: step(META), block_bytes)
    with meta_stands_for("cuda"):
        on_gpu = peak_bytes(lambda: step(META), block_bytes)
    assert on_gpu != on_cpu
    assert memory_of(step, torch.device("cuda")) == on_gpu


def test_pictures_count_where_they_are_kept_in_memory() -> None:
    assert SHAPE.resident_bytes() == 100 * 8 * 8
    assert replace(SHAPE, height=4, width=16).resident_bytes() == 100 * 4 * 16
    assert replace(SHAPE, in_memory=False).resident_bytes() == 0


def test_a_batch_has_height_and_width_of_the_pictures() -> None:
    assert replace(SHAPE, height=4, width=16).batch(5, CPU).images.shape == (5, 1, 4, 16)


STEPS = """
import sys
from dataclasses import replace
import torch
from nascommon.methods.darts import DartsSettings, darts
from nascommon.method import SearchSize
from nascommon.runtime.hardware import peak_memory_bytes
from nascommon.search.state import supernet_spec
from nascommon.space.space import SPACES
from nascommon.space.supernet import SupernetSpec
from nascommon.cost.peaks import search_scores, search_steps
from nascommon.cost.footprint import Shape, memory_of
from nascommon.pipeline.estimate import process_bytes

torch.set_num_threads(1)
cpu = torch.device("cpu")
method = darts(DartsSettings(batch_size=24), SearchSize(16, 3, SPACES["darts"]))
space = method.searched(SPACES["darts"])
spec = supernet_spec(method.phases[0], space, SupernetSpec(0, 0, 10, space), method)
spec = replace(spec, precision=sys.argv[1])
shape, programs = Shape(0, 3, 32, 32, 10), {"steps": (search_steps, 1), "scores": (search_scores, 500)}
program, count = programs[sys.argv[2]]
work = lambda device: program(method, spec, shape, count, device)
process = process_bytes(cpu, tracked=False)
tensors = memory_of(work, cpu)
work(cpu)
print(process, tensors, peak_memory_bytes(cpu))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the share of the holes is that of glibc")
@pytest.mark.parametrize(
    ("precision", "what"), [("float32", "steps"), ("bfloat16", "steps"), ("float32", "scores"), ("bfloat16", "scores")]
)
def test_the_memory_of_a_process_that_searches_is_predicted_within_15_percent(precision: str, what: str) -> None:
    command = [sys.executable, "-c", STEPS, precision, what]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    process, tensors, real = map(int, done.stdout.split())
    assert tensors > 450 * 2**20
    assert process + tensors == pytest.approx(real, rel=0.15)

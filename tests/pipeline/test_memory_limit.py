"""What does not fit into the free memory is refused before the work starts, by the key and the number to set."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
import torch

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.config import Params, load_params
from nascommon.cost.footprint import Shape
from nascommon.cost.peaks import STAND_IN, scoring_peak, search_peak, training_peak
from nascommon.data import loading
from nascommon.data.batches import evaluation_batches
from nascommon.method import REGISTRY, SearchSize
from nascommon.pipeline import memory_limit as fitting
from nascommon.pipeline.memory_limit import (
    _search_bound,
    _training_bound,
    pieces_advice,
    require_search,
    require_searches,
    require_testing,
    require_trainings,
)
from nascommon.search.settings import SearchSettings
from nascommon.settings import UserError
from nascommon.space.network import NetworkSpec
from nascommon.space.operations import CANDIDATES
from nascommon.space.space import find_space
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from nascommon.training.settings import TrainingSettings
from tests.space.kinds import space_of
from tests.stages.project import SMOKE, Project

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = Shape(images=100, channels=3, height=16, width=16, classes=10)
MIB = 2**20


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Let so many bytes be free."""
    monkeypatch.setattr(fitting, "available_bytes", lambda _device: round(size))
    monkeypatch.setattr(fitting, "resident_bytes", lambda: 0)


def takes(monkeypatch: pytest.MonkeyPatch, step: int, watch: int = 0) -> None:
    """Let every step take so many bytes in one piece, and the watch of the Hessian so many at any rate."""

    def search(_method: object, _base: object, _shape: object, settings: SearchSettings, _device: object) -> int:
        return max(step // settings.pieces, watch if settings.watch_every else 0)

    monkeypatch.setattr(fitting, "_lower_bound", lambda _spec: 0)
    monkeypatch.setattr(fitting, "search_peak", search)
    monkeypatch.setattr(fitting, "training_peak", lambda settings, *_: step // settings.pieces)


# -- what is advised --


@pytest.mark.parametrize(
    ("pieces", "free_bytes", "wanted"), [(1, 999, 2), (1, 556, 2), (1, 555, 4), (2, 499, 4), (1, 130, 10), (3, 150, 10)]
)
def test_the_fewest_pieces_that_leave_a_tenth_of_the_free_memory_are_named(
    pieces: int, free_bytes: int, wanted: int
) -> None:
    told = pieces_advice("search.pieces", pieces, 10, 1000 // pieces, lambda count: 1000 // count, free_bytes)
    assert f"set search.pieces: {wanted} " in told


def test_the_message_says_what_is_needed_and_what_is_free() -> None:
    told = pieces_advice("search.pieces", 1, 64, 800 * MIB, lambda count: 800 * MIB // count, 300 * MIB)
    assert told == (
        "search.pieces: a step in 1 piece takes about 800 MiB, and 300 MiB are free; "
        "set search.pieces: 4 (about 200 MiB), or a smaller batch_size"
    )


def test_where_no_number_helps_none_is_named() -> None:
    told = pieces_advice("search.pieces", 1, 64, 800 * MIB, lambda _count: 700 * MIB, 300 * MIB)
    assert "no number of pieces makes it fit; take a smaller network" in told


def test_numbers_that_cannot_do_are_not_even_tried() -> None:
    tried: list[int] = []

    def peak(count: int) -> int:
        tried.append(count)
        return 1600 // count + 10

    pieces_advice("search.pieces", 1, 64, 1610, peak, 200)
    assert tried == [16]  # in 8 pieces a step takes 201 bytes at least, and 180 may be filled


# -- searches --


def searching(name: str = "darts", channels: int = 4, **changes: Any) -> tuple[Any, ...]:
    """Return the arguments of a small search of the first phase."""
    entry, topology = REGISTRY[name], Topology(1)
    method = replace(entry.recipe(entry.settings(), SearchSize(channels, 3, find_space("darts", 1))), batch_size=16)
    method = replace(method, phases=method.phases[:1])
    base = SupernetSpec(0, 0, IMAGES.classes, method.searched(space_of(CANDIDATES, topology)), 3)
    return method, base, IMAGES, SearchSettings(method=name, watch_every=0).model_copy(update=changes), CPU


def test_a_search_that_does_not_fit_names_the_pieces_with_which_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 1000)
    free(monkeypatch, 1000)
    require_search(*searching())
    free(monkeypatch, 999)
    with pytest.raises(UserError, match=r"^search\.pieces: a step in 1 piece .*; set search\.pieces: 2 "):
        require_search(*searching())
    require_search(*searching(pieces=2))


def test_where_the_watch_of_the_hessian_is_too_much_it_is_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 1000, watch=1500)
    free(monkeypatch, 1200)
    with pytest.raises(UserError, match=r"^search\.watch_every: the look for .*; set search\.watch_every: 0, "):
        require_search(*searching(watch_every=5))
    require_search(*searching())
    free(monkeypatch, 900)  # then the steps are what must change first
    with pytest.raises(UserError, match=r"^search\.pieces: "):
        require_search(*searching(watch_every=5))


def test_what_is_far_below_the_free_memory_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 2**40)
    free(monkeypatch, 2**32)
    require_search(*searching())
    settings, specs, shape = training()
    assert require_trainings("retrain.training.pieces", settings, specs, shape, params(1), CPU) == 1


SLOWLY = [("darts", 256), *((name, channels) for name in ("pcdarts", "da2s", "ecdarts") for channels in (4, 256))]


@pytest.mark.parametrize(
    ("name", "channels"), [("darts", 4), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOWLY)]
)
def test_what_is_not_counted_is_surely_less(name: str, channels: int) -> None:
    method, base, _, settings, _ = searching(name, channels, watch_every=5)
    small = replace(IMAGES, height=4, width=4)
    for device in (CPU, GPU):
        bound = _search_bound(method, base, small, settings, device)
        assert search_peak(method, base, small, settings, device) < bound


@pytest.mark.parametrize(
    ("spec", "side"), [(NetworkSpec(36, 1), 8), (NetworkSpec(4, 4), 32), (NetworkSpec(128, 3), 4),
                       (NetworkSpec(8, 1, stem="imagenet"), 64)]
)  # fmt: skip
def test_nor_is_a_network_that_is_not_counted(spec: NetworkSpec, side: int) -> None:
    settings, shape = TrainingSettings(batch_size=4), replace(IMAGES, height=side, width=side)
    for device in (CPU, GPU):
        bound = _training_bound(settings, spec, shape, device, scored=True)
        assert training_peak(settings, spec, shape, device, STAND_IN, True) < bound


# -- trainings --


def training() -> tuple[TrainingSettings, list[NetworkSpec], Shape]:
    return TrainingSettings(batch_size=16), [NetworkSpec(8, 3), NetworkSpec(4, 3)], IMAGES


def params(jobs: Any) -> Params:
    return load_params(SMOKE).model_copy(update={"jobs": jobs, "threads": 1})


def test_networks_that_do_not_fit_at_a_time_are_refused_or_trained_fewer_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nascommon.training.many.cores", lambda: 3)
    takes(monkeypatch, 1000)
    free(monkeypatch, 2500)
    settings, specs, with_images = training()
    shape = replace(with_images, in_memory=False)
    key = "kendall_tau.training.pieces"
    assert require_trainings(key, settings, specs, shape, params("auto"), CPU, 6) == 2
    assert require_trainings(key, settings, specs, shape, params(2), CPU, 6) == 2
    assert require_trainings(key, settings, specs, shape, params(3), CPU, 1) == 1
    with pytest.raises(UserError, match=r"^jobs: 3 networks at a time take about .*; set jobs: 2$"):
        require_trainings(key, settings, specs, shape, params(3), CPU, 6)
    monkeypatch.setattr(fitting, "resident_bytes", lambda: 500)  # each in a process of its own
    assert require_trainings(key, settings, specs, shape, params("auto"), CPU, 6) == 1
    monkeypatch.setattr(fitting, "resident_bytes", lambda: 0)
    free(monkeypatch, 2500 + with_images.resident_bytes())  # and with its own images
    assert require_trainings(key, settings, specs, with_images, params("auto"), CPU, 6) == 1


def test_on_a_gpu_each_of_several_networks_has_workspaces_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 1000)
    monkeypatch.setattr(fitting, "workspace_bytes", lambda _device: 500)
    settings, specs, shape = training()
    gpu, shape, key = GPU, replace(shape, in_memory=False), "kendall_tau.training.pieces"
    free(monkeypatch, 3100)
    assert require_trainings(key, settings, specs, shape, params(2), gpu, 6) == 2
    free(monkeypatch, 2900)
    with pytest.raises(UserError, match=r"^jobs: 2 networks at a time take about .*; set jobs: 1$"):
        require_trainings(key, settings, specs, shape, params(2), gpu, 6)
    assert require_trainings(key, settings, specs, shape, params(1), gpu, 6) == 1


def test_the_largest_network_decides_and_the_pieces_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, specs, shape = training()
    largest = training_peak(settings, specs[0], shape, CPU)
    free(monkeypatch, 0.8 * largest)
    with pytest.raises(UserError, match=r"^retrain\.training\.pieces: .*; set retrain\.training\.pieces: 4 "):
        require_trainings("retrain.training.pieces", settings, specs, shape, params(3), CPU)
    assert require_trainings("retrain.training.pieces", settings, specs[1:], shape, params(3), CPU) == 1
    assert require_trainings("retrain.training.pieces", settings, specs, shape, params(3), CPU, networks=0) == 1


def test_searches_that_do_not_fit_at_a_time_are_refused_or_fewer_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nascommon.training.many.cores", lambda: 3)
    takes(monkeypatch, 1000)
    free(monkeypatch, 2500)
    method, base, shape, _, device = searching()
    shape = replace(shape, in_memory=False)

    def at_a_time(jobs: Any, searches: int) -> int:
        return require_searches(method, base, shape, params(jobs), device, searches)

    assert [at_a_time("auto", 6), at_a_time(2, 6), at_a_time(3, 1)] == [2, 2, 1]
    with pytest.raises(UserError, match=r"^jobs: 3 searches at a time take about .*; set jobs: 2$"):
        at_a_time(3, 6)
    monkeypatch.setattr(fitting, "resident_bytes", lambda: 500)  # each in a process of its own
    assert at_a_time("auto", 6) == 1
    shape = replace(shape, in_memory=True, images=1, channels=1, height=10, width=10)  # and with its own pictures
    monkeypatch.setattr(fitting, "resident_bytes", lambda: 100)
    assert at_a_time("auto", 6) == 1


# -- tests --


def small_network(batch_size: int) -> tuple[Any, ...]:
    """Return the arguments of a small network's test."""
    return STAND_IN, NetworkSpec(8, 3), IMAGES, batch_size, CPU


def test_images_that_do_not_fit_at_a_time_are_refused_with_the_number_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "scoring_peak", lambda _g, _n, _s, images, _d: images * MIB)
    free(monkeypatch, 500 * MIB)
    require_testing(*small_network(500))
    free(monkeypatch, 200 * MIB)
    with pytest.raises(UserError) as refused:
        require_testing(*small_network(500))
    assert str(refused.value) == (
        "evaluate.batch_size: scoring 500 images at a time takes about 500 MiB, and 200 MiB are free; "
        "set evaluate.batch_size: 125 (about 125 MiB)"
    )
    free(monkeypatch, MIB)
    with pytest.raises(UserError, match="not even one image fits"):
        require_testing(*small_network(500))


def test_far_fewer_are_not_counted_and_surely_take_less(monkeypatch: pytest.MonkeyPatch) -> None:
    genotype, spec, shape, images, _ = small_network(20)
    assert scoring_peak(genotype, spec, shape, images, CPU) < _training_bound(
        TrainingSettings(batch_size=images), spec, shape, CPU, scored=False
    )
    monkeypatch.setattr(fitting, "scoring_peak", lambda *_: pytest.fail("nothing need be counted"))
    free(monkeypatch, 2**32)
    require_testing(*small_network(20))


# -- in the stages --

KEYS = {
    "search": "search", "retrain": "retrain.training", "transfer": "transfer.training",
    "kendall_tau": "kendall_tau.training", "baseline": "retrain.training",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(KEYS))
def test_every_long_stage_refuses_before_its_first_step(
    stage: str, searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(monkeypatch, 3 * MIB)
    free(monkeypatch, 2 * MIB)
    result = searched.command(stage)
    assert result.status == 2
    assert re.match(rf"error: params\.yaml: {re.escape(KEYS[stage])}\.pieces: a step in 1 piece takes", result.err)
    assert len(result.err.splitlines()) == 1
    assert searched.checkpoints() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "key", "size"),
    [
        ("search", "search__pieces", 40), ("retrain", "retrain__training__pieces", 40),
        ("kendall_tau", "kendall_tau__training__pieces", 40), ("discretize", "search__pieces", 64),
    ],
)  # fmt: skip
def test_pictures_are_scored_in_the_pieces_that_are_set_for_steps(
    stage: str, key: str, size: int, searched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is predicted in pieces takes no more than a piece at a time of a batch."""
    sizes: set[int] = set()

    def seen(*arguments: Any, **options: Any) -> Any:
        batches = evaluation_batches(*arguments, **options)
        sizes.add(batches.batch_size)  # type: ignore[attr-defined]
        return batches

    monkeypatch.setattr(loading, "evaluation_batches", seen)
    project = searched.change(**{key: 5, "jobs": 1})
    assert project.command(stage).status == 0
    assert -(-size // 5) in sizes


@pytest.mark.slow
def test_evaluate_refuses_before_it_scores(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "scoring_peak", lambda _g, _n, _s, images, _d: images * MIB)
    free(monkeypatch, 100 * MIB)
    result = finished.command("evaluate")
    assert result.status == 2
    assert re.match(r"error: params\.yaml: evaluate\.batch_size: .*; set evaluate\.batch_size: 62 ", result.err)


def test_check_advises_the_same(searched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    takes(monkeypatch, 3 * MIB)
    free(monkeypatch, 2 * MIB)
    result = searched.command("check")
    assert result.status == 0
    for key in set(KEYS.values()):
        assert f"does not fit: {key}.pieces: a step in 1 piece takes about" in result.out


def test_what_is_far_too_large_is_refused_without_counting_it(searched: Project) -> None:
    began = time.monotonic()
    for stage, change in (
        ("search", {"search__channels": 4096, "search__cells": 400}),
        ("retrain", {"search__channels": 2, "search__cells": 3, "retrain__network__channels": 4096,
                     "retrain__network__cells": 1000}),
    ):  # fmt: skip
        result = searched.change(**change).command(stage)
        assert result.status == 2
        said = rf"error: params\.yaml: {stage}(\.network)?\.channels: the (super)?net\w* alone takes about"
        assert re.match(said, result.err)
        assert len(result.err.splitlines()) == 1
    assert time.monotonic() - began < 30  # it took minutes

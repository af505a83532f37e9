"""Time and memory of ``discretize`` are those of all evaluations of the whole supernet."""

from __future__ import annotations

import pytest
import torch

from nascommon.config import Params, load_params
from nascommon.cost.footprint import Shape
from nascommon.pipeline.cutting_cost import cutting_bytes, cutting_cost
from tests.stages.project import SMOKE


def of(method: str, images: int) -> Params:
    params = load_params(SMOKE)
    search = params.search.model_copy(update={"method": method})
    discretize = params.discretize.model_copy(update={"worth_images": images})
    return params.model_copy(update={"search": search, "discretize": discretize})


@pytest.mark.parametrize(
    ("method", "removed"),
    [("darts", 2 * 5 * 7), ("da2s", 2 * 5 * 7), ("pdarts", 2 * 5 * 3)],  # kinds of cells, edges, candidates in the end
)
def test_every_candidate_that_is_left_is_taken_out_once_and_all_are_together_once(method: str, removed: int) -> None:
    params = of(method, 40)
    seconds, how = cutting_cost(params, params.method(), 60, 0.001)
    assert how == f"{removed} candidates taken out in turn, 40 images each"
    calibration = params.discretize.calibration_batches * params.discretize.batch_size
    assert seconds == pytest.approx(0.001 * (40 * (1 + removed) + 3 * 60 + calibration))


def test_there_are_no_more_images_than_the_half_has() -> None:
    params = of("darts", 40)
    assert cutting_cost(params, params.method(), 30, 0.001)[1].endswith("30 images each")


def test_nothing_is_taken_out_where_no_image_is_for_it_or_nothing_was_trained() -> None:
    params = of("darts", 0)
    assert cutting_cost(params, params.method(), 60, 0.001)[1].startswith("0 candidates")
    drawn = of("random", 40)
    untrained = drawn.changed({"methods.random.epochs": 0, "methods.random.samples": 1})
    assert cutting_cost(untrained, untrained.method(), 60, 0.001) == (0.0, "no supernet to cut")


def test_memory_is_that_of_a_batch_and_of_the_pictures_that_are_kept() -> None:
    picture, maps = 4 * 3 * 32 * 32, 3  # bytes, and how many of them a supernet surely makes at a time of its input
    shape = Shape(400, 3, 32, 32, 10)

    def taken(device: str = "cpu", **changes: int) -> int:
        params = of("darts", 0).changed({"discretize.calibration_batches": 2} | {
            name.replace("__", "."): value for name, value in changes.items()
        })  # fmt: skip
        return cutting_bytes(params, params.method(), shape, (200, 200), torch.device(device))

    plain = taken()
    # Of 64 pictures; a tensor of a heap costs 1.3 times its bytes.
    assert taken(discretize__calibration_batches=3) - plain == pytest.approx(1.3 * 64 * picture, rel=0.01)
    # As many batches of calibration as the half has, and none of the pictures that are only scored.
    assert taken(discretize__calibration_batches=50) == taken(discretize__calibration_batches=3)
    assert taken(discretize__worth_images=100) - plain == pytest.approx(1.3 * 100 * picture, rel=0.01)
    assert taken("cuda") - taken("cuda", search__pieces=8) > maps * (200 - 1024 // 8) * picture
    drawn = of("random", 0).changed({"methods.random.epochs": 0, "methods.random.samples": 1})
    assert cutting_bytes(drawn, drawn.method(), shape, (200, 200), torch.device("cpu")) == 0

"""The time of ``discretize`` counts the candidates that the operation gap takes out."""

from __future__ import annotations

import pytest
import torch

from nascommon.config import Params, load_params
from nascommon.cost.peaks import supernets
from nascommon.gaps.operation import count_removals
from nascommon.pipeline.cutting_cost import cutting_cost
from nascommon.search.state import new_state
from nascommon.space.supernet import SupernetSpec
from tests.stages.project import SMOKE


def of(method: str, images: int) -> Params:
    params = load_params(SMOKE)
    search = params.search.model_copy(update={"method": method})
    discretize = params.discretize.model_copy(update={"worth_images": images})
    return params.model_copy(update={"search": search, "discretize": discretize})


@pytest.mark.parametrize("method", ["darts", "da2s", "pdarts"])
def test_as_many_candidates_as_the_gap_takes_out(method: str) -> None:
    params = of(method, 40)
    recipe = params.method()
    base = SupernetSpec(0, 0, 10, recipe.searched(params.search.chosen_space()), 1)
    *_, spec = supernets(recipe, base)
    state = new_state(recipe, spec, seed=0, phase=len(recipe.phases) - 1, device=torch.device("cpu"))
    seconds, how = cutting_cost(params, recipe, 60, 0.001)
    assert how == f"{count_removals(state)} candidates taken out in turn, 40 images each"
    calibration = params.discretize.calibration_batches * params.discretize.batch_size
    assert seconds == pytest.approx(0.001 * (40 * (1 + count_removals(state)) + 4 * 60 + calibration))


def test_no_candidate_is_taken_out_where_no_image_is_for_it() -> None:
    params = of("darts", 0)
    assert cutting_cost(params, params.method(), 60, 0.001)[1].startswith("0 candidates")

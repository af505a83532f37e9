"""What the check says before anything runs."""

from __future__ import annotations

import pytest

from nascommon.config import load_params
from nascommon.pipeline.check import estimate_in_words, what_is_known, without_work
from nascommon.pipeline.estimate import Estimate
from tests.stages.project import SMOKE


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("cifar10", "test accuracy on CIFAR-10, mean over the seeds, release 1.0 of NAS-Bench-201: 16 channels"),
        ("cifar100", "test accuracy on CIFAR-100, mean over the seeds"),
        ("digits", "none; the table of nasbench201 knows CIFAR-10, CIFAR-100, ImageNet16-120; this search sees digits"),
    ],
)
def test_it_says_by_whose_accuracies_the_result_will_be_judged(source: str, said: str) -> None:
    params = load_params(SMOKE)
    assert what_is_known(params) == {}, "nobody knows the DARTS space"
    search = params.search.model_copy(update={"space": "nasbench201"})
    data = params.data.model_copy(update={"source": source})
    known = what_is_known(params.model_copy(update={"search": search, "data": data}))
    assert known["known truth"].startswith(said)


def test_stages_that_will_have_nothing_to_do_are_named_with_the_setting() -> None:
    params = load_params(SMOKE)
    assert without_work(params) == {}
    transfer = params.transfer.model_copy(update={"data": None})
    retrain = params.retrain.model_copy(update={"skip": True})
    assert without_work(params.model_copy(update={"transfer": transfer, "retrain": retrain})) == {
        "transfer": "transfer.data is null", "retrain": "retrain.skip is true",
    }  # fmt: skip


def test_a_stage_that_trains_nothing_takes_no_time_in_words() -> None:
    assert estimate_in_words(Estimate("retrain", how="trains nothing")) == "trains nothing"
    assert estimate_in_words(Estimate("retrain", 60.0, 100.0, "one")) == "1m00s, about 100 MiB (one)"
    assert estimate_in_words(Estimate("evaluate", memory_mib=100.0, how="one")) == "about 100 MiB (one)"

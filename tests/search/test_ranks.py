"""A search that ranks share comes to the numbers of one process that computes every batch in as many pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nascommon.method import ArchGradient, Method, Phase
from nascommon.parts.choices import Induced, Soft, Unrolled, UnrolledExact
from nascommon.parts.logits import CellLogits
from nascommon.runtime import ranks
from nascommon.search.loop import run_search
from nascommon.search.passes import SearchData
from nascommon.settings import UserError
from nascommon.space.space import CellSpace
from tests.methods.smoke import smoke_method
from tests.runtime.team import on_ranks
from tests.search.small import CPU, TinyBatches, tiny_method, tiny_spec, wide_alpha

METHODS = {
    "first order": tiny_method(),
    "unrolled": tiny_method(arch_gradient=ArchGradient(Unrolled())),
    "unrolled exactly": tiny_method(arch_gradient=ArchGradient(UnrolledExact())),
    "skip dropout": tiny_method(phases=(Phase(2, 4, 3, skip_dropout=0.5),)),
    "induced": tiny_method(passes=(Soft(), Induced())),
}
DRAWN = ("gdas", "drnas", "pdarts", "pcdarts")


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def other_alpha(space: CellSpace, draws: torch.Generator) -> CellLogits:
    return wide_alpha(space, draws.manual_seed(9))


def searched(method: Method, pieces: int = 1, spoilt: int | None = None) -> dict[str, Any]:
    """Return all tensors and figures of a search; ``spoilt`` names a rank that starts from other alphas."""
    if spoilt == ranks.share().index:
        method = tiny_method(initialise=other_alpha)
    data = SearchData(
        TinyBatches(20, 10, seed=1, dtype=torch.float64),
        TinyBatches(18, 10, seed=2, dtype=torch.float64),
        TinyBatches(9, 3, seed=2, dtype=torch.float64, shuffled=False),
    )
    found = run_search(method, tiny_spec(), data, seed=0, device=CPU, pieces=pieces)
    figures = {
        f"{row['epoch']}: {name}": torch.tensor(value)
        for row in found.history.rows
        for name, value in row.items()
        if isinstance(value, float) and name != "seconds"
    }
    state = found.state.state_dict()
    return {**state["supernet"], **state["logits"], **figures}


def synchronised(method: Method, pieces: int) -> dict[str, Any]:
    ranks.synchronise_batch_norm(True)
    return searched(method, pieces)


def assert_same(method: Method, count: int) -> None:
    twin, ours = searched(method, pieces=count), on_ranks(count, searched, method)
    for each in ours:
        assert not isinstance(each, Exception), each
        assert list(each) == list(twin)
        torch.testing.assert_close(each, twin, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_ranks_come_to_what_one_process_does_in_as_many_pieces_by_every_gradient(name: str, count: int) -> None:
    assert_same(METHODS[name], count)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_so_they_do_whatever_a_method_draws(name: str) -> None:
    assert_same(smoke_method(name), 2)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("name", ["first order", "unrolled exactly", "induced"])
def test_with_synchronised_batch_norm_ranks_come_to_what_one_process_does_in_the_same_pieces(
    name: str, pieces: int, count: int
) -> None:
    # 18 images of the architecture half: its second batch has 8, which three ranks share as 3, 3 and 2.
    twin = searched(METHODS[name], pieces)
    for each in on_ranks(count, synchronised, METHODS[name], pieces):
        assert not isinstance(each, Exception), each
        torch.testing.assert_close(each, twin, rtol=1e-10, atol=1e-12)


def test_ranks_with_other_alphas_are_told_apart_after_the_first_epoch() -> None:
    for error in on_ranks(3, searched, METHODS["first order"], 1, 1):
        assert isinstance(error, UserError)
        assert str(error).startswith("rank 1 of 3 has other alphas than rank 0 after epoch 1: ")

"""A random number belongs to its seed and its names, and to nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nascommon.runtime.seeding import derive, generator, seed_globals

NAMES = st.lists(st.integers() | st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF)), max_size=4)


def test_one_number_is_pinned_so_that_old_runs_can_be_repeated() -> None:
    assert derive(0, "order", 3) == 1619245521749398921


@settings(deadline=None)
@given(st.integers(0, 2**32), NAMES)
def test_a_number_is_pure_and_in_range(seed: int, names: list[int | str]) -> None:
    first = derive(seed, *names)
    random.random()
    torch.rand(1)
    assert derive(seed, *names) == first
    assert 0 <= first < 2**63


@settings(deadline=None)
@given(st.tuples(st.integers(0, 9), NAMES), st.tuples(st.integers(0, 9), NAMES))
def test_other_seeds_and_other_names_give_other_numbers(
    one: tuple[int, list[int | str]], other: tuple[int, list[int | str]]
) -> None:
    same = one[0] == other[0] and one[1] == other[1]
    assert (derive(one[0], *one[1]) == derive(other[0], *other[1])) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), ("1",)),
        (("a", "b"), ("b", "a")),
        (("a", "b"), ("ab",)),
        (("a",), ()),
        (("a", 1), ("a1",)),
        ((1, 2), (12,)),
    ],
)
def test_type_order_and_number_of_names_matter(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> None:
    assert derive(0, *one) != derive(0, *other)


def test_neighbouring_epochs_share_no_pattern() -> None:
    numbers = [derive(0, "order", epoch) for epoch in range(2000)]
    assert len(set(numbers)) == 2000
    ones = np.array([[number >> bit & 1 for bit in range(63)] for number in numbers]).mean(axis=0)
    assert ones.min() > 0.44
    assert ones.max() < 0.56


def test_a_generator_is_fresh_however_much_was_drawn_before() -> None:
    first = torch.rand(4, generator=generator(7, "noise", 1))
    used = generator(7, "noise", 1)
    torch.rand(100, generator=used)
    assert torch.equal(torch.rand(4, generator=generator(7, "noise", 1)), first)
    assert not torch.equal(torch.rand(4, generator=generator(7, "noise", 2)), first)
    assert not torch.equal(torch.rand(4, generator=generator(8, "noise", 1)), first)


def test_a_generator_leaves_the_global_ones_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("draw", [lambda: float(torch.rand(1)), lambda: float(np.random.rand()), random.random])  # noqa: NPY002
def test_the_global_generators_start_where_seed_and_names_say(draw: Callable[[], float]) -> None:
    seed_globals(3, "epoch", 5)
    first = draw()
    draw()
    seed_globals(3, "epoch", 5)
    assert draw() == first
    seed_globals(3, "epoch", 6)
    assert draw() != first

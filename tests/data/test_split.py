"""The split divides every class alike and depends on the seed alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from nascommon.data.split import balanced, pick, quotas, stratified
from nascommon.runtime.seeding import generator

class_counts = st.lists(st.integers(2, 30), min_size=2, max_size=12)
shares = st.floats(0.05, 0.95)


def sorted_labels(counts: list[int]) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@given(class_counts, shares, st.integers(0, 1000))
def test_the_two_parts_are_disjoint_and_complete(counts: list[int], share: float, seed: int) -> None:
    first, second = stratified(sorted_labels(counts), share, generator(seed))
    assert sorted(first.tolist() + second.tolist()) == list(range(sum(counts)))
    assert first.tolist() == sorted(first.tolist())


@given(class_counts, st.integers(0, 1000))
def test_halves_differ_by_at_most_one_per_class_and_the_total_is_half(counts: list[int], seed: int) -> None:
    labels = sorted_labels(counts)
    first, second = (torch.bincount(labels[part]) for part in stratified(labels, 0.5, generator(seed)))
    assert int((first - second).abs().max()) <= 1
    assert abs(int(first.sum()) - int(second.sum())) <= 1


@given(class_counts, shares)
def test_every_class_is_on_both_sides_within_one_of_its_share(counts: list[int], share: float) -> None:
    quota = quotas(torch.tensor(counts), share)
    for part, count in zip(quota.tolist(), counts, strict=True):
        assert 1 <= part <= count - 1
        assert abs(part - min(max(share * count, 1), count - 1)) <= 1


@given(st.lists(st.integers(20, 60), min_size=2, max_size=12), st.floats(0.1, 0.9))
def test_the_total_is_the_nearest_whole_number_where_no_class_is_tiny(counts: list[int], share: float) -> None:
    assert abs(int(quotas(torch.tensor(counts), share).sum()) - share * sum(counts)) <= 0.5 + 1e-9


def test_a_class_sorted_list_is_shuffled_within_its_classes() -> None:
    labels = sorted_labels([100, 100])
    _, drawn = stratified(labels, 0.5, generator(0))
    positions = drawn[labels[drawn] == 0]
    assert 35 < positions.float().mean() < 65
    assert positions.tolist() != list(range(50))


def test_the_seed_decides_and_nothing_else() -> None:
    labels = sorted_labels([40, 40])
    once, again, other = (stratified(labels, 0.5, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_every_sample_is_drawn_equally_often() -> None:
    labels = torch.tensor([0, 1] * 10)
    drawn = torch.zeros(20)
    for seed in range(400):
        drawn[pick(labels, torch.tensor([5, 5]), generator(seed))[0]] += 1
    chi_square = float(((drawn - 200) ** 2 / 200).sum())
    assert chi_square < 43.8  # the 0.1 % point of 19 degrees of freedom; ours is under it as a hypergeometric draw


@given(class_counts, st.integers(2, 400))
def test_a_limit_is_used_up_as_evenly_as_the_classes_allow(counts: list[int], limit: int) -> None:
    quota = balanced(torch.tensor(counts), limit).tolist()
    assert sum(quota) == min(limit, sum(counts))
    assert all(part <= count for part, count in zip(quota, counts, strict=True))
    cut = [part for part, count in zip(quota, counts, strict=True) if part < count]
    assert not cut or max(quota) - min(cut) <= 1

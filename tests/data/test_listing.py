"""A listing is a list of names, whatever bytes they are, and what a file of it takes is little."""

from __future__ import annotations

import os
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascommon.data.listing import Names

names_of_files = st.lists(st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name).map(os.fsdecode))


@given(names_of_files, names_of_files, st.slices(20))
def test_it_is_what_a_list_is(first: list[str], more: list[str], some: slice) -> None:
    names = Names(iter(first))
    names.extend(more)
    plain = first + more
    assert (list(names), len(names)) == (plain, len(plain))
    assert [names[row] for row in range(-len(plain), len(plain))] == plain + plain
    assert list(names[some]) == plain[some]
    assert list(pickle.loads(pickle.dumps(names))) == list(Names.of(names.block, names.ends)) == plain
    for row in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            names[row]


def test_a_name_takes_its_bytes_and_eight_more_and_what_growing_leaves_free() -> None:
    names = Names(f"train/n{number % 1000:08d}/n{number:08d}.JPEG" for number in range(20_000))
    taken = sys.getsizeof(names.block) + sys.getsizeof(names.ends)
    assert taken < 20_000 * (len(names[0]) + 8) * 1.2

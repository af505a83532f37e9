"""A value for each kind of cell."""

from __future__ import annotations

import pickle
from typing import cast

import pytest

from nascommon.space.kinds import PerKind, cell_of


def test_keeps_the_order_of_the_space() -> None:
    both = PerKind({"second": 2, "first": 1})
    assert list(both.items()) == [("second", 2), ("first", 1)]
    assert (both.main_kind, both.main) == ("second", 2)
    assert both != PerKind({"first": 1, "second": 2})


def test_is_equal_and_hashes_by_its_values() -> None:
    both = PerKind([("normal", (1, 2)), ("reduction", (3,))])
    assert both == PerKind({"normal": (1, 2), "reduction": (3,)})
    assert hash(both) == hash(PerKind({"normal": (1, 2), "reduction": (3,)}))
    assert both != {"normal": (1, 2), "reduction": (3,)}
    assert pickle.loads(pickle.dumps(both)) == both


def test_cannot_be_changed() -> None:
    given = {"cell": 1}
    one = PerKind(given)
    given["cell"] = 2
    assert one["cell"] == 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        cast("dict[str, int]", one)["cell"] = 3


def test_a_cell_is_called_by_its_kind_and_the_only_kind_just_cell() -> None:
    assert (cell_of("normal"), cell_of("cell")) == ("normal cell", "cell")

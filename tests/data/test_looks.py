"""Columns say of many pictures what a record of each says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nascommon.data.fitting import RESIZE_OVER_CROP, cut_off
from nascommon.data.looks import Looks
from nascommon.data.pictures import DIGEST_BYTES, Seen

WORDS = ("", "", "P, converted", "CMYK, converted", "unreadable EXIF data, taken as upright")


def records(count: int, seed: int) -> list[Seen]:
    draw = np.random.default_rng(seed)

    def one(row: int) -> Seen:
        short, more = draw.integers(1, 40_000, 2).tolist()
        digest = draw.bytes(DIGEST_BYTES) if row % 3 else b""
        return Seen((short, short + more), bool(draw.integers(2)), WORDS[int(draw.integers(len(WORDS)))], digest)

    return list(map(one, range(count)))


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_columns_of_parts_are_the_columns_of_all(cut: int) -> None:
    seen = records(20, cut)
    looks = Looks.joined([Looks.at(iter(seen[:cut]), cut), Looks.at(iter(seen[cut:]), 20 - cut)])
    assert len(looks) == 20
    assert list(map(tuple, looks.sides.tolist())) == [picture.sides for picture in seen]
    assert looks.gray.tolist() == [picture.gray for picture in seen]
    assert [row.tobytes() for row in looks.digests] == [picture.digest or bytes(DIGEST_BYTES) for picture in seen]
    assert looks.oddities == Counter(picture.oddity for picture in seen if picture.oddity)
    counted = sorted({(word, sum(picture.oddity == word for picture in seen)) for word in WORDS if word})
    assert looks.conversions == ", ".join(f"{count} x {word}" for word, count in counted if count)


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_cut_off_is_so_of_each(streamed: bool) -> None:
    seen = records(50, 1)
    margin = RESIZE_OVER_CROP if streamed else 1.0
    sides_N2 = Looks.at(iter(seen), 50).sides
    shares = [1 - short / long / margin**2 for short, long in (picture.sides for picture in seen)]
    assert cut_off(sides_N2, "crop", streamed=streamed).tolist() == shares
    assert cut_off(sides_N2, "pad", streamed=streamed).tolist() == [0.0] * 50

"""Batches are put together without a picture lost, doubled or out of order."""

from __future__ import annotations

import pytest
import torch

from nascommon.data.batch import Batch, regrouped


@pytest.mark.parametrize(("most", "sizes"), [(4, [4, 3]), (7, [7]), (100, [7]), (1, [1] * 7)])
def test_regrouped_batches_hold_the_same_pictures_in_the_same_order(most: int, sizes: list[int]) -> None:
    images, labels = torch.randn(7, 1, 2, 2), torch.arange(7)
    found = regrouped((Batch(images[a:b], labels[a:b]) for a, b in ((0, 3), (3, 6), (6, 7))), most)
    assert [len(batch.labels) for batch in found] == sizes
    assert torch.equal(torch.cat([batch.images for batch in found]), images)
    assert torch.equal(torch.cat([batch.labels for batch in found]), labels)

"""Pictures that are there more than once: in training and test, where accuracy then is memory, or under two labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from nascommon.data.names import label
from nascommon.data.pictures import SHOWN
from nascommon.settings import Settings, Whole

LISTED = 20
"""Pictures that are there more than once and are listed in the manifest, each with up to five of its places."""

Places = Annotated[tuple[str, ...], Field(strict=False)]


class Copies(Settings):
    """Numbers of copies among the pictures of a prepared set, before any was left out."""

    in_test: Whole
    """Test pictures that are training pictures as well."""
    two_labels: Whole
    """Pictures of either set that are there under another label as well."""
    dropped: Whole
    """Training pictures that were left out, as ``copies: drop`` asks."""
    listed: Annotated[tuple[Places, ...], Field(strict=False)]
    """The places of the first of them, a row a picture."""


NO_COPIES = Copies(in_test=0, two_labels=0, dropped=0, listed=())


@dataclass(frozen=True, eq=False)
class Found:
    """Findings, and the indices of the training pictures that are no copy, in their order."""

    copies: Copies
    clean: Tensor


def find_copies(digests: npt.NDArray[np.uint8], labels: Tensor, trained: int, names: Sequence[str]) -> Found:
    """Find equal pictures by their digests.

    Args:
        digests: of each picture, bytes [N, D]; the training pictures first.
        labels: their labels, int64 [N].
        trained: how many of them are training pictures.
        names: what each picture is called.
    """
    words_N = np.ascontiguousarray(digests).view(f"S{digests.shape[1]}").ravel()
    _, first_G, group_N = np.unique(words_N, return_index=True, return_inverse=True)
    in_train_G, in_test_G = (np.bincount(part, minlength=len(first_G)) > 0 for part in np.split(group_N, [trained]))
    classes = int(labels.max()) + 1
    pairs = np.unique(group_N * classes + labels.numpy())
    torn_G, both_G = np.bincount(pairs // classes) > 1, in_train_G & in_test_G
    rows = np.flatnonzero(both_G | torn_G)
    copies = Copies(
        in_test=int(both_G[group_N[trained:]].sum()),
        two_labels=int(torn_G[group_N].sum()),
        dropped=0,
        listed=tuple(_places(group_N == row, trained, names) for row in rows[np.argsort(first_G[rows])][:LISTED]),
    )
    return Found(copies, torch.from_numpy(np.flatnonzero(~(both_G | torn_G)[group_N[:trained]])))


def complaints(copies: Copies, tests: int) -> list[str]:
    """Return what is to be said of them, nothing where there is none."""
    counts = [
        f"{copies.in_test} of {tests} test pictures are copies of training pictures" if copies.in_test else "",
        f"{copies.two_labels} pictures are there under more than one label" if copies.two_labels else "",
    ]
    if not any(counts):
        return []
    advice = (
        f"{copies.dropped} training pictures are left out, as data.copies: drop asks"
        if copies.dropped
        else "they distort every accuracy; data.copies: drop leaves them out of the training pictures"
    )
    examples = "; ".join(" = ".join(row) for row in copies.listed[:SHOWN])
    return [f"data: {' and '.join(filter(None, counts))} (all or some of them: {examples}): {advice}"]


def _places(members_N: np.ndarray, trained: int, names: Sequence[str]) -> Places:
    return tuple(f"{'train' if n < trained else 'test'} {label(names[n])}" for n in np.flatnonzero(members_N)[:SHOWN])

"""A search with a known answer: pairs of dots so far apart that only ``dil_conv_5x5`` can tell how they lie.

An image has four pairs of dots, eight pixels apart, all horizontal (class 0) or all vertical (class 1).

- Eight is half the side, so a single dot is everywhere equally likely in both classes, and the number of dots is
  the same: only the two dots of a pair together give the label.
- The stem sees 1 pixel around, ``sep_conv_3x3`` and ``dil_conv_3x3`` 2 more: 7 pixels at once, never both dots.
  ``dil_conv_5x5`` sees 4 more: 11 pixels.
- The reduction cells only skip, which shows them hardly more. Pools there reach further: a 3x3 operation got 69 %.
- Trained alone, the planted operation on one edge or both gets 99 % of unseen images right, the others at most 54 %.
- ``sep_conv_5x5`` reaches as far and would be as right, so it is no candidate; ``avg_pool_3x3`` only costs time.
"""

from __future__ import annotations

import torch

from nascommon.runtime.seeding import generator
from nascommon.search.passes import SearchData
from nascommon.space.genotype import Genotype
from nascommon.space.space import Candidates
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.search.small import TinyBatches
from tests.space.kinds import space_of, two

PLANTED = "dil_conv_5x5"
NORMAL = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", PLANTED)
REDUCTION = ("none", "skip_connect")
SIDE, DISTANCE, PAIRS, CLASSES = 16, 8, 4, 2
EPOCHS, BATCH_SIZE, WEIGHTS_LR, ARCHITECTURE_LR = 5, 32, 0.1, 0.02
"""Settings with which DARTS finds the plant; the weight lr is high because there are only 160 steps."""


class PairsOfDots(TinyBatches):
    """Images of one channel and zero mean with the pairs of their class; shuffled as ``TinyBatches`` are."""

    def __init__(self, count: int, seed: int, *, shuffled: bool = True) -> None:
        self.batch_size, self.seed, self.shuffled = BATCH_SIZE, seed, shuffled
        self.labels = torch.arange(count) % CLASSES
        draws = generator(seed, "planted")
        along = torch.randint(SIDE - DISTANCE, (count, PAIRS), generator=draws)
        across = torch.randint(SIDE, (count, PAIRS), generator=draws)
        image = torch.arange(count)[:, None].expand(count, PAIRS)
        vertical = self.labels[:, None] == 1
        dots = torch.zeros(count, 1, SIDE, SIDE)
        for end in (along, along + DISTANCE):
            dots[image, 0, torch.where(vertical, end, across), torch.where(vertical, across, end)] = 1
        self.images = (dots - dots.mean()) / dots.std()


def planted_data(seed: int, count: int = 1024) -> SearchData:
    """Return two halves of ``count`` images that share none but by chance."""
    weights, architecture = 2 * seed, 2 * seed + 1
    return SearchData(
        PairsOfDots(count, weights), PairsOfDots(count, architecture), PairsOfDots(count, architecture, shuffled=False)
    )


def planted_spec(
    channels: int = 8, *, nodes: int = 1, normal: tuple[str, ...] = NORMAL, reduction: tuple[str, ...] = REDUCTION
) -> SupernetSpec:
    """Return three cells, of which the first is normal and the other two can only halve the image.

    Args:
        channels: of the first cell.
        nodes: per cell; with one there are two edges.
        normal: candidates of the normal cell.
        reduction: candidates of the reduction cells.
    """
    topology = Topology(nodes)
    edges = len(topology.edges)
    return SupernetSpec(
        channels, 3, CLASSES, space_of(two(Candidates, (normal,) * edges, (reduction,) * edges), topology), 1
    )


def finds(genotype: Genotype) -> bool:
    """Say whether the planted operation is on at least one edge of the normal cell."""
    return any(choice.operation == PLANTED for node in genotype["normal"].nodes for choice in node)

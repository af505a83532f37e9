"""Every class is divided alike, by a seed, whatever order the files came in."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def stratified(labels_N: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Divide the indices of ``labels_N`` (int64) into ``1 - share`` and ``share`` of every class.

    Returns int64 indices [N - n] and [n]; ``generator`` decides which samples go where.

    Per class the second part is within one of ``share`` times the class, in total it is the nearest whole number,
    except that no class with two samples or more is left out of either part. Both come sorted.
    """
    counts_K = torch.bincount(labels_N)
    return pick(labels_N, counts_K - quotas(counts_K, share), generator)


def pick(labels_N: Tensor, quotas_K: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw ``quotas_K[k]`` samples of each class k; return the sorted indices drawn and not drawn."""
    shuffled_N = torch.randperm(len(labels_N), generator=generator)
    by_class_N = shuffled_N[labels_N[shuffled_N].argsort(stable=True)]
    counts_K = torch.bincount(labels_N, minlength=len(quotas_K))
    starts_K = counts_K.cumsum(0) - counts_K
    sorted_labels_N = labels_N[by_class_N]
    rank_N = torch.arange(len(labels_N)) - starts_K[sorted_labels_N]
    drawn_N = rank_N < quotas_K[sorted_labels_N]
    return by_class_N[drawn_N].sort().values, by_class_N[~drawn_N].sort().values


def quotas(counts_K: Tensor, share: float) -> Tensor:
    """Return ``share`` of each class's count [K] by the largest-remainder rule.

    At least one stays on both sides where a class has two.
    """
    ideal_K = counts_K.double() * share
    quota_K = torch.minimum(ideal_K.floor().long().clamp(min=1), (counts_K - 1).clamp(min=0))
    missing = math.floor(share * int(counts_K.sum()) + 0.5) - int(quota_K.sum())
    remainder_K = (ideal_K - quota_K).masked_fill(quota_K >= counts_K - 1, -1.0)
    for index in remainder_K.argsort(descending=True, stable=True)[: max(missing, 0)].tolist():
        quota_K[index] += int(remainder_K[index] > 0)
    return quota_K


def balanced(counts_K: Tensor, limit: int) -> Tensor:
    """Quotas [K] of at most ``limit`` samples in all, as equal as the classes' ``counts_K`` allow."""
    low, high = 0, int(counts_K.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(counts_K.clamp(max=middle).sum()) <= limit else (low, middle - 1)
    quota_K = counts_K.clamp(max=low)
    roomy = (counts_K > low).nonzero().flatten()[: limit - int(quota_K.sum())]
    quota_K[roomy] += 1
    return quota_K

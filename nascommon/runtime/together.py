"""Tensors that lie one after the other in memory, so that what is done to all of them is one launch.

A launch takes some fifty tensors of a list, and a supernet has well over a thousand weights.

Suffix: ``N`` numbers of all tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def lay_together(tensors: Sequence[Tensor]) -> None:
    """Move dense tensors of one type to one piece of memory, in their order; each stays the object that it is."""
    if tensors:
        flat_N = torch.cat([each.detach().as_strided((each.numel(),), (1,)) for each in tensors])
        for each, part in zip(tensors, torch.split(flat_N, [each.numel() for each in tensors]), strict=True):
            each.data = part.as_strided(each.shape, each.stride())


def as_one(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return dense tensors as one [N], without a copy, if they lie one after the other, as if laid together."""
    if not tensors or not all(map(_follows, tensors, tensors[1:])):
        return None
    return tensors[0].detach().as_strided((sum(each.numel() for each in tensors),), (1,))


def _follows(before: Tensor, after: Tensor) -> bool:
    end = before.storage_offset() + before.numel()
    same = before.untyped_storage() is after.untyped_storage() and before.dtype == after.dtype
    return same and int(after.storage_offset()) == end


def concatenated(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors one after the other [N], each as it is when flattened; what was laid together is not copied."""
    flat_N = as_one(tensors) if all(each.is_contiguous() for each in tensors) else None
    if flat_N is None:
        return torch.cat([each.flatten() for each in tensors])
    out_N: Tensor = _Concatenated.apply(flat_N, *tensors)
    return out_N


class _Concatenated(torch.autograd.Function):
    @staticmethod
    def forward(flat_N: Tensor, *_tensors: Tensor) -> Tensor:
        return flat_N.view_as(flat_N)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del output
        ctx.shapes = [each.shape for each in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        # Views, which weights take as they are for their gradients: these lie together, too.
        parts = torch.split(slopes[0], [shape.numel() for shape in ctx.shapes])
        found = zip(parts, ctx.shapes, ctx.needs_input_grad[1:], strict=True)
        return None, *(part.view(shape) if wanted else None for part, shape, wanted in found)


def joined(*lists: Sequence[Tensor]) -> list[list[Tensor]]:
    """Join what lies together in each of several lists, for what is done number by number.

    Args:
        lists: of tensors of the same shapes, such as weights and their gradients.

    Returns:
        As many lists of fewer and longer tensors, in the order in which those of the first list lie.
    """
    rows = sorted(zip(*lists, strict=True), key=lambda row: row[0].storage_offset())
    runs: list[list[tuple[Tensor, ...]]] = []
    goes_on = False
    for row in rows:
        alike = _lie_alike(row)
        if goes_on and alike and all(map(_follows, runs[-1][-1], row)):
            runs[-1].append(row)
        else:
            runs.append([row])
        goes_on = alike
    found = [[_run(column) for column in zip(*run, strict=True)] for run in runs]
    return [[each[place] for each in found] for place in range(len(lists))]


def _lie_alike(row: Sequence[Tensor]) -> bool:
    """Return whether tensors of one shape are dense and have their numbers in the same order."""
    first = row[0]
    dense = first.is_contiguous() or first.is_contiguous(memory_format=torch.channels_last)
    orders = {tuple(step for step, size in zip(each.stride(), each.shape, strict=True) if size > 1) for each in row}
    return dense and len(orders) == 1


def _run(tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    flat_N = as_one(tensors)
    assert flat_N is not None, "each follows the one before"
    return flat_N

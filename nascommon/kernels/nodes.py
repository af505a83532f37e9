"""The nodes of a cell beside each other in one map, to which whatever enters them is added in place.

A state gives something to several nodes: one product adds it to all of them, where it lies. What a cell hands on is
the whole map, so no node is put beside the others, and no gradient cut from theirs. That of the map is one tensor, too:
what the readers of a node find is added to its part. A node is copied for its readers, who want it dense.

Suffixes: ``B`` batch, ``C`` channels of what is multiplied, ``X`` of a node, ``D`` of all nodes, ``P`` pixels,
``R`` of some neighbouring nodes, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.kernels.bank_launch import pitched
from nascommon.kernels.concatenation import concatenated
from nascommon.kernels.handed import Handed


class Nodes:
    """They are read in their order, each when all that enters it is in."""

    def __init__(self, count: int, channels: int, size: tuple[int, int, int], like: Tensor) -> None:
        """Have so many nodes of X channels.

        Args:
            count: of nodes.
            channels: X.
            size: B, H, W.
            like: gives type and device.
        """
        self.count, self.channels, self.size, self.like = count, channels, size, like
        self._total: Tensor | None = None

    def multiply(self, first: int, factors: Sequence[tuple[Handed, Tensor]]) -> None:
        """Add products to neighbouring nodes, and hand the maps on.

        Args:
            first: of the nodes.
            factors: at least one pair of a map, of which all C channels are read, and a matrix [R, C].
        """
        fills = self._total is None and len(factors[0][1]) == self.count * self.channels
        total = self._empty() if fills else self._there()
        tensors = [each for x, matrix in factors for each in (x.whole_BXHW, matrix)]
        self._total, *handed = _Multiplied.apply(total, first * self.channels, fills, *tensors)
        for (x, _), whole_BXHW in zip(factors, handed, strict=True):
            x.hand_on(whole_BXHW)

    def add(self, node: int, term_BXHW: Tensor) -> None:
        """Add a map to a node."""
        self._total = _Added.apply(self._there(), node * self.channels, term_BXHW)

    def node(self, node: int) -> Tensor:
        """Return a node as it is now [B, X, H, W], dense; without any input it is zero."""
        out: Tensor
        out, self._total = _Taken.apply(self._there(), node * self.channels, self.channels)
        return out

    def beside(self, nodes: Sequence[int]) -> Tensor:
        """Return some nodes beside each other [B, nodes * X, H, W]; nothing is added afterwards."""
        if [*nodes] == [*range(self.count)]:
            whole: Tensor = _Whole.apply(self._there())
            return whole
        parts = [self.node(node) for node in nodes]
        return parts[0] if len(parts) == 1 else concatenated(parts)

    def _there(self) -> Tensor:
        return self._empty().zero_() if self._total is None else self._total

    def _empty(self) -> Tensor:
        B, H, W = self.size
        return torch.empty(
            (B, self.count * self.channels, H, W),
            dtype=self.like.dtype, device=self.like.device, memory_format=torch.channels_last,
        )  # fmt: skip


def _pixels(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1).flatten(0, 2)


class _Multiplied(torch.autograd.Function):
    """Returns beside the sum, whose gradient is that of what it adds to, the maps that it has read.

    A gradient that comes in for a map is what its later readers have found, who made it for this one: where nobody
    looks on, that of the product is added to it in place.
    """

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, fills: bool, *factors: Tensor) -> tuple[Tensor, ...]:
        ctx.channels = start, start + len(factors[1])
        ctx.save_for_backward(*factors)
        ctx.mark_dirty(total_BDHW)
        ctx.set_materialize_grads(False)
        some_PR = _pixels(total_BDHW)[:, slice(*ctx.channels)]
        for place, (x_BCHW, matrix_RC) in enumerate(zip(factors[::2], factors[1::2], strict=True)):
            if fills and place == 0:
                torch.mm(_pixels(x_BCHW), matrix_RC.t(), out=some_PR)
            else:
                some_PR.addmm_(_pixels(x_BCHW), matrix_RC.t())
        return total_BDHW, *(x_BCHW.view_as(x_BCHW) for x_BCHW in factors[::2])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        (slope_BDHW, *handed), wanted, tensors = slopes, ctx.needs_input_grad[3:], ctx.saved_tensors
        found: list[Tensor | None] = [each for of_map in handed for each in (of_map, None)]
        if slope_BDHW is None:
            return None, None, None, *found
        slope_PR = _pixels(slope_BDHW)[:, slice(*ctx.channels)]
        for place, want in enumerate(wanted):
            if want and place % 2:
                found[place] = torch.mm(slope_PR.t(), _pixels(tensors[place - 1]))
            elif want:
                found[place] = _with_product(found[place], slope_PR, tensors[place + 1], tensors[place])
        return slope_BDHW if ctx.needs_input_grad[0] else None, None, None, *found


def _with_product(found_BCHW: Tensor | None, slope_PR: Tensor, matrix_RC: Tensor, like_BCHW: Tensor) -> Tensor:
    """Return the gradient of a map that is multiplied, added to what there is if nobody looks on."""
    if found_BCHW is not None and not torch.is_grad_enabled():
        found_BCHW = pitched(found_BCHW)
        _pixels(found_BCHW).addmm_(slope_PR, matrix_RC)
        return found_BCHW
    B, _, H, W = like_BCHW.shape
    own_BCHW = torch.mm(slope_PR, matrix_RC).view(B, H, W, -1).permute(0, 3, 1, 2)
    return own_BCHW if found_BCHW is None else found_BCHW + own_BCHW


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, term_BXHW: Tensor) -> Tensor:
        ctx.channels, ctx.dtype = (start, start + term_BXHW.shape[1]), term_BXHW.dtype
        total_BDHW[:, slice(*ctx.channels)].add_(term_BXHW)
        ctx.mark_dirty(total_BDHW)
        return total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        # A copy: to that of the whole something else may be added in place before this one is read.
        part_BXHW = slopes[0][:, slice(*ctx.channels)].to(ctx.dtype)
        of_term = part_BXHW.clone(memory_format=torch.channels_last) if ctx.needs_input_grad[2] else None
        return slopes[0], None, of_term


class _Taken(torch.autograd.Function):
    """Copies a node out of the map, which stays what it is; its backward pass adds in place if nobody looks on."""

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, channels: int) -> tuple[Tensor, Tensor]:
        ctx.start, ctx.more = start, total_BDHW.shape[1] - start - channels
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(total_BDHW)  # so that all that is added later comes after this in the graph
        return total_BDHW[:, start : start + channels].clone(memory_format=torch.channels_last), total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, None, None]:
        of_node, of_total = slopes
        if of_node is None:
            return of_total, None, None
        if of_total is None or torch.is_grad_enabled():
            wide = functional.pad(of_node, (0, 0, 0, 0, ctx.start, ctx.more)).contiguous(
                memory_format=torch.channels_last
            )
            return wide if of_total is None else of_total + wide, None, None
        of_total[:, ctx.start : of_total.shape[1] - ctx.more].add_(of_node)
        return of_total, None, None


class _Whole(torch.autograd.Function):
    """The map itself; its gradient is copied once, since others add to it in place."""

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor) -> Tensor:
        ctx.mark_dirty(total_BDHW)
        return total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return slopes[0].clone(memory_format=torch.channels_last)

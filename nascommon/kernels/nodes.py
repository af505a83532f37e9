"""The nodes of a cell beside each other in one map, to which whatever enters them is added in place.

A state gives something to several nodes: one product adds it to all of them, where it lies. Several states, which are
batches one after the other in a map, add theirs each. What a cell hands on is the whole map, so no node is put beside
the others, and no gradient cut from theirs. A node is taken out of the map, handed from reader to reader (``Handed``)
and put back, all of it where it lies. So is its gradient: put back last, the node has its part of the map's, to which
all readers add.

Suffixes: ``B`` batch, ``C`` channels of what is multiplied, ``X`` of a node, ``D`` of all nodes, ``P`` pixels,
``R`` of some neighbouring nodes, ``S`` batches in a map that is multiplied, ``H``, ``W``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nascommon.kernels.bank_launch import pitched
from nascommon.kernels.handed import Handed
from nascommon.kernels.pointwise import by_batch


class Nodes:
    """They are taken in their order, each when all that enters it is in, and put back when all have read it."""

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
        self._next = 0  # those before have been taken

    def begin(self, shift_D: Tensor) -> None:
        """Begin with a number for every channel of all nodes."""
        self._total = self._empty().copy_(shift_D[:, None, None])

    def multiply(self, first: int, factors: Sequence[tuple[Handed, Tensor]]) -> None:
        """Add products to neighbouring nodes, and hand the maps on.

        Args:
            first: of the nodes.
            factors: at least one pair of a map, of which all C channels are read, and a matrix for each batch that lies
                in it, [S, R, C].
        """
        assert first >= self._next
        fills = self._total is None and factors[0][1].shape[1] == self.count * self.channels
        total = self._empty() if fills else self._there()
        tensors = [each for x, matrices in factors for each in (x.whole_BXHW, matrices)]
        self._total, *handed = _Multiplied.apply(total, first * self.channels, fills, *tensors)
        for (x, _), whole_BXHW in zip(factors, handed, strict=True):
            x.hand_on(whole_BXHW)

    def add(self, nodes: Sequence[int], terms_BDHW: Tensor) -> None:
        """Add maps that lie beside each other, each to a node; to neighbouring ones all at once."""
        assert min(nodes) >= self._next
        together = [*nodes] == [*range(nodes[0], nodes[0] + len(nodes))]
        terms = [terms_BDHW] if together else torch.split(terms_BDHW, self.channels, dim=1)
        for node, term in zip(nodes, terms, strict=not together):
            self._total = _Added.apply(self._there(), node * self.channels, term)

    def take(self, node: int) -> Tensor:
        """Return a node as it is now [B, X, H, W], where it lies; without any input it is zero."""
        self._next = node + 1
        out: Tensor
        out, self._total = _Taken.apply(self._there(), node * self.channels, self.channels)
        return out

    def put_back(self, node: int, x_BXHW: Tensor) -> None:
        """Take a node back as its last reader handed it on."""
        self._total = _PutBack.apply(self._there(), node * self.channels, x_BXHW)

    def beside(self, nodes: Sequence[int]) -> Tensor:
        """Return some nodes beside each other [B, nodes * X, H, W]; nothing is added afterwards."""
        out: Tensor = _Outputs.apply(self._there(), nodes, self.count)
        return out

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
        ctx.channels = start, start + factors[1].shape[1]
        ctx.save_for_backward(*factors)
        ctx.mark_dirty(total_BDHW)
        ctx.set_materialize_grads(False)
        some_PR = _pixels(total_BDHW)[:, slice(*ctx.channels)]
        for x_BCHW, matrices_SRC in zip(factors[::2], factors[1::2], strict=True):
            for x_PC, matrix_RC in zip(by_batch(x_BCHW, len(matrices_SRC)), matrices_SRC, strict=True):
                if fills:
                    torch.mm(x_PC, matrix_RC.t(), out=some_PR)
                else:
                    some_PR.addmm_(x_PC, matrix_RC.t())
                fills = False
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
                x_SPC = by_batch(tensors[place - 1], len(tensors[place]))
                found[place] = torch.bmm(slope_PR.t().expand(len(x_SPC), -1, -1), x_SPC)
            elif want:
                found[place] = _with_product(found[place], slope_PR, tensors[place + 1], tensors[place])
        return slope_BDHW if ctx.needs_input_grad[0] else None, None, None, *found


def _with_product(found_BCHW: Tensor | None, slope_PR: Tensor, matrices_SRC: Tensor, like_BCHW: Tensor) -> Tensor:
    """Return the gradient of a map that is multiplied, added to what there is if nobody looks on."""
    slope_SPR = slope_PR.expand(len(matrices_SRC), -1, -1)
    if found_BCHW is not None and not torch.is_grad_enabled():
        found_BCHW = pitched(found_BCHW)
        by_batch(found_BCHW, len(matrices_SRC)).baddbmm_(slope_SPR, matrices_SRC)
        return found_BCHW
    B, _, H, W = like_BCHW.shape
    own_BCHW = torch.bmm(slope_SPR, matrices_SRC).view(B, H, W, -1).permute(0, 3, 1, 2)
    return own_BCHW if found_BCHW is None else found_BCHW + own_BCHW


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, term_BRHW: Tensor) -> Tensor:
        ctx.channels, ctx.dtype = (start, start + term_BRHW.shape[1]), term_BRHW.dtype
        total_BDHW[:, slice(*ctx.channels)].add_(term_BRHW)
        ctx.mark_dirty(total_BDHW)
        return total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        # A copy: dense, and of the gradient of the map nothing is given to those outside.
        part_BRHW = slopes[0][:, slice(*ctx.channels)].to(ctx.dtype)
        of_term = part_BRHW.clone(memory_format=torch.channels_last) if ctx.needs_input_grad[2] else None
        return slopes[0], None, of_term


class _Taken(torch.autograd.Function):
    """Takes a node out of the map; what the gradient of the map has in its place is of no account here.

    That is because ``_PutBack`` has handed it to the readers of the node, as what they begin with.
    """

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, channels: int) -> tuple[Tensor, Tensor]:
        ctx.channels = start, start + channels
        ctx.mark_dirty(total_BDHW)  # so that all that is added later comes after this in the graph
        # The data alone: readers keep it, and autograd would refuse them the node when others have been added to. It
        # counts changes of the map, whose other channels these are; nothing is added to a node that has been taken.
        return total_BDHW[:, slice(*ctx.channels)].data, total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (of_node, of_total), (start, stop) = slopes, ctx.channels
        if torch.is_grad_enabled():
            return torch.cat([of_total[:, :start], of_node, of_total[:, stop:]], dim=1), None, None
        part = of_total[:, start:stop]
        if not _is_the_same(of_node, part):  # autograd has added up what readers found that do not add in place
            part.copy_(of_node)
        return of_total, None, None


def _is_the_same(x_BXHW: Tensor, part_BXHW: Tensor) -> bool:
    """Return whether both are the same part of a map; if they seem not to be, it does no harm to copy it."""
    bases = x_BXHW._base, part_BXHW._base  # noqa: SLF001 -- the public way does not know tensors without data
    there = [(each.storage_offset(), each.stride()) for each in (x_BXHW, part_BXHW)]
    return bases[0] is bases[1] and there[0] == there[1]


class _PutBack(torch.autograd.Function):
    """Puts a node back where it lies; it has its part of the map's gradient, to which its readers may add."""

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, start: int, x_BXHW: Tensor) -> Tensor:
        ctx.channels = start, start + x_BXHW.shape[1]
        ctx.mark_dirty(total_BDHW)
        return total_BDHW

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, Tensor]:
        return slopes[0], None, slopes[0][:, slice(*ctx.channels)]


class _Outputs(torch.autograd.Function):
    """The nodes that a cell hands on; their gradient is copied once, since others add to it in place."""

    @staticmethod
    def forward(ctx: Any, total_BDHW: Tensor, nodes: Sequence[int], count: int) -> Tensor:
        ctx.nodes, ctx.count = [*nodes], count
        if ctx.nodes == [*range(count)]:
            ctx.mark_dirty(total_BDHW)
            return total_BDHW
        parts = total_BDHW.chunk(count, dim=1)
        return torch.cat([parts[node] for node in nodes], dim=1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = slopes
        if ctx.nodes == [*range(ctx.count)]:
            return slope.clone(memory_format=torch.channels_last), None, None
        parts = dict(zip(ctx.nodes, slope.chunk(len(ctx.nodes), dim=1), strict=True))
        nothing = torch.zeros_like(parts[ctx.nodes[0]])
        whole = torch.cat([parts.get(node, nothing) for node in range(ctx.count)], dim=1)
        return whole.contiguous(memory_format=torch.channels_last), None, None

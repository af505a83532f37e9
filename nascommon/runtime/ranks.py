"""One training may be shared by several processes, its ranks, each of which computes its share of every batch.

All take the same step, with the sum of their gradients. Ranks are what ``torchrun`` starts: one for each GPU, on one
machine or many. Where it started none, a process is all there is: every function here then hands back what it was
given, and nothing is computed in another way. A rank does to its share what a process does to one of several pieces of
a batch, and comes to the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nascommon.settings import FEWEST_IN_BATCH_NORM, UserError

P = ParamSpec("P")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Share:
    """Which of so many equal shares of every batch.

    Attributes:
        index: of this one.
        count: of all.
        dealt: whether rows are dealt one by one, so that any stretch of a batch is shared by all; where they are not,
            a share is such a stretch.
    """

    index: int = 0
    count: int = 1
    dealt: bool = field(default=False, compare=False)

    def rows(self, start: int, stop: int) -> slice:
        """Return the share of these rows; sizes differ by at most one, and are those of ``torch.tensor_split``."""
        if self.dealt:
            return slice(start + self.index, stop, self.count)
        size, more = divmod(stop - start, self.count)
        begin = start + self.index * size + min(self.index, more)
        return slice(begin, begin + size + (self.index < more))

    @property
    def fewest(self) -> int:
        """Rows that a share needs, as batch norm sees it alone, or that of all at once."""
        return 1 if self.dealt else FEWEST_IN_BATCH_NORM

    def cuts(self, count: int, rows: int) -> list[int]:
        """Return where to cut a share of so many rows that are dealt, for the batch to fall into pieces of neighbours.

        So it is the batch that is cut, as one process would, and every rank has some rows of each piece: ranks wait for
        each other in every batch norm that sees the whole batch, so all of them must compute as many.

        Args:
            count: pieces; fewer where batch norm would see a single row, or a rank none.
            rows: of the batch.
        """
        count = max(1, min(count, rows // max(FEWEST_IN_BATCH_NORM, self.count)))
        stops = [Share(piece, count).rows(0, rows).stop for piece in range(count - 1)]
        return [len(range(self.index, stop, self.count)) for stop in stops]

    def largest(self, count: int) -> int:
        """Return how many of so many rows the largest share has."""
        return -(-count // self.count)


WHOLE = Share()


@dataclass
class _State:
    """What this process does among ranks.

    Attributes:
        waiting: what is entered whenever it waits for the others.
        synchronised: whether batch norm sees the whole batch where ranks share it.
        sharing: whether they do now, and batch norm with them. What all ranks do alike, such as measuring statistics
            anew, shares no batch.
        alone: whether this process computes for itself.
    """

    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    synchronised: bool = False
    sharing: bool = False
    alone: bool = False


_state = _State()


def while_waiting(context: Callable[[], AbstractContextManager[None]]) -> None:
    """Let this process enter a context whenever it waits for the others."""
    _state.waiting = context


def share() -> Share:
    """Return which share of every batch is this process's."""
    if _state.alone or not (dist.is_available() and dist.is_initialized()):
        return WHOLE
    return Share(dist.get_rank(), dist.get_world_size(), dealt=_state.synchronised)


@contextmanager
def alone() -> Iterator[None]:
    """Let this process compute as if there were no other: what it does for itself, the others do not wait for."""
    before, _state.alone = _state.alone, True
    try:
        yield
    finally:
        _state.alone = before


def first() -> bool:
    """Return whether this process is the one that writes, tracks and prints."""
    return share().index == 0


def first_only(act: Callable[P, None]) -> Callable[P, None]:
    """Let the first rank alone do what need not, or must not, be done by all; the others go on at once."""

    @wraps(act)
    def acting(*args: P.args, **kwargs: P.kwargs) -> None:
        if first():
            act(*args, **kwargs)

    return acting


# -- what ranks do together --


def summed(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the sums over all ranks, the same to the last bit on each, in the type of the tensors.

    All ranks give tensors of the same shapes. They travel in one message.
    """
    if share() == WHOLE or not tensors:
        return tuple(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with _state.waiting():
        dist.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


@torch.no_grad()
def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Replace the gradients of weights, float32 like these, by their sums over all ranks.

    A weight that the step does not reach has none, and it has none on any rank: what a step reaches is drawn alike.
    """
    if share() == WHOLE:
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    for mine, total in zip(gradients, summed(gradients), strict=True):
        mine.copy_(total)


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all ranks. Each adds to the loss, so the gradient is the sum of theirs as well."""

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        (total,) = summed([tensor])
        return total

    @staticmethod
    def backward(_ctx: Any, *slopes: Tensor) -> Tensor:
        return cast("Tensor", _Sum.apply(slopes[0]))


def differentiable_sum(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the sums over all ranks with a graph to the tensors of each, differentiable any number of times."""
    if share() == WHOLE:
        return tuple(tensors)
    flat = cast("Tensor", _Sum.apply(torch.cat([tensor.flatten() for tensor in tensors])))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


def totals(*numbers: float) -> tuple[float, ...]:
    """Return the sums of numbers over all ranks."""
    if share() == WHOLE:
        return numbers
    (sums,) = summed([torch.tensor(numbers, dtype=torch.float64)])
    return tuple(sums.tolist())


def from_first(make: Callable[[], Made]) -> Made:
    """Return what the first rank makes, to all: they need not see the same files."""
    if share() == WHOLE:
        return make()
    made: list[Any] = [make() if first() else None]
    with _state.waiting():
        dist.broadcast_object_list(made)
    return cast("Made", made[0])


def require_alike(held: Mapping[str, Any], what: str) -> None:
    """Compare plain values that every rank must hold alike with those of the first one.

    Args:
        held: by the name that the message gives them.
        what: all ranks need alike, for the message.

    Raises:
        UserError: on all ranks, if one of them holds something else.
    """
    if odd := _odd(held):
        rank, its, firsts = odd
        name, more = next(iter(its)), f", and {len(its) - 1} more differ" if len(its) > 1 else ""
        raise UserError(
            f"{name}: rank {rank} of {share().count} has {its[name]} where rank 0 has {firsts[name]}{more}; give all "
            f"ranks {what}"
        )


def require_equal(when: str, tensors: Mapping[str, Iterable[Tensor]]) -> None:
    """Compare what every rank must hold alike with what the first one holds, bit by bit.

    Args:
        when: for the message, such as ``after epoch 3``.
        tensors: by the name that the message gives them.

    Raises:
        UserError: on all ranks, if one of them holds something else.
    """
    if share() != WHOLE and (odd := _odd({name: _digest(held) for name, held in tensors.items()})):
        raise UserError(
            f"rank {odd[0]} of {share().count} has other {' and '.join(odd[1])} than rank 0 {when}: they do not train "
            "the same network. Give all of them GPUs of one kind and the same PyTorch; the checkpoint of the epoch "
            "before is kept, and the next run goes on from there"
        )


def _odd(mine: Mapping[str, Any]) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """Return the first rank that holds something else than rank 0, and what differs, as both have it."""
    if share() == WHOLE:
        return None
    theirs: list[Any] = [None] * share().count
    with _state.waiting():
        dist.all_gather_object(theirs, mine)
    for rank, its in enumerate(theirs):
        if other := [name for name in {**theirs[0], **its} if its.get(name) != theirs[0].get(name)]:
            return rank, {name: its.get(name) for name in other}, {name: theirs[0].get(name) for name in other}
    return None


def _digest(tensors: Iterable[Tensor]) -> str:
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()


# -- what a share has of its own --


def apart(pieces: Sequence[Made], most: int, device: torch.device) -> Iterator[Made]:
    """Yield the pieces of this rank's share; while one is computed, random numbers are drawn from its own stream.

    So an image meets the same drop-path whoever computes its piece. What is drawn between batches, such as a sampled
    architecture, comes from the global stream, which stays the same on all ranks. A batch in one piece changes nothing.

    Args:
        pieces: of the share.
        most: pieces that a share has at most.
        device: where they are computed. A single process on a GPU goes on with the global stream: its steps are
            recorded, and a recording cannot change streams.
    """
    team = share()
    if team.count * most == 1 or (team == WHOLE and device.type == "cuda"):
        yield from pieces
        return
    number = int(torch.randint(2**62, ()))
    stream = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    for index, piece in enumerate(pieces):
        common = stream.get_state()
        stream.manual_seed(number + team.index * most + index)
        yield piece
        stream.set_state(common)


def synchronise_batch_norm(wanted: bool) -> None:
    """Let batch norm see the whole batch from now on, or the share of its rank."""
    _state.synchronised = wanted


def batch_norm_is_shared() -> bool:
    """Return whether the statistics of a training batch are those of all ranks at the moment."""
    return _state.sharing


@contextmanager
def shared_statistics(*modules: nn.Module) -> Iterator[None]:
    """Let batch norm keep the running statistics of all shares, though each rank sees its own alone.

    Where batch norm is to be synchronised, it is in the block, and there is nothing to be done at its end.

    In N pieces one after the other, a running statistic r becomes (1-m)^N r + sum_k m (1-m)^(N-1-k) s_k, where s_k is
    that of piece k and m the momentum. With the momentum M = 1 - (1-m)^N rank k keeps (1-M) r + M s_k, and the mean of
    these with weights m (1-m)^(N-1-k) / M, whose sum is one, is the same. It is linear, so that once at the end of many
    batches suffices.
    """
    team = share()
    if team == WHOLE:
        yield
        return
    if _state.synchronised:
        _state.sharing = True
        yield
        _state.sharing = False
        return
    norms = [
        (layer, layer.momentum)
        for module in modules
        for layer in module.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.momentum is not None
    ]
    for layer, momentum in norms:
        layer.momentum = 1 - (1 - momentum) ** team.count
    yield
    kept, weighed = [], []
    for layer, momentum in norms:
        weight = momentum * (1 - momentum) ** (team.count - 1 - team.index) / cast("float", layer.momentum)
        layer.momentum = momentum
        for running in (layer.running_mean, layer.running_var):
            if running is not None:
                kept.append(running)
                weighed.append(weight * running)
    for running, mean in zip(kept, summed(weighed), strict=True):
        running.copy_(mean)

"""A stand-in for a CUDA graph that knows of a step what a graph does: its operators, and the numbers of that time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from nascommon.runtime.replay import Input, Step


class Traced:
    """Does the operators of a step again, as they were called, on the same memory; what Python does is not repeated."""

    def __init__(self, step: Step, inputs: tuple[Input, ...]) -> None:
        self.inputs, self._tape = inputs, _Tape()
        # Recording does not execute: what the step changes is put back, and what it draws.
        drawn = torch.get_rng_state()
        with self._tape:
            self.outputs = step(*inputs)
        self._tape.undo()
        torch.set_rng_state(drawn)

    def replay(self) -> None:
        self._tape.play()


class _Tape(TorchDispatchMode):
    """Writes down all operators and what they returned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Batch norm moves running statistics without saying so.
        if function._schema.is_mutable or "batch_norm" in str(function):
            self._before += [(each, each.detach().clone()) for each in tensors((args, kwargs))]
        result = function(*args, **kwargs)
        # The memory alone: a tensor that was held here would be copied where it is taken over for a gradient.
        self._calls.append((function, *tree_map_only(Tensor, Tensor.detach, (args, kwargs, result))))
        return result

    def undo(self) -> None:
        with torch.no_grad():
            for tensor, value in reversed(self._before):
                tensor.copy_(value)
        self._before.clear()

    @torch.no_grad()
    def play(self) -> None:
        for function, args, kwargs, result in self._calls:
            made = function(*args, **kwargs)
            if not function.is_view and not function._schema.is_mutable:
                for mine, new in zip(tensors(result), tensors(made), strict=True):
                    mine.copy_(new)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]

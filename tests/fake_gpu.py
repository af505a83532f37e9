"""A GPU on a machine without one: tensors that know their device, shape and type, and no values.

PyTorch refuses to compute with two of them on different devices, so whatever was left on the CPU is found. Only forward
passes run so; ``tests/search/test_steady.py`` has whole steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascommon.data import batches
from nascommon.data.batch import Batch
from nascommon.runtime.seeding import generator

GPU = torch.device("cuda", 0)


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch, numbers: Sequence[int]) -> Iterator[torch.device]:
    """Make all tensors inside without values, and yield a GPU that they can be on.

    Whoever reads a number from a tensor gets the next one of ``numbers``, round and round.
    """
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "to", moved)
        patch.setattr(batches, "generator", _on_the_host)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
        with FakeTensorMode(allow_non_fake_inputs=True), _Answers(numbers):
            yield GPU


def _on_the_host(seed: int, *names: str | int, device: torch.device) -> torch.Generator:
    del device
    return generator(seed, *names)


def moved(module: nn.Module, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    """Do what ``Module.to`` does, which cannot exchange parameters without values."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            moved = weight.detach().to(device)
            if moved.dim() == len("BCHW"):
                moved = moved.contiguous(memory_format=memory_format)
            setattr(part, name, nn.Parameter(moved, weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer.to(device))
    return module


class _Answers(TorchDispatchMode):
    """Has a number for whoever reads one, and does what there is no fake of."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = itertools.cycle(numbers)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            return next(self.numbers)
        if function is torch.ops.aten._sample_dirichlet.default:
            return torch.empty_like(args[0])
        return function(*args, **(kwargs or {}))


def devices(tree: object) -> set[str]:
    """Return the kinds of devices that the tensors in a tree are on."""
    leaves = [tensor for leaf in tree_leaves(tree) for tensor in (leaf if isinstance(leaf, Batch) else (leaf,))]
    return {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)}

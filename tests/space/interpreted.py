"""Whole supernets by the kernels of a GPU, which Triton's interpreter runs on a CPU, against the plain way in float64.

    TRITON_INTERPRET=1 python -m tests.space.interpreted

What is not written shows: memory that nobody has filled is NaN.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from triton.runtime import interpreter

from nascommon.kernels import bank_launch
from nascommon.kernels.bank_launch import Cut
from nascommon.space.mixing import Mixing
from nascommon.space.space import find_space
from nascommon.space.supernet import Supernet, SupernetSpec
from tests.space.gpu import as_on_a_gpu
from tests.space.plain import plainly
from tests.space.test_fan import some_active
from tests.space.test_supernet import soft

CELLS, CHANNELS, CLASSES, NODES = 2, 4, 5, 3
CLOSE = 1e-3
"""Allowed distance as a share of the length, where batch norms of few numbers lose digits of float32."""
CASES = [(1, True), (2, False)]
"""(parts of the channels of which the candidates see one, whether some candidates are left out)."""


def gradients(way: Callable[[pytest.MonkeyPatch], None], divisor: int, some: bool, dtype: torch.dtype) -> list[Tensor]:
    """Return logits and all gradients, which are the same when they are found again."""
    with pytest.MonkeyPatch.context() as patched:
        way(patched)
        torch.manual_seed(0)
        space = find_space("darts", NODES)
        supernet = Supernet(SupernetSpec(CHANNELS, CELLS, CLASSES, space, channel_divisor=divisor))
        supernet.to(dtype).to(memory_format=torch.channels_last).train()
        mixing = soft(space.candidates)
        drawn = some_active(mixing, random.Random(0)) if some else mixing
        weights = {kind: cell.weights_EO.detach().to(dtype).requires_grad_() for kind, cell in drawn.items()}
        images = torch.randn(2, 3, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
        out = supernet(images, Mixing((kind, replace(cell, weights_EO=weights[kind])) for kind, cell in drawn.items()))
        wanted = [*weights.values(), *supernet.parameters()]
        found, again = (
            torch.autograd.grad((out**2).sum(), wanted, retain_graph=True, materialize_grads=True) for _ in range(2)
        )
        assert all(map(torch.equal, found, again))
        alone = torch.autograd.grad((out**2).sum(), wanted[: len(weights)], materialize_grads=True)
        torch.testing.assert_close(alone, found[: len(weights)])
        return [out.detach(), *found]


def main() -> None:
    """Check that everything is the plain way's."""
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(sanitize_overflow=False)  # half the time
    torch.use_deterministic_algorithms(True)
    cut = Cut(vectors=64, width=4, programs=40)
    for divisor, some in CASES:
        with patch.object(bank_launch, "on_cuda", lambda _: True), patch.object(bank_launch, "CUT", cut):
            found = gradients(as_on_a_gpu, divisor, some, torch.float32)
        expected = gradients(plainly, divisor, some, torch.float64)
        least = 1e-6 * max(float(each.norm()) for each in expected)  # all is rounding where a batch norm follows
        far = [
            float((mine.double() - exact).norm() / max(float(exact.norm()), least))
            for mine, exact in zip(found, expected, strict=True)
        ]
        assert max(far) < CLOSE, (divisor, some, sorted(far)[-5:])
        print(divisor, some, *(f"{each:.1e}" for each in sorted(far)[-3:]))


if __name__ == "__main__":
    main()

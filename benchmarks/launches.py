"""How many kernels a GPU launches for an operator, those included that nobody asked for by name.

An operator that works on lists is cut into launches of so many tensors, a concatenation that CUDA has no kernel for
copies part by part, and convolutions and pools first copy what does not lie densely in channels-last layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, channels_last
from torch.utils._pytree import tree_leaves

KERNELS = {
    "native_batch_norm": 3,
    "native_batch_norm_backward": 2,
    "batch_norm_forward": 2,
    "batch_norm_backward": 2,
    "diag_embed": 2,
    "slice_backward": 2,
}
"""Kernels of an operator that has several."""
OF_A_LIST = {1: 110, 2: 64, 3: 48, 4: 36}
"""Tensors that a launch takes of each of so many lists (``MultiTensorApply.cuh``)."""
JOINED, JOINED_STRIDED = 128, 64
"""Parts of a concatenation that a launch takes, where all are dense and where some are not (``Shape.cu``)."""


def kernels_of(function: Any, args: tuple[Any, ...]) -> int:
    """Return the number of kernels.

    Args:
        function: the operator.
        args: that it is called with.
    """
    kind = function.overloadpacket.__name__
    if kind.startswith(("_foreach", "_fused")):
        lists = [each for each in args if isinstance(each, (list, tuple)) and each and isinstance(each[0], Tensor)]
        return math.ceil(len(lists[0]) / OF_A_LIST[len(lists)])
    count = SPECIAL.get(kind)
    return KERNELS.get(kind, 1) if count is None else count(*args)


def _joined(parts: Sequence[Tensor], *_dim: int) -> int:
    """Return those of a concatenation: one for many parts, or one for each."""
    there = [part for part in parts if part.numel()]
    alike = len({part.dtype for part in parts}) == 1
    if alike and all(map(_dense, there)):
        return math.ceil(len(parts) / JOINED)
    if alike and not any(part.dim() == len("BCHW") and _by_pixel(part) for part in there):
        return math.ceil(len(parts) / JOINED_STRIDED)
    return len(there)


def _by_pixel(x: Tensor) -> bool:
    """Return whether the channels of a pixel lie together."""
    return x.stride(1) == 1 and x.shape[1] > 1


def _dense(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=channels_last) if x.dim() == len("BCHW") else x.is_contiguous()


def _copies(*tensors: Any) -> int:
    """Return how many maps among them an operator in channels-last layout has to copy first."""
    return sum(not _dense(x) for x in tree_leaves(tensors) if isinstance(x, Tensor) and x.dim() == len("BCHW"))


def _convolution(x: Tensor, weight: Tensor, *_rest: Any) -> int:
    return 1 + _copies(x, weight)


def _convolution_backward(slope: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> int:
    of_input, of_weight, _ = rest[-1]
    # Either gradient makes its own copies.
    beside = [other for other, wanted in ((weight, of_input), (x, of_weight)) if wanted]
    return sum(1 + _copies(slope, other) for other in beside)


def _pool_backward(slope: Tensor, *_rest: Any) -> int:
    return 1 + _copies(slope)


SPECIAL: dict[str, Callable[..., int]] = {
    "cat": _joined,
    "stack": _joined,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices_backward": _pool_backward,
    "avg_pool2d_backward": _pool_backward,
}
"""Those of operators that have more or fewer, by what they are given."""

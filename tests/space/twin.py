"""A plain twin of the supernet: every formula of methods.md, section 1, op by op on tensors taken by their names.

Suffixes: ``B`` batch, ``C`` channels, ``H``, ``W``, ``E`` edges, ``O`` operations, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from nascommon.space.mixing import Mixing
from nascommon.space.supernet import SupernetSpec

Weights = Mapping[str, Tensor]


def _norm(x_BCHW: Tensor) -> Tensor:
    """Batch norm by batch statistics, without scale and shift."""
    mean = x_BCHW.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x_BCHW - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return (x_BCHW - mean) / torch.sqrt(variance + 1e-5)


def _factorized_reduce(x_BCHW: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    x_BCHW = x_BCHW.relu()
    first = functional.conv2d(x_BCHW, even)[:, :, ::2, ::2]
    second = functional.conv2d(x_BCHW, odd)[:, :, 1::2, 1::2]
    return _norm(torch.cat([first, second], dim=1))


def _separable(x_BCHW: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (depthwise.shape[-1] // 2)
    x_BCHW = functional.conv2d(
        x_BCHW.relu(), depthwise, stride=stride, padding=padding, dilation=dilation, groups=len(depthwise)
    )
    return _norm(functional.conv2d(x_BCHW, pointwise))


def _pool(name: str, x_BCHW: Tensor, stride: int) -> Tensor:
    if name == "max_pool_3x3":
        return functional.max_pool2d(x_BCHW, 3, stride, 1)
    return functional.avg_pool2d(x_BCHW, 3, stride, 1, count_include_pad=False)


def operation(name: str, x_BCHW: Tensor, weights: list[Tensor], stride: int) -> Tensor:
    """Compute one candidate; ``weights`` in the order of its convolutions."""
    match name, stride:
        case "none", _:
            return 0 * x_BCHW[:, :, ::stride, ::stride]
        case "max_pool_3x3" | "avg_pool_3x3", _:
            return _norm(_pool(name, x_BCHW, stride))
        case "skip_connect", 1:
            return x_BCHW
        case "skip_connect", 2:
            return _factorized_reduce(x_BCHW, *weights)
        case "dil_conv_3x3" | "dil_conv_5x5", _:
            return _separable(x_BCHW, weights[0], weights[1], stride, 2)
        case _:
            halfway = _separable(x_BCHW, weights[0], weights[1], stride, 1)
            return _separable(halfway, weights[2], weights[3], 1, 1)


def _preprocess(x_BCHW: Tensor, weights: list[Tensor]) -> Tensor:
    if len(weights) > 1:
        return _factorized_reduce(x_BCHW, *weights)
    return _norm(functional.conv2d(x_BCHW.relu(), weights[0]))


def twin_logits(spec: SupernetSpec, weights: Weights, images_BCHW: Tensor, mixing: Mixing) -> Tensor:
    """Return the logits [B, K] of the supernet in training mode, whatever is active."""

    def under(prefix: str) -> list[Tensor]:
        return [tensor for name, tensor in weights.items() if name.startswith(prefix + ".")]

    stem = functional.conv2d(images_BCHW, weights["stem.0.0.weight"], padding=1)
    stem = _norm(stem) * weights["stem.0.1.weight"][:, None, None] + weights["stem.0.1.bias"][:, None, None]
    before_last = last = stem
    for k in range(spec.cells):
        reduction = k in (spec.cells // 3, 2 * spec.cells // 3)
        kind = "reduction" if reduction else "normal"
        states = [_preprocess(before_last, under(f"cells.{k}.preprocess0"))]
        states.append(_preprocess(last, under(f"cells.{k}.preprocess1")))
        edge = 0
        for node in range(2, 2 + spec.topology.nodes):
            total: Tensor | float = 0.0
            for source in range(node):
                stride = 2 if reduction and source < 2 else 1
                for o, name in enumerate(getattr(spec.candidates, kind)[edge]):
                    mine = under(f"cells.{k}.edges.{edge}.{name}")
                    weight = getattr(mixing, kind).weights_EO[edge, o]
                    total = total + weight * operation(name, states[source], mine, stride)
                edge += 1
            assert isinstance(total, Tensor)
            states.append(total)
        before_last, last = last, torch.cat(states[2:], dim=1)
    pooled = last.mean(dim=(2, 3))
    return pooled @ weights["classifier.weight"].T + weights["classifier.bias"]

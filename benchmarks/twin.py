"""A plain twin of the supernet: every formula of docs/methods.md, section 2, op by op on tensors taken by their names.

What the library computes is compared with it, in values and in time. Bypass and shuffle are done on every edge, as in
the released code of PC-DARTS.

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


def norm(x_BCHW: Tensor) -> Tensor:
    """Batch norm by batch statistics, without scale and shift."""
    mean = x_BCHW.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x_BCHW - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return (x_BCHW - mean) / torch.sqrt(variance + 1e-5)


def _factorized_reduce(x_BCHW: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    x_BCHW = x_BCHW.relu()
    first = functional.conv2d(x_BCHW, even)[:, :, ::2, ::2]
    second = functional.conv2d(x_BCHW, odd)[:, :, 1::2, 1::2]
    return norm(torch.cat([first, second], dim=1))


def _separable(x_BCHW: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (depthwise.shape[-1] // 2)
    x_BCHW = functional.conv2d(
        x_BCHW.relu(), depthwise, stride=stride, padding=padding, dilation=dilation, groups=len(depthwise)
    )
    return norm(functional.conv2d(x_BCHW, pointwise))


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
            return norm(_pool(name, x_BCHW, stride))
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
    return norm(functional.conv2d(x_BCHW.relu(), weights[0]))


def _shuffled(x_BCHW: Tensor, groups: int) -> Tensor:
    part = x_BCHW.shape[1] // groups
    return x_BCHW[:, [group * part + i for i in range(part) for group in range(groups)]]


class Twin:
    """The supernet in training mode, whose stem is that of CIFAR."""

    def __init__(
        self, spec: SupernetSpec, weights: Weights, mixing: Mixing, found: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        """Take the supernet's weights by name; ``found`` keeps from call to call which names begin alike."""
        self.spec, self.weights, self.mixing = spec, weights, mixing
        self.reductions = (spec.cells // 3, 2 * spec.cells // 3)
        self.found = {} if found is None else found

    def under(self, prefix: str) -> list[Tensor]:
        """Return the weights below a prefix in their order."""
        if prefix not in self.found:
            self.found[prefix] = tuple(name for name in self.weights if name.startswith(prefix + "."))
        return [self.weights[name] for name in self.found[prefix]]

    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits [B, K]."""
        scale, shift = (self.weights[f"stem.0.1.{name}"][:, None, None] for name in ("weight", "bias"))
        stem = norm(functional.conv2d(images_BCHW, self.weights["stem.0.0.weight"], padding=1)) * scale + shift
        before_last = last = stem
        for k in range(self.spec.cells):
            before_last, last = last, self.cell(k, before_last, last)
        return last.mean(dim=(2, 3)) @ self.weights["classifier.weight"].T + self.weights["classifier.bias"]

    def cell(self, k: int, before_last: Tensor, last: Tensor) -> Tensor:
        """Compute cell ``k`` from its two inputs."""
        reduction = k in self.reductions
        active = self.mixing["reduction" if reduction else "normal"].active
        states = [_preprocess(before_last, self.under(f"cells.{k}.preprocess0"))]
        states.append(_preprocess(last, self.under(f"cells.{k}.preprocess1")))
        shrink = 2 if reduction else 1
        edge = 0
        for node in range(2, 2 + self.spec.space.cells.main.topology.nodes):
            total = 0 * states[0][:, :, ::shrink, ::shrink]
            for source in range(node):
                if active is None or active[edge]:
                    total = total + self.edge(k, edge, states[source], shrink if source < 2 else 1)
                edge += 1
            states.append(total)
        return torch.cat(states[2:], dim=1)

    def edge(self, k: int, edge: int, x_BCHW: Tensor, stride: int) -> Tensor:
        """Compute the mixed operation of an edge of cell ``k``."""
        kind = "reduction" if k in self.reductions else "normal"
        cell, K = self.mixing[kind], self.spec.channel_divisor
        part = x_BCHW.shape[1] // K
        mixed, bypass = x_BCHW[:, :part], x_BCHW[:, part:]
        out = 0 * mixed[:, :, ::stride, ::stride]
        for o, name in enumerate(self.spec.space.candidates[kind][edge]):
            if cell.active is None or o in cell.active[edge]:
                mine = self.under(f"cells.{k}.edges.{edge}.{name}")
                out = out + cell.weights_EO[edge, o] * operation(name, mixed, mine, stride)
        if K > 1:
            bypass = functional.max_pool2d(bypass, 2, 2) if stride == 2 else bypass
            out = _shuffled(torch.cat([out, bypass], dim=1), K)
        return out if cell.edges_E is None else cell.edges_E[edge] * out

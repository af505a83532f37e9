"""A network as one readable Python file: its cells spelled out, and of ``given`` and ``plain`` what they need."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pprint import pformat
from typing import Any, cast

from torch import nn

from nascommon.export import given, plain
from nascommon.export.trained import TrainedNetwork, resize_of
from nascommon.settings import UserError
from nascommon.space.genotype import CellGenotype
from nascommon.space.nasbench201 import NasBench201Network, ResidualBlock
from nascommon.space.network import Network, NetworkCell
from nascommon.space.operations import Halves
from nascommon.space.skeleton import SKELETONS

MODULE, WEIGHTS = "classifier.py", "classifier.safetensors"
OPERATIONS = {
    "max_pool_3x3": "max_pool({step})",
    "avg_pool_3x3": "avg_pool({step})",
    "skip_connect": "skip(channels, {step})",
    "sep_conv_3x3": "sep_conv(channels, 3, {step})",
    "sep_conv_5x5": "sep_conv(channels, 5, {step})",
    "sep_conv_7x7": "sep_conv(channels, 7, {step})",
    "dil_conv_3x3": "dil_conv(channels, 3, {step})",
    "dil_conv_5x5": "dil_conv(channels, 5, {step})",
    "conv_7x1_1x7": "conv_7x1_1x7(channels, {step})",
    "nor_conv_1x1": "relu_conv_bn(channels, channels, 1, {step})",
    "nor_conv_3x3": "relu_conv_bn(channels, channels, 3, {step})",
}
"""What builds each operation in ``plain``."""
HEAD = '''\
"""{name}: pictures as they are become probabilities of {classes} classes, in PyTorch alone.

    from classifier import DETAILS, load

    probabilities = load()(pictures)    # [B, K]; gray or RGB, any size, integers to 255 or floats to 1
    names = DETAILS["classes"]

or, with Pillow: python classifier.py PICTURE...
"""
'''
IMPORTS = """
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
"""
LOAD = '''

def load(weights: str | Path = Path(__file__).with_suffix(".safetensors")) -> Classifier:
    """Return the classifier with its weights, on the CPU."""
    network = Network()
    network.load_state_dict(read_safetensors(Path(weights)))
    resize = Resize({size}, {fit!r}, {cover})
    return Classifier(network, resize, {mean}, {std}).eval()


if __name__ == "__main__":
    if not sys.argv[1:]:
        print("usage: python classifier.py PICTURE...", file=sys.stderr)
        sys.exit(2)
    classifier, status = load(), 0
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    for name in sys.argv[1:]:
        try:
            picture = read_picture(name, classifier.channels)
        except ValueError as error:
            print(error)
            status = 2
            continue
        best = classifier.probabilities(picture)[0].topk(min(3, {classes}))
        print(name, *(f"{{DETAILS['classes'][k]}} {{p:.1%}}" for p, k in zip(*map(Tensor.tolist, best))), sep="  ")
    sys.exit(status)
'''


def write_source(trained: TrainedNetwork, details: dict[str, Any]) -> str:
    """Return the source of a module whose ``load`` rebuilds the network from the safetensors file beside it.

    Raises:
        UserError: the network holds an operation, or is of a skeleton, that is not known here.
    """
    told, resize = trained.pictures, resize_of(trained.pictures)
    head = HEAD.format(name=re.sub(r"[^\w.-]", "_", trained.name), classes=len(told.classes))
    body = "".join([*_cells(trained), _frame(trained)]) + LOAD.format(
        size=resize.size, fit=resize.fit, cover=resize.cover, mean=told.mean, std=told.std, classes=len(told.classes)
    )
    listed = f"\nDETAILS: dict[str, Any] = {pformat(details, width=110, sort_dicts=False)}\n"
    return "".join([head, IMPORTS, listed, *_needed(body), body])


@cache
def _blocks() -> dict[str, str]:
    """Return the source of every function, class and constant of ``given`` and ``plain``, in their order."""
    texts = [Path(cast("str", module.__file__)).read_text(encoding="utf-8") for module in (given, plain)]
    found = {}
    for text, node in ((one, node) for one in texts for node in ast.parse(one).body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = node.name
        elif isinstance(node, ast.Assign):
            name = cast("ast.Name", node.targets[0]).id
        else:
            continue
        found[name] = re.sub(r" +# noqa: .*", "", cast("str", ast.get_source_segment(text, node)))
    return found


def _needed(body: str) -> Iterator[str]:
    """Yield the blocks that a text names, and those that these name, in their order."""
    blocks, texts, needed = _blocks(), [body], set[str]()
    while texts:
        words = set(re.findall(r"\w+", texts.pop()))
        new = (blocks.keys() & words) - needed
        needed |= new
        texts += [blocks[name] for name in new]
    return (f"\n\n{text}\n" for name, text in blocks.items() if name in needed)


def _cells(trained: TrainedNetwork) -> Iterator[str]:
    """Yield a class for every kind of cell."""
    skeleton = SKELETONS[trained.genotype.skeleton]
    first = cast("NetworkCell", next(iter(trained.network.cells)))
    for kind, cell in trained.genotype.items():
        yield _cell(kind, cell, halves=kind in skeleton.halving, preprocessed=bool(first.preprocesses))


def _class_of(kind: str) -> str:
    return f"{kind.capitalize()}Cell" if kind != "cell" else "Cell"


def _cell(kind: str, cell: CellGenotype, *, halves: bool, preprocessed: bool) -> str:
    """Return the class of a kind of cell: what it is built of, and its sums spelled out."""
    inputs = [f"s{index}" for index in range(cell.inputs)]
    arguments = [*(f"in{index}" for index in range(cell.inputs)), "channels"] if preprocessed else ["channels"]
    typed = ", ".join(f"{one}: int" for one in arguments)
    last = cell.inputs - 1
    built = [
        f"        self.preprocess{index} = preprocess(in{index}, channels, halves="
        f"{'halved_before' if index < last else False})"
        for index in range(cell.inputs if preprocessed else 0)
    ]
    nodes = [f"            nn.ModuleList([{', '.join(_operations(cell, row, halves=halves))}])," for row in cell.nodes]
    brought = [f"        s{index} = self.preprocess{index}(s{index})" for index in range(len(built))]
    zeros = f"torch.zeros_like(s0[:, :, ::{1 + halves}, ::{1 + halves}])"
    sums = [
        f"        s{state} = "
        + (" + ".join(f"self.nodes[{number}][{at}](s{one.source})" for at, one in enumerate(choices)) or zeros)
        for number, (state, choices) in enumerate(cell.by_state)
    ]
    joined = ", ".join(f"s{state}" for state in cell.concat)
    flag = ", *, halved_before: bool = False" if len(built) > 1 else ""
    return "\n".join([
        "", "",
        f"class {_class_of(kind)}(nn.Module):",
        f'    """The {kind} cell: a node is the sum of operations on states before it."""',
        "",
        f"    def __init__(self, {typed}{flag}) -> None:",
        "        super().__init__()",
        *built,
        "        self.nodes = nn.ModuleList([", *nodes, "        ])",
        "",
        f"    def forward(self, {', '.join(f'{one}: Tensor' for one in inputs)}) -> Tensor:",
        *brought, *sums,
        f"        return torch.cat([{joined}], dim=1)",
        "",
    ])  # fmt: skip


def _operations(cell: CellGenotype, choices: Any, *, halves: bool) -> Iterator[str]:
    for choice in choices:
        if choice.operation not in OPERATIONS:
            raise UserError(
                f"--format: {choice.operation} is not known to python, only {', '.join(OPERATIONS)}; take torch_export"
            )
        yield OPERATIONS[choice.operation].format(step=1 + (halves and choice.source < cell.inputs))


def _frame(trained: TrainedNetwork) -> str:
    """Return the class of the network, every cell on a line."""
    network, frames = trained.network, {Network: _stacked, NasBench201Network: _in_thirds}
    if type(network) not in frames:
        raise UserError(f"--format: python does not know networks of {trained.genotype.skeleton}; take torch_export")
    built, forward = frames[type(network)](trained)
    spec = network.spec
    stem = f"{spec.stem}_stem({spec.image_channels}, {_width(network)})"
    return "\n".join([
        "", "",
        "class Network(nn.Module):",
        f'    """{spec.cells} cells, the first of {spec.channels} channels."""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        f"        self.stem = {stem}",
        *(f"        {line}" for line in built),
        f"        self.classifier = nn.Linear({network.classifier.in_features}, {network.classifier.out_features})",
        "",
        "    def forward(self, images_BCHW: Tensor) -> Tensor:",
        '        """Return logits [B, K]."""',
        *(f"        {line}" for line in forward),
        "",
    ])  # fmt: skip


def _width(network: Network) -> int:
    """Return the channels of the stem's output."""
    norms = [module for module in network.stem[0].modules() if isinstance(module, nn.BatchNorm2d)]
    return norms[-1].num_features


def _stacked(trained: TrainedNetwork) -> tuple[list[str], list[str]]:
    """Return how a network of the DARTS skeleton is built, and what it computes."""
    skeleton, network = SKELETONS[trained.genotype.skeleton], trained.network
    lines = []
    for kind, module in zip(skeleton.stack(network.spec.cells), network.cells, strict=True):
        cell = cast("NetworkCell", module)
        entering = [list(getattr(cell, name))[1] for name in cell.preprocesses]
        sizes = [one.even.in_channels if isinstance(one, Halves) else one.in_channels for one in entering]
        channels = list(getattr(cell, cell.preprocesses[-1]))[2].num_features
        flag = ", halved_before=True" if isinstance(entering[0], Halves) else ""
        lines.append(f"    {_class_of(kind)}({', '.join(map(str, [*sizes, channels]))}{flag}),")
    return ["self.cells = nn.ModuleList([", *lines, "])"], [
        "first: Tensor = self.stem[0](images_BCHW)",
        "states = (first, first if len(self.stem) == 1 else self.stem[1](first))",
        "for cell in self.cells:",
        f"    states = (states[1], cell(*states[{2 - skeleton.inputs}:]))",
        "logits_BK: Tensor = self.classifier(states[1].mean((2, 3)))",
        "return logits_BK",
    ]


def _in_thirds(trained: TrainedNetwork) -> tuple[list[str], list[str]]:
    """Return how a network of NAS-Bench-201 is built, and what it computes."""
    network = cast("NasBench201Network", trained.network)
    each, channels = network.spec.cells // (1 + len(network.blocks)), network.spec.channels
    blocks = [cast("ResidualBlock", block).shortcut[1] for block in network.blocks]
    sizes = [(cast("nn.Conv2d", conv).in_channels, cast("nn.Conv2d", conv).out_channels) for conv in blocks]
    (kind,) = trained.genotype
    widths = [channels, *(wide for _, wide in sizes)]
    return [
        "self.cells = nn.ModuleList([",
        *(f"    {_class_of(kind)}({width})," for width in widths for _ in range(each)),
        "])",
        "self.blocks = nn.ModuleList([",
        *(f"    ResidualBlock({narrow}, {wide})," for narrow, wide in sizes),
        "])",
        f"self.last = nn.Sequential(nn.BatchNorm2d({widths[-1]}), nn.ReLU())",
    ], [
        "state: Tensor = self.stem[0](images_BCHW)",
        "for index, cell in enumerate(self.cells):",
        f"    if index and index % {each} == 0:",
        f"        state = self.blocks[index // {each} - 1](state)",
        "    state = cell(state)",
        "logits_BK: Tensor = self.classifier(self.last(state).mean((2, 3)))",
        "return logits_BK",
    ]

"""The authors' own code, from a checkout of theirs, runs on today's PyTorch and is told nothing about it.

Nothing of it is copied or changed on disk. While it runs on a CPU, ``cuda`` does nothing; the argument orders that it
uses are deprecated and still work. What a step consists of follows the train_search.py and train.py beside it, whose
command lines cannot be imported; the accuracies that they print now and then are left out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.plain import Halves
from benchmarks.timing import Step
from nascommon.data.batch import Batch
from nascommon.method import Method
from nascommon.parts.choices import Unrolled
from nascommon.runtime.revision import revision
from nascommon.training.settings import TrainingSettings

Kind = Literal["darts", "pcdarts", "pdarts"]
REPOSITORIES: dict[Kind, str] = {
    "darts": "quark0/darts",
    "pcdarts": "yuhuixu1993/PC-DARTS",
    "pdarts": "chenxin061/pdarts",
}
NAMES = ("genotypes", "utils", "operations", "model", "model_search", "architect", "visualize")
"""Modules of a checkout; so general that they must not stay importable."""
CLASSES = 10
EDGES = 14


@dataclass(frozen=True)
class Released:
    """The imported modules of a checkout."""

    kind: Kind
    revision: str
    modules: dict[str, ModuleType]

    @property
    def name(self) -> str:
        """Repository and commit."""
        return f"{REPOSITORIES[self.kind]} ({self.revision})"


def load(checkout: Path) -> Released:
    """Import a checkout and leave nothing of it behind on the path or among the modules.

    Raises:
        ValueError: it is none of the three known repositories.
    """
    folder = checkout / "cnn" if (checkout / "cnn" / "model_search.py").is_file() else checkout
    kind = _kind(folder)
    kept = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    writes = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        with warnings.catch_warnings(action="ignore"):
            wanted = [name for name in NAMES if name != "visualize" and (folder / f"{name}.py").is_file()]
            modules = {name: importlib.import_module(name) for name in wanted}
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))
        for name in NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
    return Released(kind, str(revision(checkout)), modules)


def _kind(folder: Path) -> Kind:
    path = folder / "model_search.py"
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    if "switches" in source:
        return "pdarts"
    if "betas" in source:
        return "pcdarts"
    if "alphas_normal" in source:
        return "darts"
    raise ValueError(f"{folder}: not a checkout of {', '.join(REPOSITORIES.values())}")


@contextlib.contextmanager
def as_then(device: torch.device) -> Iterator[None]:
    """Give the released code what it takes for granted: a GPU, and cudnn that tries out its algorithms."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True))
        if device.type == "cpu":
            stack.enter_context(patch.object(Tensor, "cuda", _itself))
            stack.enter_context(patch.object(nn.Module, "cuda", _itself))
            stack.enter_context(patch.object(torch.cuda, "FloatTensor", torch.FloatTensor))
        yield


def _itself(it: Any, *_arguments: Any, **_options: Any) -> Any:
    return it


def _then(device: torch.device, step: Step) -> Step:
    def run() -> None:
        with as_then(device):
            step()

    return run


def _build(device: torch.device, make: Callable[[], nn.Module]) -> Any:
    """Build a network of theirs, which prints its widths, in training mode."""
    with as_then(device), contextlib.redirect_stdout(io.StringIO()):
        return make().to(device).train()


def supernet(released: Released, channels: int, cells: int, device: torch.device) -> Any:
    """Return the network that a search of theirs trains; that of P-DARTS as in its first phase, all candidates on."""
    network, primitives = released.modules["model_search"].Network, released.modules["genotypes"].PRIMITIVES
    options = {}
    if released.kind == "pdarts":
        everything = [[True] * len(primitives) for _ in range(EDGES)]
        options = {"switches_normal": everything, "switches_reduce": everything, "p": 0.0}
    criterion = nn.CrossEntropyLoss().to(device)
    return _build(device, lambda: network(channels, CLASSES, cells, criterion, **options))


def search_step(released: Released, method: Method, data: Halves, device: torch.device) -> Step:
    """Return a whole bilevel step of theirs: architecture step, then weight step."""
    phase = method.phases[0]
    network = supernet(released, phase.channels, phase.cells, device)
    logits = {id(tensor) for tensor in network.arch_parameters()}
    weights = [parameter for parameter in network.parameters() if id(parameter) not in logits]
    settings = method.weights
    optimiser = torch.optim.SGD(weights, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    criterion = nn.CrossEntropyLoss().to(device)
    step_architecture = (_own_adam if released.kind == "pdarts" else _architect)(
        released, network, method, data, optimiser
    )

    def step() -> None:
        step_architecture()
        optimiser.zero_grad()
        loss = criterion(network(data.train.images), data.train.labels)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, settings.clip)
        optimiser.step()

    return _then(device, step)


def _architect(released: Released, network: Any, method: Method, data: Halves, optimiser: torch.optim.SGD) -> Step:
    """DARTS and PC-DARTS: a class of their own."""
    settings, learned = method.weights, method.arch_gradient
    assert learned is not None
    arguments = SimpleNamespace(
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        arch_learning_rate=learned.optimiser.lr,
        arch_weight_decay=learned.optimiser.weight_decay,
    )
    architect = released.modules["architect"].Architect(network, arguments)
    unrolled = isinstance(learned.approximation, Unrolled)
    return lambda: architect.step(*data.train, *data.valid, settings.lr, optimiser, unrolled=unrolled)


def _own_adam(_released: Released, network: Any, method: Method, data: Halves, _optimiser: torch.optim.SGD) -> Step:
    """P-DARTS: Adam in the training loop itself, and a clipped gradient."""
    assert method.arch_gradient is not None
    logits, settings = network.arch_parameters(), method.arch_gradient.optimiser
    assert settings.clip is not None
    betas = (settings.beta1, settings.beta2)
    adam = torch.optim.Adam(logits, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)
    criterion, clip = nn.CrossEntropyLoss(), settings.clip

    def step() -> None:
        adam.zero_grad()
        criterion(network(data.valid.images), data.valid.labels).backward()
        nn.utils.clip_grad_norm_(logits, clip)
        adam.step()

    return step


def retrain_step(
    released: Released, channels: int, cells: int, batch: Batch, settings: TrainingSettings, drop_path: float
) -> Step:
    """Return a training step of their stand-alone network of DARTS_V2, auxiliary head included."""
    device, genotype = batch.images.device, released.modules["genotypes"].DARTS_V2
    make = released.modules["model"].NetworkCIFAR
    network = _build(device, lambda: make(channels, CLASSES, cells, True, genotype))
    network.drop_path_prob = drop_path
    optimiser = torch.optim.SGD(
        network.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    criterion = nn.CrossEntropyLoss().to(device)

    def step() -> None:
        optimiser.zero_grad()
        logits, auxiliary = network(batch.images)
        loss = criterion(logits, batch.labels) + settings.auxiliary_weight * criterion(auxiliary, batch.labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()

    return _then(device, step)


def transform(released: Released, cutout: int) -> Any:
    """Return their augmentation of CIFAR-10: PIL picture -> tensor."""
    make = getattr(released.modules["utils"], "_data_transforms_cifar10")  # noqa: B009 -- private in their file
    return make(SimpleNamespace(cutout=cutout > 0, cutout_length=cutout))[0]

"""Operators that a step gives to a GPU, counted on tensors without data: no GPU is needed, and nothing is computed.

    python -m benchmarks.counts
    python -m benchmarks.counts --methods darts,pcdarts --out counts.json

Views, and memory that is not filled, launch nothing and are not counted. An operator is one kernel or a few: PyTorch's
profiler on a GPU found 1.6 kernels an operator in DARTS. Adam's step on the two tensors of logits is left out; SGD and
the clipping of gradients count as the lists of tensors that they take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch.optim import optimizer
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cases import NHWC, Search, Sizes, bilevel, method_record, training_way
from benchmarks.plain import Halves
from benchmarks.timing import Step
from nascommon.data.batch import Batch
from nascommon.kernels.home import laid_out, meta_stands_for
from nascommon.runtime.artefacts import write_json

META = torch.device("meta")
RETRAIN = "retrain"
RETRAIN_BATCH = 96
PAPERS = Sizes(channels=16, cells=8, retrain_channels=36, retrain_cells=20, side=32, pictures=0)
FIRST = 12
"""Kinds of operators that the command prints, those that are most."""
LAUNCH_NOTHING = ("empty", "_unsafe_view")
"""Parts of the names of operators that no kernel belongs to, beside views."""
FOREACH = "_get_foreach_kernels_supported_devices"


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kind = func.overloadpacket.__name__
        if not func.is_view and func.namespace == "aten" and not any(name in kind for name in LAUNCH_NOTHING):
            self.kinds[kind] += 1
        return laid_out(func, func(*args, **(kwargs or {})))


@contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """Let tensors without data be treated as those of a GPU, by this library and by PyTorch's optimisers."""
    with ExitStack() as stack:
        stack.enter_context(meta_stands_for("cuda"))
        for module in (optimizer, _foreach_utils):
            stack.enter_context(patch.object(module, FOREACH, lambda: ["meta"]))
        yield


def counts(name: str, sizes: Sizes = PAPERS) -> Counter[str]:
    """Return how often a step gives each kind of operator to a GPU.

    Args:
        name: of a method, whose bilevel step it is; ``RETRAIN`` is a training step of the stand-alone network.
        sizes: of the networks.
    """
    with _as_on_a_gpu():
        step = _training_step(sizes) if name == RETRAIN else _search_step(name, sizes)
        step()  # the optimisers make their state
        with _Counted() as counted:
            step()
    kinds: Counter[str] = counted.kinds
    return kinds


def _search_step(name: str, sizes: Sizes) -> Step:
    method = method_record(name, sizes)
    halves = Halves(*(_batch(method.batch_size, sizes.side) for _ in range(2)))
    state = Search(method, halves, META, sizes.nodes).state(NHWC, "bfloat16")
    if state.arch_optimiser is not None:
        state.arch_optimiser.step = lambda *_: None  # type: ignore[method-assign] # meta is not ``capturable``
    step = bilevel(state)
    return lambda: step(halves.train, halves.valid)


def _training_step(sizes: Sizes) -> Step:
    return training_way(sizes, _batch(RETRAIN_BATCH, sizes.side), "bfloat16")


def _batch(size: int, side: int) -> Batch:
    return Batch(torch.empty(size, 3, side, side, device=META), torch.empty(size, dtype=torch.long, device=META))


def listed(kinds: Mapping[str, int]) -> str:
    """Return the kinds that are most, in a line."""
    return ", ".join(f"{kind} {count}" for kind, count in Counter(kinds).most_common(FIRST))


def main(
    methods: Annotated[str, typer.Option(help="methods, and retrain for a training step")] = "darts,pcdarts,retrain",
    out: Annotated[Path | None, typer.Option(help="JSON file of all counts")] = None,
) -> None:
    """Count the operators of a step at the papers' sizes."""
    found = {}
    for name in methods.split(","):
        kinds = found[name] = counts(name)
        typer.echo(f"{name}: {kinds.total()} operators; {listed(kinds)}")
    if out is not None:
        write_json(out, found)


if __name__ == "__main__":
    typer.run(main)

"""Operators that a step gives to a GPU, counted on tensors without data: no GPU is needed, and nothing is computed.

    python -m benchmarks.counts
    python -m benchmarks.counts --methods darts,pcdarts --out counts.json

Views, and memory that is not filled, launch nothing and are not counted. Adam's step on the two tensors of logits is
left out; SGD, fused as on a GPU, and the clipping of gradients count as the lists of tensors that they take.

From the counts comes a prediction: every operator is one kernel or a few, and takes ``KERNEL_SECONDS`` for each or the
time in which its bytes can be read and written, whichever is longer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch.optim import optimizer
from torch.optim import sgd as pytorch_sgd
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cases import NHWC, Search, Sizes, bilevel, method_record, network_way, training_way
from benchmarks.kernels import bytes_of
from benchmarks.launches import kernels_of
from benchmarks.plain import Halves
from benchmarks.timing import Step
from nascommon.data.batch import Batch
from nascommon.kernels.home import laid_out, meta_stands_for
from nascommon.runtime.artefacts import write_json
from nascommon.search.state import SearchState
from nascommon.space.network import NetworkSpec
from nascommon.training.settings import TrainingSettings

META = torch.device("meta")
RETRAIN = "retrain"
RETRAIN_BATCH = 96
PAPERS = Sizes(channels=16, cells=8, retrain_channels=36, retrain_cells=20, side=32, pictures=0)
KERNEL_SECONDS = 5e-6
"""Time of a small kernel, as measured on an H200: 18,101 kernels took 94 ms."""
BYTES_PER_SECOND = 4.3e12
"""Bandwidth of an H200's memory."""
PRODUCTS_PER_SECOND = 4e12
"""Products that our depthwise kernels add up: some three instructions each on all lanes of an H200, half the time."""
READINGS = {
    "native_batch_norm": 2, "native_batch_norm_backward": 1.5, "batch_norm_forward": 1.5, "batch_norm_backward": 5 / 3,
}  # fmt: skip
"""Times that an operator moves its bytes, where it reads them for its sums and again for its result."""
FIRST = 12
"""Kinds of operators that the command prints, those that are most."""
LAUNCH_NOTHING = ("empty", "_unsafe_view")
"""Parts of the names of operators that no kernel belongs to, beside views."""
GIVEN = ("aten", "nascommon")
"""Namespaces of operators, PyTorch's and our own."""
FOREACH = "_get_foreach_kernels_supported_devices"
LIBRARY = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
LIBRARY.impl("_fused_sgd_", lambda *_args, **_options: None, "Meta")  # type: ignore[no-untyped-call]


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators by name and the kernels of all of them, and predicts how many seconds these take.

    Attributes:
        kinds: operators that launch something, by name.
        kernels: of all of them.
        seconds: that these are predicted to take.
        dispatched: operators in all, views and memory that is not filled included.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: Counter[str] = Counter()
        self.kernels = self.dispatched = 0
        self.seconds = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = laid_out(func, func(*args, **(kwargs or {})))
        kind = func.overloadpacket.__name__
        self.dispatched += 1
        if not func.is_view and func.namespace in GIVEN and not any(name in kind for name in LAUNCH_NOTHING):
            self.kinds[kind] += 1
            kernels = kernels_of(func, args)
            self.kernels += kernels
            moved = READINGS.get(kind, 1) * (bytes_of((args, kwargs)) + bytes_of(result))
            arithmetic = products_of(kind, args) / PRODUCTS_PER_SECOND
            self.seconds += max(kernels * KERNEL_SECONDS, moved / BYTES_PER_SECOND, arithmetic)
        return result


def products_of(kind: str, args: Sequence[Any]) -> int:
    """Return how many products an operator of our own adds up, 0 for one of PyTorch's."""
    if not kind.startswith("bank_"):
        return 0
    # The kernels (or their gradients, by parts) of a batch meet the pixels of its output, those of the input in its
    # gradient.
    kernels, met, batches = {
        "bank_forward": lambda: (args[1].numel(), args[2], args[8]),
        "bank_input_gradient": lambda: (args[1].numel(), args[3], args[9]),
        "bank_kernel_gradient": lambda: (args[2].shape[1], args[0], args[8]),
    }[kind]()
    return int(kernels * met.numel() // met.shape[1] // batches)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let tensors without data be treated as those of a GPU, by this library and by PyTorch's optimisers."""
    with ExitStack() as stack:
        stack.enter_context(meta_stands_for("cuda"))
        for module in (optimizer, _foreach_utils):
            stack.enter_context(patch.object(module, FOREACH, lambda: ["meta"]))
        stack.enter_context(patch.object(pytorch_sgd, "_multi_tensor_sgd", _fused_sgd))
        yield


def _fused_sgd(weights: list[torch.Tensor], slopes: list[torch.Tensor], *_rest: Any, **_options: Any) -> None:
    """Take the step that SGD takes on a GPU, on tensors without data."""
    sums = [torch.empty_like(each) for each in weights]
    torch._fused_sgd_(
        weights, slopes, sums,
        weight_decay=0, momentum=0, lr=0, dampening=0, nesterov=False, maximize=False, is_first_step=False,
    )  # fmt: skip


def counts(name: str, sizes: Sizes = PAPERS) -> Counted:
    """Return how often a step gives each kind of operator to a GPU, its kernels, and the seconds predicted for it.

    Args:
        name: of a method, whose bilevel step it is; ``RETRAIN`` is a training step of the stand-alone network.
        sizes: of the networks.
    """
    return counted_of(lambda: step_of(name, sizes))


def step_of(name: str, sizes: Sizes = PAPERS) -> Step:
    """Return that step on tensors without data, to be made and taken with ``as_on_a_gpu``."""
    return _training_step(sizes) if name == RETRAIN else _search_step(name, sizes)


def network_counts(spec: NetworkSpec, settings: TrainingSettings, batch_size: int, side: int) -> Counted:
    """Count a training step of a stand-alone network of any size, on pictures of ``side`` pixels."""
    return counted_of(lambda: network_way(spec, settings, batch_of(batch_size, side)))


def counted_of(make: Callable[[], Step]) -> Counted:
    """Count the second of two steps."""
    with as_on_a_gpu():
        step = make()
        step()  # the optimisers make their state
        counted = Counted()
        with counted:
            step()
    return counted


def _search_step(name: str, sizes: Sizes) -> Step:
    method = method_record(name, sizes)
    halves = Halves(*(batch_of(method.batch_size, sizes.side) for _ in range(2)))
    state = Search(method, halves, META, sizes.nodes).state(NHWC, "bfloat16")
    leave_adam_out(state)
    step = bilevel(state)
    return lambda: step(halves.train, halves.valid)


def leave_adam_out(state: SearchState) -> None:
    """Let the logits of a state without data stay what they are."""
    if state.arch_optimiser is not None:
        state.arch_optimiser.step = lambda *_: None  # type: ignore[method-assign] # meta is not ``capturable``


def _training_step(sizes: Sizes) -> Step:
    return training_way(sizes, batch_of(RETRAIN_BATCH, sizes.side), "bfloat16")


def batch_of(size: int, side: int) -> Batch:
    """Return pictures without data."""
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
        step = counts(name)
        operators, kernels, milliseconds = step.kinds.total(), step.kernels, 1e3 * step.seconds
        found[name] = {"operators": step.kinds, "kernels": kernels, "predicted_ms": milliseconds}
        most = listed(step.kinds)
        typer.echo(f"{name}: {operators} operators, {kernels} kernels, {milliseconds:.1f} ms predicted; {most}")
    if out is not None:
        write_json(out, found)


if __name__ == "__main__":
    typer.run(main)

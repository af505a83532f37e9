"""Is what a device computes right? Asked before anybody looks at how fast it is.

Four questions to a method on a device: does the supernet equal the plain twin in float64, is its gradient in float32
the twin's, too, do recorded steps lead where eager ones lead in float32, and does bfloat16 stay close to float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from benchmarks.cases import bilevel
from benchmarks.twin import Twin
from nascommon.data.batch import Batch
from nascommon.runtime.replay import CudaRecording, Input, Recording, Replay, Step
from nascommon.search.state import SearchState
from nascommon.space.mixing import Mixing
from nascommon.space.precision import Precision

STEPS = 5
"""Two eager ones, and three replayed of those that can be recorded."""
TWIN_TOLERANCE = 1e-8
"""Largest difference from the plain twin in float64, relative to the largest number of the same tensor."""
ROUNDING_TOLERANCE = 0.01
"""Allowed distance of the whole gradient in float32 from the twin's in float64, as a share of its length.

Rounding makes 1e-4 with 3 cells. The question is not that of float64: cuDNN has no channels-last kernels of float64, so
that there maps are in another layout and other kernels compute. A pool whose gradient is wrong in channels-last layout
makes 0.04 of PC-DARTS and 0.4 of DARTS.
"""
REPLAY_TOLERANCE, REPLAY_LOSS_TOLERANCE = 0.05, 1e-3
"""Allowed shares of the way that weights, logits and statistics come in ``STEPS`` steps, and of the losses.

A change of the pictures by eight units in the last place of float32 makes 1e-6 to 0.02 of the way with 3 cells (0.08
with 8): the path bends where a ReLU or a maximum changes sides. Pictures or random numbers of another step make 0.5 and
more.
"""
BFLOAT16_TOLERANCE = 0.25
"""The same for losses and statistics in bfloat16, measured on a CPU: 1e-3 to 0.1 with one draw.

Those of DrNAS depend on its mixing weights: ten draws make 0.063 to 0.153, 0.095 in the mean with a deviation of 0.027;
a GPU draws others than a CPU.
"""
ASTRAY_TOLERANCE = 0.03
"""Share of the tensors whose gradient in bfloat16 may differ from that in float32 by more than its length: none in most
methods, 2 % in PC-DARTS with two mixed channels. A kernel that is wrong for one kind of candidate makes 5 %."""

Pairs = Sequence[tuple[Batch, Batch]]
"""Batches of the weight half and of the architecture half, a pair a step."""
Make = Callable[[Precision], SearchState]
"""Makes the same fresh state every time, in training mode."""
Record = Callable[[Step, tuple[Input, ...]], Recording]
Position = Mapping[str, Tensor]
"""Position of a search: vectors of float64 on the CPU, by what they hold."""


@dataclass(frozen=True)
class Verdict:
    """Differences of a method from its twins; see the constants of this module."""

    twin: float
    """Largest difference from the plain twin in float64."""
    rounded: float
    """Distance of the gradient in float32 from that of the plain twin in float64, as a share of its length."""
    replayed: float
    """Distance of repeated from eager float32 steps, as a share of the way come."""
    replayed_loss: float
    recordings: int
    """CUDA graphs made in ``STEPS`` steps."""
    bfloat16: float
    """Distance of repeated bfloat16 steps from eager float32 ones: losses and statistics."""
    astray: float
    """Share of the tensors whose gradient in bfloat16 has little to do with that in float32."""

    @property
    def passed(self) -> bool:
        """Return whether the speed of such steps is worth knowing; NaN is not."""
        found = (self.twin, self.rounded, self.replayed, self.replayed_loss, self.bfloat16, self.astray)
        allowed = (
            TWIN_TOLERANCE, ROUNDING_TOLERANCE, REPLAY_TOLERANCE, REPLAY_LOSS_TOLERANCE, BFLOAT16_TOLERANCE,
            ASTRAY_TOLERANCE,
        )  # fmt: skip
        return all(each <= most for each, most in zip(found, allowed, strict=True))

    def as_dict(self) -> dict[str, float | bool]:
        """Return the figures and the verdict as JSON."""
        return {**asdict(self), "passed": self.passed}


def judge(make: Make, pairs: Pairs, record: Record | None = None) -> Verdict:
    """Ask a method all four questions.

    Args:
        make: the method's fresh state on the device.
        pairs: ``STEPS`` of them, on the device.
        record: makes recordings; by default CUDA graphs on a GPU, and none elsewhere.
    """
    device = pairs[0][0].images.device
    if record is None and device.type == "cuda":
        record = CudaRecording
    with exact_numbers():
        start = position(make("float32"))
        eager, _ = train_steps(make("float32"), pairs, None)
        same, recordings = train_steps(make("float32"), pairs, record)
        narrow, _ = train_steps(make("bfloat16"), pairs, record)
        exact, rounded = from_twin(make("float32"), pairs[0][0]), rounding(make("float32"), pairs[0][0])
        lost = astray(*(gradients(make(precision), pairs[0][0]) for precision in ("bfloat16", "float32")))
    moved, close = deviations(same, eager, start), deviations(narrow, eager, start)
    loss = moved.pop("losses")
    bfloat16 = largest([close["losses"], close["statistics"]])
    return Verdict(exact, rounded, largest(moved.values()), loss, recordings, bfloat16, lost)


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Compute float32 products in float32, and the same every time."""
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = tf32


def train_steps(state: SearchState, pairs: Pairs, record: Record | None) -> tuple[Position, int]:
    """Take a bilevel step on every pair; return where the search is then, losses included, and recordings made."""
    made = []

    def counted(step: Step, inputs: tuple[Input, ...]) -> Recording:
        assert record is not None
        made.append(record(step, inputs))
        return made[-1]

    step: Step = bilevel(state)
    if record is not None:
        step = Replay(step, steady=lambda: not state.varies, record=counted)
    torch.manual_seed(0)  # samplers and dropout draw from the global generator
    losses = [step(train, valid)[0].clone() for train, valid in pairs]
    return {**position(state), "losses": torch.stack(losses).double().cpu()}, len(made)


def position(state: SearchState) -> dict[str, Tensor]:
    """Return where a search is."""
    parts: dict[str, list[Tensor]] = {
        "weights": list(state.supernet.parameters()),
        "logits": list(state.logits.tensors()),
        "statistics": [buffer for buffer in state.supernet.buffers() if buffer.is_floating_point()],
    }
    return {name: torch.cat([part.detach().double().flatten().cpu() for part in each]) for name, each in parts.items()}


def deviations(ours: Position, theirs: Position, start: Position) -> dict[str, float]:
    """Return how far two places are from each other, as a share of the way from the start to ``theirs``.

    Losses, which have no start, are compared with their size. What theirs has not moved must not have moved.
    """
    shares = {}
    for name, there in theirs.items():
        way = float((there - start[name] if name in start else there).norm())
        distance = float((ours[name] - there).norm())
        shares[name] = distance / way if way else distance
    return shares


def from_twin(state: SearchState, batch: Batch) -> float:
    """Return the largest relative difference of outputs and all gradients from the plain twin's, in float64.

    Without dropout on skips, which the twin does not know.
    """
    state.supernet.double().set_skip_dropout(0.0)
    for tensor in state.logits.tensors():
        tensor.data = tensor.data.double()
    return largest(_relative(mine, other) for mine, other in with_twin(state, batch.images.double()))


def rounding(state: SearchState, batch: Batch) -> float:
    """Return the distance of the gradient in float32 from the plain twin's in float64, as a share of its length.

    That is the gradient of weights and logits together, in the layout in which they are trained.
    """
    state.supernet.set_skip_dropout(0.0)
    pairs = with_twin(state, batch.images)[1:]
    ours, theirs = (torch.cat([slope.double().flatten() for slope in slopes]) for slopes in zip(*pairs, strict=True))
    return float((ours - theirs).norm() / theirs.norm())


def with_twin(state: SearchState, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the outputs and all gradients under the first draw, each beside that of the plain twin in float64."""
    torch.manual_seed(0)
    mixing = state.draw("architecture")
    weights = {name: weight.double() for name, weight in state.supernet.named_parameters()}
    twin = Twin(state.spec, weights, _in_float64(mixing))
    outputs = state.supernet(images, mixing), twin.logits(images.double())
    return list(zip(*([out.detach(), *_slopes(state, out)] for out in outputs), strict=True))


def _in_float64(mixing: Mixing) -> Mixing:
    return Mixing(
        (
            kind,
            replace(
                cell,
                weights_EO=cell.weights_EO.double(),
                edges_E=None if cell.edges_E is None else cell.edges_E.double(),
            ),
        )
        for kind, cell in mixing.items()
    )


def gradients(state: SearchState, batch: Batch) -> list[Tensor]:
    """Return the gradients of all weights and logits under the first draw, without dropout on skips."""
    state.supernet.set_skip_dropout(0.0)
    torch.manual_seed(0)
    return _slopes(state, state.supernet(batch.images, state.draw("architecture")))


def _slopes(state: SearchState, out_BK: Tensor) -> list[Tensor]:
    """Return the gradients of a weighted sum of the outputs, in which no two weigh the same."""
    slope = torch.linspace(-1, 1, out_BK.numel(), dtype=out_BK.dtype, device=out_BK.device).view_as(out_BK)
    wanted = [*state.supernet.parameters(), *state.logits.tensors()]
    return list(torch.autograd.grad((out_BK * slope).sum(), wanted, retain_graph=True, materialize_grads=True))


def astray(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Return the share of tensors that differ from theirs by more than its length, as one without relation does."""
    lost = [not bool((mine - other).norm() <= other.norm()) for mine, other in zip(ours, theirs, strict=True)]
    return sum(lost) / len(lost)


def largest(numbers: Iterable[float]) -> float:
    """Return the largest number, NaN where one is NaN (which Python's ``max`` may pass over)."""
    return float(torch.tensor(list(numbers), dtype=torch.float64).max())


def _relative(mine: Tensor, other: Tensor) -> float:
    """Return the largest difference as a share of the largest number, or of one where all are smaller."""
    return float((mine - other).abs().max() / other.abs().max().clamp(min=1))

"""What Triton makes of our depthwise kernels for a GPU, read from its machine code: no GPU is needed.

    python -m benchmarks.sass
    python -m benchmarks.sass --steps darts,pcdarts,retrain

Every launch is compiled for an H200 (sm_90) by the Triton that is installed, whose package brings NVIDIA's assembler
and disassembler. The code says how many registers a thread needs, and so how many warps a multiprocessor holds, whether
loops spill registers or wait for other threads, and how many instructions a product takes. From these comes a
prediction: instructions by the rate at which they can be issued. It was fitted to nine measured times of kernels that
are gone, within a quarter of each, and has met no others (docs/speed.md). Other releases of Triton make other code of
the same kernel: what is read holds for the one that is printed.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import counts
from benchmarks.depthwise import MICRO, PASSES, Case, Tensors, cases
from benchmarks.machine_code import Code, Listing
from nascommon.kernels import bank_launch
from nascommon.kernels.home import laid_out

H200, MULTIPROCESSORS, SCHEDULERS, CLOCK = 90, 132, 4, 1.7e9
"""Compute capability and more of an H200; a scheduler issues an instruction of a warp at a time."""
REGISTERS, MOST_WARPS, LANES, ALLOCATED = 65536, 64, 32, 256
"""Of a multiprocessor, threads of a warp, and registers that are allocated to one at a time."""
ISSUED, ENOUGH_WARPS = 0.8, 22
"""Share of its time that a scheduler issues where a multiprocessor has so many warps; with fewer in proportion less."""
LAUNCH_SECONDS = 2.5e-6
"""From the last instructions of a kernel to the first ones of the next in a graph."""
POINTERS = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32", torch.uint8: "*u8"}
KERNELS = {
    "bank_forward": [("bank_triton", "forward_kernel")],
    "bank_input_gradient": [("bank_triton", "input_kernel")],
    "bank_kernel_gradient": [("bank_triton_kernels", "kernel_kernel")],
    "batch_norm_forward": [("batch_norm_triton", name) for name in ("statistics_kernel", "apply_kernel")],
    "batch_norm_backward": [("batch_norm_triton", name) for name in ("reduce_kernel", "gradient_kernel")],
    "pools_forward": [("pools_triton", "forward_kernel")],
    "pools_gradient": [("pools_triton", "gradient_kernel")],
}
"""Module and name of every kernel that an operator launches."""
MEASURED = Path(__file__).parents[1] / "results/device/depthwise_h200_373f5fa.json"
"""Times of the kernels before these."""


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid and its arguments."""

    operator: str
    kernel: tuple[str, str]
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    static: Mapping[str, Any]

    @property
    def code(self) -> Code:
        """What it is compiled to for an H200."""
        return _code(self.kernel, self._types, tuple(self.static.items()))

    def compiled(self, capability: int) -> Any:
        """Return what Triton makes of it for cards of a compute capability, such as 75 for a T4."""
        return _compiled(self.kernel, self._types, tuple(self.static.items()), capability)

    @property
    def _types(self) -> tuple[str, ...]:
        numbers = {int: "i32", float: "fp32"}
        return tuple(
            POINTERS[each.dtype] if isinstance(each, Tensor) else numbers[type(each)] for each in self.arguments
        )


@cache
def _code(kernel: tuple[str, str], types: tuple[str, ...], static: tuple[tuple[str, Any], ...]) -> Code:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(_compiled(kernel, types, static, H200).asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        return Listing(_tool("nvdisasm", "-c", file.name)).code(int(usage.split("REG:")[1].split()[0]))


@cache
def _compiled(
    kernel: tuple[str, str], types: tuple[str, ...], static: tuple[tuple[str, Any], ...], capability: int
) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function, constants = _function(kernel), dict(static)
    options = {name: constants.pop(name) for name in bank_launch.options()}
    names = function.arg_names
    given = iter(types)
    signature = {name: "constexpr" if name in constants else next(given) for name in names}
    places = {name: (place,) for place, name in enumerate(names)}
    source = ASTSource(
        fn=function, signature=signature, constexprs={places[name]: value for name, value in constants.items()},
        attrs={places[name]: [["tt.divisibility", 16]] for name, of in signature.items() if of.startswith("*")},
    )  # fmt: skip
    return triton.compile(source, target=GPUTarget("cuda", capability, LANES), options=options)


def _function(kernel: tuple[str, str]) -> Any:
    module, name = kernel
    return getattr(import_module(f"nascommon.kernels.{module}"), name)


def _tool(name: str, *arguments: str) -> str:
    import triton

    folder = Path(triton.__file__).parent / "backends/nvidia/bin"
    return subprocess.run([folder / name, *arguments], capture_output=True, text=True, check=True).stdout


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what operators launch that are given tensors without data, by default those of banks."""

    def __init__(self, operators: Mapping[str, tuple[str, Callable[..., None]]] = bank_launch.OPERATORS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators, self.launches = operators, list[Launch]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if (operator := func.overloadpacket.__name__) in self.operators:
            with ExitStack() as stack:
                for kernel in KERNELS[operator]:
                    module, name = import_module(f"nascommon.kernels.{kernel[0]}"), kernel[1]
                    stack.enter_context(patch.object(module, name, _Noting(operator, kernel, self.launches)))
                self.operators[operator][1](*args)
        return laid_out(func, func(*args, **(kwargs or {})))


@dataclass
class _Noting:
    """Stands for a kernel."""

    operator: str
    kernel: tuple[str, str]
    launches: list[Launch]

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *given, **static: self.launches.append(Launch(self.operator, self.kernel, grid, given, static))


class Work:
    """What a launch executes, as its code and its arguments tell."""

    def __init__(self, launch: Launch) -> None:
        """Compile it."""
        self.code, self.operator, self.grid, self.static = launch.code, launch.operator, launch.grid, launch.static
        names = (name for name in _function(launch.kernel).arg_names if name not in launch.static)
        self.given = dict(zip(names, launch.arguments, strict=True))
        self.programs = math.prod(launch.grid)
        self.groups = self.static.get("GROUPS", self.static.get("SPLIT"))

    @property
    def held(self) -> float:
        """Warps that a multiprocessor has at a time."""
        warps, of_warp = self.static["num_warps"], -(-self.code.registers * LANES // ALLOCATED) * ALLOCATED
        most = min(REGISTERS // of_warp, MOST_WARPS) // warps * warps
        return float(min(most, self.programs * warps / MULTIPROCESSORS))

    @property
    def products(self) -> int:
        """Products that all threads add up, those that nobody wants included."""
        code, number = self.given["code"], self.given["count"]
        kinds = (bank_launch.decoded(code >> 7 * place & 127) for place in range(number))
        numbers = self.static["TIMES"] * self.static["VEC"] * self.static["BLOCK"] * self.static.get("GROUPS", 1)
        return int(numbers * sum(side * side * self._times(dilation, groups) for side, dilation, groups in kinds))

    def _times(self, dilation: int, groups: int) -> int:
        """Return how often some program takes all taps of a kind."""
        parts = -(-groups // self.groups)
        if self.operator == "bank_input_gradient" and self.static["SHARED"]:
            parts *= dilation == self.given["dilation"]
        if self.operator != "bank_kernel_gradient":
            return int(self.grid[0] * parts)
        lines, chunks = self.given["batch_lines"], self.grid[0] * self.given["batch_lines"] // self.given["lines"]
        spans = lines * -(-self.given["columns"] // (self.static["TIMES"] * dilation)) * dilation
        of_chunk, at_once = -(-spans // chunks), self.static["BLOCK"] // self.static["WIDTH"]
        return int(self.grid[0] * self.grid[1] * parts * -(-of_chunk // at_once))

    @property
    def seconds(self) -> float:
        """The prediction."""
        threads = self.programs * self.static["BLOCK"]
        instructions = self.products * self.code.per_product() + threads * self.code.straight
        rate = MULTIPROCESSORS * SCHEDULERS * CLOCK * LANES * ISSUED * min(self.held / ENOUGH_WARPS, 1)
        return float(LAUNCH_SECONDS + instructions / rate)

    def __str__(self) -> str:
        code, spilled = self.code, sum(each["LDL"] + each["STL"] + each["BAR"] for each in self.code.loops)
        return (
            f"{code.registers} registers, {self.held:.0f} warps, {code.straight:.0f} instructions and "
            f"{code.per_product():.2f} a product, of which {code.per_product('LDG'):.2f} loads; "
            f"{spilled} spills and barriers in loops"
        )


def works_of(case: Case) -> dict[str, list[Work]]:
    """Return what each pass of a case launches."""
    found = {}
    with counts.as_on_a_gpu():
        for name, work in Tensors(case, counts.META).ours().items():
            with Recorder() as recorder:
                work()
            found[name] = [Work(launch) for launch in recorder.launches]
    return found


def of_step(name: str) -> Iterator[str]:
    """Yield what is predicted for each pass of a step (``counts.counts``)."""
    with counts.as_on_a_gpu():
        step = counts.step_of(name)
        with Recorder() as recorder:
            step()
    seconds: Counter[str] = Counter()
    number = Counter(launch.operator for launch in recorder.launches)
    for launch in recorder.launches:
        seconds[launch.operator] += Work(launch).seconds  # type: ignore[assignment]
    for operator, each in seconds.items():
        yield f"{name} {operator}: {1e3 * each:.2f} ms in {number[operator]} launches"
    yield f"{name}: {1e3 * seconds.total():.2f} ms"


def main(
    steps: Annotated[str, typer.Option(help="whole steps, as of benchmarks.counts, instead of cases")] = "",
) -> None:
    """Predict the cases of ``benchmarks.depthwise``, beside what the kernels before these took there."""
    import triton

    typer.echo(f"Triton {triton.__version__}")
    for name in filter(None, steps.split(",")):
        for line in of_step(name):
            typer.echo(line)
    rows = json.loads(MEASURED.read_text())["rows"]
    before = {(each["case"], name): f"{each[name]:.1f}" for each in rows if each["way"] == "ours" for name in PASSES}
    for case in () if steps else cases():
        for name, works in works_of(case).items():
            predicted = MICRO * sum(work.seconds for work in works)
            was = before.get((str(case), name), "not")
            typer.echo(f"{case} | {name} | {predicted:.1f} us (before: {was} measured) | {works[0]}")


if __name__ == "__main__":
    typer.run(main)

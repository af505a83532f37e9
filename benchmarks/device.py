"""All that there is to know of a GPU in one process, the most valuable first, written down after every part.

    python -m benchmarks.device --out h100.json --seconds 540
    python -m benchmarks.device --out h100.json --against path/to/checkout --data data/prepared/target
    python -m benchmarks.device --out h100.json --only steps:darts --only profile:darts

``gate`` asks whether the results of a method are right; ``steps`` times bilevel steps and training steps, with
``--against`` in turns with those of the released code; ``profile`` counts kernels and the gaps between them; ``ladder``
is a step of DARTS in turns with that of plain PyTorch and our own rung by rung; ``memory`` compares what is predicted
with what is taken; ``many`` trains several small networks at a time; ``search`` is one whole search of PC-DARTS. Sizes
and settings are those of ``presets/cifar10.yaml`` or of another params file. What fails or finds no time is a line of
the report.
"""

from __future__ import annotations

import gc
import math
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import measured, released
from benchmarks.images import HALF, SIDE
from benchmarks.many import many
from benchmarks.markdown import markdown
from benchmarks.measured import IMAGENET, RETRAIN, Bench, Deadline, Tell
from nascommon.config import load_params
from nascommon.runtime.artefacts import write_json
from nascommon.runtime.hardware import choose_kernels, cores, describe, resolve_device, tune
from nascommon.runtime.revision import revision
from nascommon.settings import UserError

ROOT = Path(__file__).parents[1]
METHODS = ("darts", "pcdarts", "pdarts", "da2s", "ecdarts")
TIMED = MEMORY_MEASURED = ("darts", "pcdarts", RETRAIN, "pdarts", "da2s", "ecdarts", IMAGENET)
PROFILED = {"darts", "pcdarts", RETRAIN, IMAGENET}
LADDERS = ("darts",)
SEARCHED = "pcdarts"
MANY = "kendall_tau"
LEAST_SECONDS = 2.0
"""Time that must be left for a part to be begun."""
SUMMED_UP = ("passed", "ms", "epochs")
"""Figures that are printed of a part when it is done, if it has them."""


@dataclass(frozen=True)
class Measurement:
    """A part of the report: what it is about, and what finds out."""

    part: str
    case: str
    work: Callable[[Tell], dict[str, Any]]


def each(part: str, names: Iterable[str], measure: Callable[[str, Tell], dict[str, Any]]) -> Iterator[Measurement]:
    """Do the same for several cases."""
    return (Measurement(part, name, partial(measure, name)) for name in names)


def measurements(bench: Bench) -> Iterator[Measurement]:
    """List all parts, the most valuable first."""
    yield from each("gate", METHODS, lambda name, _tell: measured.gate(bench, name))
    for name in TIMED:
        yield Measurement("steps", name, partial(measured.steps, bench, name))
        # Right behind, as the kernels of the step have been chosen.
        yield from each("profile", PROFILED & {name}, lambda name, _tell: measured.profile(bench, name))
    yield from each("ladder", LADDERS, partial(measured.ladder, bench))
    yield from each("memory", MEMORY_MEASURED, lambda name, _tell: measured.memory(bench, name))
    yield Measurement("many", MANY, partial(many, bench, MANY))
    yield Measurement("search", SEARCHED, partial(measured.search, bench, SEARCHED))


class Report:
    """A file that is whole after every row."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        """Begin; a file that was there before is replaced."""
        self.path, self.tree = path, {**head, "rows": [], "finished": False}
        self.write()

    def write(self, unfinished: dict[str, Any] | None = None) -> None:
        """Write what is known, and maybe a row that is not finished."""
        rows = self.tree["rows"] + ([] if unfinished is None else [{**unfinished, "finished": False}])
        write_json(self.path, writable({**self.tree, "rows": rows}))

    def add(self, row: dict[str, Any]) -> None:
        """Add a row and write."""
        self.tree["rows"].append(row)
        self.write()

    def finish(self) -> None:
        """Say that nothing is missing."""
        self.tree["finished"] = True
        self.write()


def writable(tree: Any) -> Any:
    """Return the tree with words for the numbers that JSON does not have."""
    if isinstance(tree, dict):
        return {key: writable(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [writable(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree


def chosen(all_parts: Iterable[Measurement], only: Sequence[str]) -> list[Measurement]:
    """Return the parts that are named ``PART`` or ``PART:CASE``, in the order of the names; all where none is named.

    Raises:
        ValueError: a name fits no part.
    """
    parts = list(all_parts)
    named: list[Measurement] = []
    for name in only:
        fitting = [part for part in parts if name in (part.part, f"{part.part}:{part.case}")]
        if not fitting:
            known = ", ".join(f"{part.part}:{part.case}" for part in parts)
            raise ValueError(f"--only {name}: no such part; known: {known}")
        named += [part for part in fitting if part not in named]
    return named if only else parts


def command(arguments: Sequence[str]) -> str:
    """Return the command as it may be read elsewhere: of files that lie outside of here, their names alone."""
    told = (
        argument.rpartition("/")[2] if argument.startswith(("/", "~", "..")) else argument for argument in arguments
    )
    return " ".join(["python -m benchmarks.device", *told])


def attempt(task: Measurement, deadline: Deadline, report: Report) -> dict[str, Any]:
    """Do a part; return its row, whatever happens."""
    name = {"part": task.part, "case": task.case}
    if deadline.left() < LEAST_SECONDS:
        return {**name, "skipped": "no time was left"}
    began = time.perf_counter()
    try:
        found = task.work(lambda so_far: report.write({**name, **so_far}))
    except Exception as error:  # noqa: BLE001 -- whatever it is, the parts after it are worth having
        found = {"error": f"{type(error).__name__}: {error}"}
    return {**name, **found, "seconds": time.perf_counter() - began}


def cleaned(device: torch.device) -> None:
    """Give back what a part leaves."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def machine(device: torch.device) -> dict[str, Any]:
    """Return what a figure needs to be compared with another."""
    known: dict[str, Any] = {
        "device": describe(device), "torch": torch.__version__, "python": platform.python_version(),
        "cores": cores(),
    }  # fmt: skip
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        known |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
        }
    return known


def main(
    out: Annotated[Path, typer.Option(help="Where to write the report, as JSON, after every part.")],
    seconds: Annotated[float | None, typer.Option(min=1, help="Limit from now on; default none.")] = None,
    against: Annotated[list[Path] | None, typer.Option(help="Checkout of a released code; may be repeated.")] = None,
    device: str = "auto",
    data: Annotated[Path | None, typer.Option(help="Prepared folder for the search; default random pictures.")] = None,
    params: Annotated[Path, typer.Option(help="Sizes and settings.")] = ROOT / "presets" / "cifar10.yaml",
    side: Annotated[int, typer.Option(min=8, help="Pixels of random pictures.")] = SIDE,
    pictures: Annotated[int, typer.Option(min=1, help="Random ones in either half of the search.")] = HALF,
    commit: Annotated[str | None, typer.Option(help="Of the code, where git does not tell.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="PART or PART:CASE, in this order; may be repeated.")] = None,
) -> None:
    """Ask whether a device computes right, and how fast; end with 1 where a part failed or found wrong results."""
    deadline = Deadline(seconds)
    try:
        where = resolve_device(device)
        tune(where)
        choose_kernels(where, math.inf)  # as in a long phase
        authors = tuple(released.load(path) for path in against or ())
        bench = Bench(load_params(params), where, authors, side, pictures, data, deadline)
        parts = chosen(measurements(bench), only or ())
    except (ValueError, ImportError, UserError) as error:
        raise typer.BadParameter(str(error)) from error
    head = {"command": command(sys.argv[1:]), "commit": commit or str(revision(ROOT)), "machine": machine(where)}
    report = Report(out, head)
    for task in parts:
        row = attempt(task, deadline, report)
        report.add(row)
        cleaned(where)
        output = {name: value for name, value in row.items() if name in (*SUMMED_UP, "error", "skipped")}
        typer.echo(f"{task.part} {task.case}: {row.get('seconds', 0):.1f} s {output}", err=True)
    report.finish()
    typer.echo(markdown(report.tree))
    if any("error" in row or row.get("passed") is False for row in report.tree["rows"]):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

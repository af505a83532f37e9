"""The report on a device for people: a table a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.cases import REPLAYED, SHIPPED, TWIN

WHOLE = 1000
"""Numbers from here on are written without decimals."""

Row = dict[str, Any]


def markdown(report: Row) -> str:
    """Write the whole report as Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    lines = [f"# {report['machine']['device']}", "", f"`{report['command']}`, commit {report['commit']}; {machine}"]
    for part, write in PARTS.items():
        rows = [row for row in report["rows"] if row["part"] == part]
        done = [row for row in rows if "error" not in row and "skipped" not in row]
        lines += ["", f"## {part}", "", *(write(done) if done else [])]
        lines += [f"- {row['case']}: {row.get('error') or row['skipped']}" for row in rows if row not in done]
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    cells = [[_cell(value) for value in row] for row in rows]
    return str(tabulate(cells, heads, tablefmt="github", stralign=None, disable_numparse=True)).splitlines()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.3g}"
    return "" if value is None else str(value)


def _gate(rows: Sequence[Row]) -> list[str]:
    heads = (
        "method",
        "right",
        "from the plain twin",
        "its gradient in float32",
        "replayed from eager",
        "bfloat16 from float32",
        "gradients astray",
        "recordings",
    )
    keys = ("twin", "rounded", "replayed", "bfloat16", "astray", "recordings")
    return table(
        heads, [(row["case"], "yes" if row["passed"] else "**no**", *(row[key] for key in keys)) for row in rows]
    )


def _steps(rows: Sequence[Row]) -> list[str]:
    known = [TWIN, REPLAYED, SHIPPED]
    others = list(dict.fromkeys(way for row in rows for way in row["ms"] if way not in known))
    ways = [way for way in (TWIN, *others, REPLAYED, SHIPPED) if any(way in row["ms"] for row in rows)]
    heads = ("step", "batch", *(f"{way}, ms" for way in ways), "times faster than (lowest to highest of the pairs)")
    return table(
        heads, [(row["case"], row["batch"], *(row["ms"].get(way) for way in ways), _faster(row)) for row in rows]
    )


def _faster(row: Row) -> str:
    ratios = {way: row["times_faster"][way] for way in row["times_faster"]}
    return "; ".join(f"{way}: {middle:.2f} ({low:.2f} to {high:.2f})" for way, (middle, low, high) in ratios.items())


def _profile(rows: Sequence[Row]) -> list[str]:
    heads = ("step", "repeated", "kernels", "from first to last, ms", "gaps", "share of the bandwidth", "longest")
    return table(heads, [_profiled(row["case"], way, row[way]) for row in rows for way in ("eager", "repeated")])


def _profiled(case: str, way: str, seen: Row) -> tuple[object, ...]:
    longest = "; ".join(f"{kind['name'][:40]} {kind['ms']:.2f} ms" for kind in seen["longest"][:3])
    return case, way, seen["kernels"], seen["span_ms"], f"{seen['gap_share']:.0%}", seen["bandwidth_share"], longest


def _memory(rows: Sequence[Row]) -> list[str]:
    keys = ("predicted_mib", "eager_mib", "recorded_mib", "reserved_mib", "plain_mib")
    heads = ("step", "batch", "predicted, MiB", "eager", "recorded", "reserved when recorded", "plain PyTorch")
    return table(heads, [(row["case"], row["batch"], *(row.get(key) for key in keys)) for row in rows])


def _many(rows: Sequence[Row]) -> list[str]:
    heads = ("networks of", "batch", "at a time", "ms a step of each", "peak, MiB", "from where one ends alone")
    return table(
        heads,
        [
            (row["case"], row["batch"], count, ms, row["peak_mib"][count], row["apart"][count])
            for row in rows
            for count, ms in row["ms"].items()
        ],
    )


def _search(rows: Sequence[Row]) -> list[str]:
    keys = ("images", "batch", "search_seconds", "predicted_seconds", "train_accuracy", "valid_accuracy")
    heads = (
        "method",
        "pictures",
        "epochs",
        "images",
        "batch",
        "s",
        "s of all epochs",
        "train accuracy",
        "validation accuracy",
    )
    return table(
        heads,
        [
            (row["case"], row["pictures"], f"{row['epochs']} of {row['of_epochs']}", *(row[key] for key in keys))
            for row in rows
        ],
    )


PARTS: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "gate": _gate, "steps": _steps, "profile": _profile, "ladder": _steps, "memory": _memory, "many": _many,
    "search": _search,
}  # fmt: skip

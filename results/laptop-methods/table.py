"""Write the table of all methods from the runs: `python table.py ROWS.jsonl ...`, as Markdown."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

COLUMNS = {
    "search s": ("search/search_seconds", 1, 0),
    "soft %": ("discretize/soft", 100, 1),
    "kept, weight one %": ("discretize/kept", 100, 1),
    "kept, learned weights %": ("discretize/kept_weighted", 100, 1),
    "kept, recalibrated %": ("discretize/kept_recalibrated", 100, 1),
    "excess on skips and pools": ("discretize/operation_gap_excess", 100, 1),
    "skips": ("discretize/skips_normal", 1, 1),
    "params k": ("retrain/params", 1e-3, 1),
    "test accuracy %": ("test_accuracy", 100, 2),
}


def cell(rows: list[dict[str, Any]], key: str, scale: float, digits: int) -> str:
    """Return mean ± standard deviation over the seeds."""
    values = [scale * row[key] for row in rows if row.get(key) is not None]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main(paths: list[str]) -> None:
    """Print the table, best mean test accuracy first."""
    rows = [json.loads(line) for path in paths for line in Path(path).read_text(encoding="utf-8").splitlines()]
    methods: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        methods.setdefault(row["method"], []).append(row)
    best = sorted(methods.items(), key=lambda item: -statistics.mean(row["test_accuracy"] for row in item[1]))
    lines = []
    for method, found in best:
        seeds = ", ".join(str(row["seed"]) for row in sorted(found, key=lambda row: row["seed"]))
        lines.append([f"`{method}`", seeds, *(cell(found, *how) for how in COLUMNS.values())])
    print(tabulate(lines, ["method", "seeds", *COLUMNS], tablefmt="github", stralign=None, disable_numparse=True))


if __name__ == "__main__":
    main(sys.argv[1:])

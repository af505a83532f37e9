"""Print the rows of benchmarks.steps that lie in this folder as the table of results/README.md."""

import json
from pathlib import Path

from tabulate import tabulate

HEAD = (
    "step",
    "baseline",
    "batch",
    "times faster (lowest to highest pair)",
    "ours ms",
    "baseline ms",
    "memory",
    "operators",
)

rows = [row for file in sorted(Path(__file__).parent.glob("*.json")) for row in json.loads(file.read_text())]
lines = []
for row in rows:
    low, high = row["spread"]
    memory = "" if row["peak_memory_ratio"] is None else f"{1 / row['peak_memory_ratio']:.2f}x"
    operators = "" if row["operations_ratio"] is None else f"{1 / row['operations_ratio']:.2f}x"
    faster = f"**{row['ratio']:.2f}** ({low:.2f} to {high:.2f})"
    times = (f"{row['ours_ms']:.0f}", f"{row['baseline_ms']:.0f}")
    lines.append([row["case"], row["baseline"], row["batch"], faster, *times, memory, operators])
print(tabulate(lines, HEAD, tablefmt="github", stralign=None, disable_numparse=True))

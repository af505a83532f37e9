"""What the architecture cost, split into search, selection and retraining, as one bar."""

from __future__ import annotations

from nascommon.report.page.accuracy import RESULTS
from nascommon.report.page.files import Files
from nascommon.report.page.section import Key, Picture, Section, Table
from nascommon.report.page.svg import Svg
from nascommon.report.verdict import cost_sentence
from nascommon.runtime.progress import duration

COLOURS = {"search": "ours", "selection": "third", "retrain": "second"}
BESIDE = {"transfer": "ImageNet network", "baseline": "random architectures"}
WIDTH = 460


def cost(files: Files) -> Section:
    """Show the split of the cost, and what was trained beside it."""
    results = files.json(RESULTS)
    parts = results["cost_seconds"]
    total = sum(parts.values())
    svg = Svg(WIDTH, 62, "Seconds of search, selection and retraining")
    left = 4.0
    for name, seconds in parts.items():
        width = (WIDTH - 8) * seconds / total if total else 0.0
        words = f"{name}: {duration(seconds)}"
        svg.add("rect", x=left, y=8, width=max(width, 0.5), height=30, class_=f"part {COLOURS[name]}", hint=words)
        left += width
    svg.text(4, 55, "0", "tick", "start")
    svg.text(WIDTH - 4, 55, duration(total), "tick", "end")
    keys = tuple(Key(f"part {COLOURS[name]}", f"{name} {duration(seconds)}") for name, seconds in parts.items())
    beside = [(words, duration(float(seconds))) for stage, words in BESIDE.items()
              if (seconds := results["stages"][stage].get("train_seconds"))]  # fmt: skip
    tables = (Table(("trained beside it, to judge it", "time"), beside, numbers=frozenset({1})),) if beside else ()
    text = (cost_sentence(parts), "On the hardware named at the end of the page; only the same hardware compares.")
    return Section("cost", "What it cost", text=text, pictures=(Picture(svg.markup(), keys=keys),), tables=tables)

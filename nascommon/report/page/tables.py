"""The parts of the page that are tables: gaps, settings, other people's figures, rules, pictures and provenance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from nascommon.report.gap_table import meanings
from nascommon.report.known_truth import known, published_rows
from nascommon.report.page.accuracy import MANIFEST, RESULTS, TABLE
from nascommon.report.page.files import Files
from nascommon.report.page.section import Section, Table
from nascommon.report.table import DECIMALS, OURS
from nascommon.report.words import COMPARABILITY, NOT_PUBLISHED, PUBLISHED, findings
from nascommon.truth.table import DATA_SETS

VERDICTS = ("broken", "kept", "not applicable")
ERROR = "test error %"
COLUMNS = ("whose", "what", "data set", ERROR, "± sd", "params M", "mult-adds M", "search cost")
"""Of the table of results; the others would not fit beside them."""
HEADINGS = {
    ERROR: "test error %, 95 % interval",
    "params M": "million parameters",
    "mult-adds M": "million mult-adds",
}
MOST_CLASSES = 30
"""Classes that are listed by name."""


def gaps(files: Files) -> Section:
    """Show the gaps of this run, a row each."""
    results, table = files.json(RESULTS), files.table("data/evaluate/gaps.csv", texts=True)
    head = Section("gaps", "The gaps, one by one")
    if table is None:
        return replace(head, missing="evaluate wrote no table of gaps.")
    kind = next(name for name in results["genotype"] if name not in {"schema", "skeleton"})
    row = table.astype(object).where(table.notna(), "not measured").iloc[0]
    rows = [(f"{name}: {meaning}", str(row[name])) for name, meaning in meanings(kind).items() if name in row]
    text = ("With 95 % intervals where there are any. One run is one seed; make compare prints several.",)
    return replace(head, text=text, tables=(Table(("what", "here"), rows, numbers=frozenset({1})),))


def behind(files: Files) -> Section:
    """Say what stands behind the verdict."""
    return Section("behind", "What stands behind the verdict", items=tuple(findings(files.json(RESULTS))))


def settings(files: Files) -> Section:
    """Show the settings that are not the defaults of the method or of this program."""
    found = files.json(RESULTS)["settings"]
    rows = [(one["key"], one["here"], one["default"]) for one in found]
    head = Section("settings", "Settings that differ from the defaults")
    if not rows:
        return replace(
            head, missing="All are the defaults: the method's are its paper's, the others are this program's."
        )
    own = sum(key.startswith("methods.") for key, _, _ in rows)
    rest = len(rows) - own
    counts = f"{own} of the method, whose defaults are its paper's, and {rest} other{'s' * (rest != 1)}"
    text = (f"{counts}, whose defaults are this program's.",)
    return replace(head, text=text, tables=(Table(("setting", "here", "default"), rows),))


def outcomes(files: Files) -> Section:
    """Show every tested network, and published ones only where their protocol is that of this run."""
    results, rows = files.json(RESULTS), files.json(TABLE)
    text = (COMPARABILITY + (PUBLISHED if results["published_protocol"] else NOT_PUBLISHED)).replace("`", "")
    tables = [_networks(rows)] if rows else []
    if (truth := known(results["truth"])) is not None:
        tables.append(_published_in_the_space(truth, results["title"]))
    return Section("results", "All results", text=(text,), tables=tuple(tables))


def _networks(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of networks without empty columns, an interval beside its figure; the rest is in table.csv."""
    columns = [name for name in COLUMNS if any(not _missing(row.get(name)) for row in rows)]
    if all(row["whose"] == OURS for row in rows):
        columns.remove("whose")
    cells = [[_cell(name, row) for name in columns] for row in rows]
    numbers = frozenset(number for number, name in enumerate(columns) if name in DECIMALS)
    return Table([HEADINGS.get(name, name) for name in columns], cells, "Tested networks", numbers)


def _published_in_the_space(truth: Mapping[str, Any], title: str) -> Table:
    head = ("whose", "method", "searched on", *(f"{name} %" for name in DATA_SETS.values()), "source")
    return Table(head, published_rows(truth, title), "Papers that searched this space", frozenset({3, 4, 5}))


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    if _missing(value):
        return ""
    if name not in DECIMALS:
        return str(value)
    text = f"{value:.{DECIMALS[name]}f}"
    if name != ERROR or _missing(row.get("95 % low")):
        return text
    return f"{text} [{row['95 % low']:.2f}, {row['95 % high']:.2f}]"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def protocol(files: Files) -> Section:
    """Show which rules of good practice the run keeps, the broken ones first."""
    rules = files.json("data/evaluate/protocol.json")
    head = Section("protocol", "Rules of good practice")
    if not rules:
        return replace(head, missing="Not judged; python -m stages.check --protocol names each rule.")
    counts = Counter(rule["verdict"] for rule in rules)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    text = f"{told}, judged by this run alone; python -m stages.check --protocol looks at all that are tracked."
    rows = [
        (rule["verdict"], f"{rule['rule']} ({rule['source']})", rule["evidence"], rule["advice"])
        for rule in sorted(rules, key=lambda rule: VERDICTS.index(rule["verdict"]))
    ]
    return replace(head, text=(text,), tables=(Table(("", "rule", "judged by", "what to do"), rows),))


def pictures(files: Files) -> Section:
    """Show what was searched on: classes and numbers of pictures."""
    manifest = files.json(MANIFEST)
    counts = pd.DataFrame(manifest["counts"]).reindex(manifest["classes"]).fillna(0).astype(int)
    channels = manifest["channels"]
    size = f"{manifest['height']} x {manifest['width']} pixels, {channels} channel{'s' * (channels > 1)}"
    totals = ", ".join(f"{total:,} for {part}" for part, total in counts.sum().items())
    text = (
        f"{manifest['source']}: {len(counts)} classes, {size}; {totals}. Fingerprint {manifest['content_hash'][:12]}."
    )
    rows = [
        (str(name), *(f"{count:,}" for count in row)) for name, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    more = (f"{len(rows) - MOST_CLASSES} more classes are in {MANIFEST}.",) if len(rows) > MOST_CLASSES else ()
    parts = ("class", *map(str, counts.columns))
    table = Table(parts, rows[:MOST_CLASSES], numbers=frozenset(range(1, len(parts))))
    return Section("pictures", "The pictures", text=(text, *more), tables=(table,))


def limits(files: Files) -> Section:
    """Say what one run cannot show."""
    results = files.json(RESULTS)
    items = [
        (
            "How much the search's own seed matters: one run is one search. make study runs several seeds and compares "
            "methods with intervals."
        ),
        "Anything about other pictures, other sizes of network or longer training than those of this run.",
    ]
    if len(results["accuracies"]) == 1:
        items.append("How much the seed of retraining matters: the winner was trained once (retrain.seeds is 1).")
    if results["comparisons"] and results["comparisons"][0]["smallest_p"] > 0.05:  # noqa: PLR2004 -- the level of verdicts
        items.append(
            f"Whether it is better than random: {results['comparisons'][0]['n']} random architectures are too few."
        )
    return Section("limits", "What one run cannot show", items=tuple(items))


BIRTHS = {
    "search": "data/search/search.json", "discretize": "data/discretize/discretize.json",
    "retrain": "data/retrain/network.json", "transfer": "data/transfer/network.json",
    "kendall_tau": "data/kendall_tau/ranking.json", "evaluate": RESULTS,
}  # fmt: skip
CERTIFICATE = ("command", "commit", "seed", "hardware", "precision", "torch")


def provenance(files: Files, sections: Sequence[Section]) -> Section:
    """Show which command made what on which machine, and of which files every section was made."""
    births = {stage: _birth(files.json(path)) for stage, path in BIRTHS.items()}
    made = [(stage, *(str(birth[name]) for name in CERTIFICATE)) for stage, birth in births.items() if birth]
    users: dict[str, list[str]] = {}
    for section in sections:
        for source in section.sources:
            users.setdefault(source, []).append(section.title)
    read = [(path, files.read[path], "; ".join(users.get(path, ["this table"]))) for path in sorted(files.read)]
    tables = (
        Table(("stage", *CERTIFICATE), made, "Stages"),
        Table(("file", "SHA-256 begins", "shown in"), read, "Files"),
    )
    text = ("Every number of this page comes from a file of the run, and every file from a command.",)
    return Section("provenance", "Where the numbers come from", text=text, tables=tables)


def _birth(tree: Any) -> dict[str, Any] | None:
    """Return the birth certificate in a file, which stands there by itself or among its other keys."""
    found: dict[str, Any] = (tree or {}).get("provenance", tree or {})
    return found if "command" in found else None

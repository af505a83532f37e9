"""What a study was run with and where its figures come from, in a person's words."""

from __future__ import annotations

import itertools
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from nascommon.config import Params
from nascommon.pipeline.differing import differing
from nascommon.pipeline.paths import ROOT, TARGET_DATA
from nascommon.pipeline.protocol_evidence import CODE_FILES
from nascommon.pipeline.run import protocol
from nascommon.pipeline.unprepared import expected_shape
from nascommon.report.next_step import RANDOM, SMALLEST_GAP, NextStep
from nascommon.report.page.section import Row
from nascommon.report.study import StudyRun
from nascommon.report.study_page import Facts
from nascommon.report.study_tables import MADE_BY
from nascommon.runtime.revision import revision
from nascommon.statistics.paired import fewest_pairs

OWN = "methods."
"""How keys begin that are a method's own settings."""


def facts(methods: Mapping[str, Params], seeds: Sequence[int], planned: int, runs: Sequence[StudyRun]) -> Facts:
    """Return what stands in the report of a study beside its results.

    Args:
        methods: settings with each method selected, by its name.
        seeds: of the study.
        planned: runs that the study is of.
        runs: those that have finished.
    """
    params = next(iter(methods.values()))
    shape, network = expected_shape(params.data, TARGET_DATA), params.retrain.network
    pixels, training = f"{shape.height} x {shape.width}", f"{params.retrain.training.epochs} epochs"
    epochs = sorted({one.method().epochs for one in methods.values()})
    few_to_many = " to ".join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))
    figures = [
        (
            "runs",
            f"{len(runs)} of {planned}",
            f"{', '.join(methods)}; seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
        ),
        ("data", params.data.source, f"{shape.images:,} training pictures of {pixels} pixels"),
        ("search", f"{few_to_many} epochs", f"{params.search.cells} cells, {params.search.channels} channels"),
        ("training", "none", "retrain.skip is true")
        if params.retrain.skip
        else ("training", training, f"{network.cells} cells, {network.channels} channels"),
    ]
    return Facts(
        figures, same(params, search_epochs(methods)), *_changed(methods), birth(methods, seeds, runs),
        next_study(methods, seeds),
    )  # fmt: skip


def next_study(methods: Mapping[str, Params], seeds: Sequence[int]) -> NextStep | None:
    """Return the study that could show a difference; None if this one could."""
    names = list(dict.fromkeys((*methods, RANDOM)))
    names = names if len(names) > 1 else [SMALLEST_GAP, RANDOM]
    needed, more = fewest_pairs(len(names) - 1), itertools.count()
    if names == list(methods) and len(seeds) >= needed:
        return None
    enough = [*seeds, *itertools.islice((seed for seed in more if seed not in seeds), max(0, needed - len(seeds)))]
    file = next(iter(methods.values())).file
    preset = "" if file.resolve() == Path(ROOT, "params.yaml").resolve() else f" PRESET={file}"
    command = f'make study METHODS="{" ".join(names)}" SEEDS="{" ".join(map(str, enough))}"{preset}'
    return NextStep(command, "as few runs as can show a difference; what has finished is not run again")


def same(params: Params, epochs: str) -> dict[str, str]:
    """Return the settings that a reader asks for first; ``epochs`` are those of the search, in words."""
    shape, space, retrain = expected_shape(params.data, TARGET_DATA), params.search.chosen_space(), params.retrain
    seen = round(shape.images * params.data.search_fraction)
    architecture = seen - round(seen * (1 - params.data.architecture_fraction))
    trained = round(shape.images * (1 - retrain.holdout))
    times = "once" if retrain.seeds == 1 else f"{retrain.seeds} times"
    training = (
        f"{retrain.network.cells} cells, {retrain.network.channels} channels, {retrain.training.epochs} epochs of "
        f"{trained:,} pictures in batches of {retrain.training.batch_size}; {times} in every run"
    )
    return {
        "settings": f"{params.file} (fingerprint {protocol(params)[:8]})",
        "data": f"{params.data.source}: {shape.classes} classes, {shape.height} x {shape.width} pixels, "
        f"{shape.channels} {'channel' if shape.channels == 1 else 'channels'}",
        "training pictures": f"{shape.images:,}; the search takes {seen - architecture:,} for the weights and "
        f"{architecture:,} for the architecture",
        "search": f"space {params.search.space}, {params.search.cells} cells, {params.search.channels} channels, "
        f"{space.cells.main.topology.nodes} nodes, {epochs} epochs",
        "training": "none: retrain.skip is true" if retrain.skip else training,
        "random architectures": f"{params.baseline.architectures or 'none'} trained beside it",
    }


def search_epochs(methods: Mapping[str, Params]) -> str:
    """Return the epochs of the search, of every method where they differ."""
    epochs = {name: params.method().epochs for name, params in methods.items()}
    if len(set(epochs.values())) == 1:
        return str(next(iter(epochs.values())))
    return ", ".join(f"{name} {count}" for name, count in epochs.items())


def _changed(methods: Mapping[str, Params]) -> tuple[list[Row], list[Row]]:
    """Return key, value and default of what is not the default: of all runs alike, and of the methods."""
    found = [[(one["key"], one["here"], one["default"]) for one in differing(params)] for params in methods.values()]
    own: list[Row] = [row for rows in found for row in rows if row[0].startswith(OWN)]
    return [row for row in found[0] if not row[0].startswith(OWN)], own


def birth(methods: Mapping[str, Params], seeds: Sequence[int], runs: Sequence[StudyRun]) -> dict[str, str]:
    """Return by which command, of which code, where and when the figures were made."""
    file = next(iter(methods.values())).file
    words = ("--methods", " ".join(methods), "--seeds", " ".join(map(str, seeds)), "--params", str(file))
    code = revision(ROOT, CODE_FILES)
    made_by = {
        name: ", ".join(sorted({str(run.results["provenance"].get(name, "not recorded")) for run in runs}))
        for name in MADE_BY
    }
    ended = sorted(run.ended for run in runs if run.ended)
    return {
        "command": f"python -m stages.study {shlex.join(words)}",
        "commit": f"{code}{', with code that it does not hold' if code.dirty else ''}",
        **made_by,
        "python": platform.python_version(),
        "runs ended": " to ".join(dict.fromkeys((ended[0], ended[-1]))) if ended else "not recorded",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }

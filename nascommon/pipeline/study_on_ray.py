"""The runs of a study are pieces of work that Ray does side by side, each with the CPUs or the GPU of one piece."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from nascommon.config import Params
from nascommon.pipeline import experiments
from nascommon.pipeline.copies import Ended, run_in_copy
from nascommon.pipeline.paths import ROOT
from nascommon.pipeline.side_by_side import executor_of, room
from nascommon.runtime.executor import Piece
from nascommon.runtime.hardware import resolve_device

Pair = tuple[str, int]
"""Method and seed."""


def run_all(
    params: Params, missing: Sequence[Pair], begun: Collection[int], on_run: Callable[[Pair, Ended], None]
) -> None:
    """Run what is missing of a study.

    Args:
        params: settings of all runs but for method and seed; ``jobs`` limits how many run at a time.
        missing: the runs.
        begun: seeds of which a run has finished.
        on_run: (run, how it has ended), as they end.

    Raises:
        UserError: Ray is not there, or nothing fits into the cluster.
    """
    device, project = resolve_device(params.device), Path(ROOT).resolve()
    at_a_time, rev = room(params, device).pieces, experiments.snapshot(params.file)
    for pairs in in_rounds(missing, begun):

        def on_result(index: int, ended: Ended, pairs: Sequence[Pair] = pairs) -> None:
            on_run(pairs[index], ended)

        pieces = [Piece(f"{pair[0]} seed {pair[1]}", run_in_copy, (project, rev, pair)) for pair in pairs]
        executor_of(params, device, at_a_time).run(pieces, on_result=on_result)


def in_rounds(missing: Sequence[Pair], begun: Collection[int]) -> list[list[Pair]]:
    """Return the runs as two rounds, or one.

    The runs of a seed share stages, as prepare and baseline: a first one of every seed leaves them in DVC's cache for
    the others, of which each would otherwise do them at the same time.
    """
    first = {seed: (method, seed) for method, seed in reversed(missing) if seed not in begun}
    rounds = [[pair for pair in missing if (pair in first.values()) == is_first] for is_first in (True, False)]
    return [pairs for pairs in rounds if pairs]

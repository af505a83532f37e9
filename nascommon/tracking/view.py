"""The view of runs that MLflow opens on: whole pipelines in a table, their figures side by side in charts."""

from __future__ import annotations

import json
from typing import Any, Final

KEY: Final = "methods"
TAG: Final = f"mlflow.sharedViewState.{KEY}"
"""Tag of an experiment under which MLflow's pages look a shared view up; its content is that of their button Share."""
FIGURES: Final = ("accuracy", "gap", "percentile", "tau", "seconds")
"""The figures of a pipeline, as its charts are titled."""
OF_EVERY_RUN: Final = ("accuracy", "gap", "seconds")
"""Those for parallel coordinates, where MLflow leaves a run out that lacks one of them: percentile needs random
architectures, and tau a ranking whose scores are not all equal."""
_COMPARED, _AGAINST, _EACH = "compared", "against", "each"


def view() -> str:
    """Return the view as MLflow keeps it."""
    return json.dumps(
        {
            "searchFilter": 'tags.stage = "pipeline"',
            "orderByKey": "metrics.`accuracy`",
            "orderByAsc": False,
            "runsHiddenMode": "SHOW_ALL",
            "selectedColumns": [
                *(f"metrics.`{name}`" for name in FIGURES), "tags.`method`", "tags.`seed`", "tags.`data`",
            ],
            "compareRunCharts": [_parallel(), _scatter("seconds", "accuracy"), _scatter("gap", "accuracy"),
                                 *(_bar(name) for name in FIGURES)],
            "compareRunSections": [
                _section(_COMPARED, "Methods compared", columns=1),
                _section(_AGAINST, "Accuracy against cost and gap", columns=2),
                _section(_EACH, "Figure by figure", columns=2),
            ],
        }
    )  # fmt: skip


def _section(key: str, name: str, columns: int) -> dict[str, Any]:
    return {
        "uuid": key, "name": name, "display": True, "isReordered": True, "deleted": False, "isGenerated": False,
        "columns": columns,
    }  # fmt: skip


def _chart(kind: str, key: str, section: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind, "uuid": key, "metricSectionId": section, "deleted": False,
        "isGenerated": False, "runsCountToCompare": 100, **more,
    }  # fmt: skip


def _parallel() -> dict[str, Any]:
    return _chart(
        "PARALLEL", "parallel", _COMPARED,
        selectedParams=["search.method", "seed"], selectedMetrics=list(reversed(OF_EVERY_RUN)), showAllRuns=False,
    )  # fmt: skip


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {axis: {"key": name, "type": "METRIC"} for axis, name in (("xaxis", x), ("yaxis", y))}
    return _chart("SCATTER", f"{x}-{y}", _AGAINST, **axes)


def _bar(name: str) -> dict[str, Any]:
    return _chart("BAR", name, _EACH, metricKey=name)

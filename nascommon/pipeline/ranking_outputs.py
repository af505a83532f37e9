"""What the ranking of architectures leaves: files, a picture, the figures that DVC compares, and lines for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nascommon.pipeline.paths import KENDALL, PLOTS
from nascommon.pipeline.run import Run
from nascommon.report.figures import save_figure
from nascommon.report.plots import plot_ranking
from nascommon.runtime.artefacts import write_json, write_table
from nascommon.statistics.ranking import Ranking

RESULTS = [KENDALL / "ranking.json", KENDALL / "architectures.csv", KENDALL / "ranking.png"]


@dataclass(frozen=True)
class Drawn:
    """What is drawn: a ranking, the column of the table that scores are held against, and what it is in a title."""

    ranking: Ranking
    column: str
    what: str


def write_outputs(
    run: Run, tree: dict[str, Any], table: pd.DataFrame, drawn: Drawn, provenance: dict[str, Any]
) -> None:
    """Write the ranking, its table and its picture, and log them.

    Args:
        run: of the stage.
        tree: what was found.
        table: a row for each architecture.
        drawn: what the picture shows.
        provenance: of the figures.
    """
    settings = run.params.kendall_tau
    tree = {"mode": settings.mode, "search_score": settings.search_score, **tree}
    write_json(KENDALL / "ranking.json", {**tree, "provenance": provenance})
    write_table(KENDALL / "architectures.csv", table)
    write_table(PLOTS / "kendall_tau.csv", table.drop(columns="genotype"))
    save_figure(
        plot_ranking(
            table["search_score"], table[drawn.column], list(table["architecture"]), drawn.ranking,
            f"{run.params.search.method}: {settings.search_score} against {drawn.what}",
            trainings_NT=trainings_of(table), ceiling=tree.get("ceiling_tau_b"),
        ),
        KENDALL / "ranking.png",
    )  # fmt: skip
    run.write_metrics(headline(tree))
    run.tracker.artefact(KENDALL, "kendall_tau")


def trainings_of(table: pd.DataFrame) -> npt.NDArray[np.float64] | None:
    """Return the accuracies of single trainings at one depth [N, T], NaN where there are fewer; None of one each."""
    columns = [name for name in table if str(name).startswith("known_") or name in {"retrain_first", "retrain_second"}]
    return table[columns].to_numpy(dtype=np.float64) if len(columns) > 1 else None


def headline(tree: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures that DVC compares."""
    ranking = tree["ranking"]
    metrics = {name: ranking[name] for name in ("tau_a", "tau_b", "tau_c", "weighted_tau", "p_value", "n")}
    for name in ("", "retest", "depth", "top_tenth"):
        part = (tree.get(name) or {}) if name else ranking
        prefix, (low, high) = f"{name}_" if name else "", part.get("interval") or (None, None)
        metrics |= {
            f"{prefix}tau_b": part.get("tau_b"), f"{prefix}tau_b_low": low, f"{prefix}tau_b_high": high,
        }  # fmt: skip
    metrics |= {"ceiling_tau_b": tree.get("ceiling_tau_b"), "diverged": len(tree.get("diverged", ()))}
    if "known" in tree:
        known = tree["known"]
        metrics |= {"known": known["architectures"], "known_trainings": known["trainings"]}
        if "retest" in tree:  # of those with a second training, which may be fewer than all
            metrics["retest_n"] = tree["retest"]["n"]
        metrics["known_repeats"] = known["repeats"]
        top = tree["top_tenth"] or {}
        metrics |= {"top_tenth_n": top.get("n"), "top_tenth_p_value": top.get("p_value")}
        metrics["icc"] = (tree["icc"] or {}).get("value")
    if "sampled" in tree:
        metrics |= sampled_figures(tree["sampled"])
    return metrics


def sampled_figures(sampled: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of what the final mixing weights drew."""
    ranking, uniform = sampled.get("ranking", {}), sampled.get("uniform", {})
    tau_low, tau_high = ranking.get("interval") or (None, None)
    low, high = uniform.get("interval") or (None, None)
    figures = {
        "wanted": sampled["wanted"], "different": sampled["different"], "known": sampled["known"],
        "tau_b": ranking.get("tau_b"), "tau_b_low": tau_low, "tau_b_high": tau_high, "mean": sampled.get("mean"),
        "uniform_n": uniform.get("n"), "uniform_mean": uniform.get("mean"),
        "difference": uniform.get("difference"), "difference_low": low, "difference_high": high,
    }  # fmt: skip
    return {f"sampled_{name}": value for name, value in figures.items()}


def describe_ranking(ranking: Ranking) -> dict[str, str]:
    """Return the lines that a person reads."""
    others = {"a": ranking.tau_a, "c": ranking.tau_c, "weighted": ranking.weighted_tau}
    return {
        "architectures": str(ranking.n),
        "tau-b": ranking.in_words(),
        "tau": ", ".join(f"{which} {number(tau)}" for which, tau in others.items()),
        "p-value": "undefined" if ranking.p_value is None else f"{ranking.p_value:.2g} ({ranking.p_value_method})",
        "agreement": ranking.label,
        "top-k overlap": ", ".join(f"{k}: {share:.2f}" for k, share in ranking.top_k_overlap.items()),
    }


def number(value: float | None) -> str:
    """Write a tau, or that there is none."""
    return "undefined" if value is None else f"{value:.2f}"

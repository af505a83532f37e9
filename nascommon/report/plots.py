"""Pictures of a search: every mixing weight over the epochs, and search scores against retraining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from nascommon.report.figures import house_style, new_figure, operation_colour, operation_dashes
from nascommon.report.naming import edge_name
from nascommon.statistics.ranking import Ranking

COLUMNS = 5
PANEL = (2.5, 1.9)
"""Inches of one panel."""
MOST_NAMED = 30
"""Points that are labelled; the names of more would cover each other."""
DASHES = ("-", "--", ":", "-.")
"""Operations of one family share a colour and differ in the dash."""


def plot_alphas(
    weights_TEO: ArrayLike,
    operations: Sequence[Sequence[str]],
    edges: Sequence[str],
    title: str,
    kept: Sequence[str | None] = (),
) -> Figure:
    """Draw the mixing weights of a cell, a panel per edge and a line per candidate over the epochs.

    Args:
        weights_TEO: epochs x edges x candidates.
        operations: per edge the names of its candidates.
        edges: names of the edges.
        title: heading of the picture.
        kept: per edge the operation that the genotype keeps, whose line is thick and whose panel's heading is bold;
            None for an edge that goes. Empty marks none.
    """
    weights = np.asarray(weights_TEO, dtype=np.float64)
    rows = -(-len(edges) // COLUMNS)
    names = list(dict.fromkeys(name for edge in operations for name in edge))
    kept = kept or [None] * len(edges)
    style = _styles(names)
    with house_style():
        figure = new_figure(COLUMNS * PANEL[0], rows * PANEL[1] + 1.1)
        epochs = np.arange(1, len(weights) + 1)
        margin = 0.05 * float(np.ptp(weights)) + 1e-3
        for edge, name in enumerate(edges):
            axes = figure.add_subplot(rows, COLUMNS, edge + 1)
            for choice, operation in enumerate(operations[edge]):
                colour, dash = style[operation]
                width = 2.8 if operation == kept[edge] else 1.2
                axes.plot(epochs, weights[:, edge, choice], color=colour, ls=dash, linewidth=width, label=operation)
            axes.set_title(f"edge {name}", fontsize=9, fontweight="bold" if kept[edge] else "normal")
            axes.set_ylim(float(weights.min()) - margin, float(weights.max()) + margin)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.tick_params(labelsize=7)
            if edge % COLUMNS == 0:
                axes.set_ylabel("mixing weight", fontsize=7)
            if edge >= len(edges) - COLUMNS:
                axes.set_xlabel("epoch", fontsize=7)
        handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
        legend = figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=4, fontsize=8)
        for line in legend.get_lines():
            line.set_linewidth(1.2)
        figure.suptitle(f"{title}, by epoch" + (" (bold: kept)" if any(kept) else ""))
        figure.tight_layout(rect=(0, 0.75 / (rows * PANEL[1] + 1.1), 1, 0.99))
    return figure


def plot_ranking(
    search: ArrayLike,
    retrain: ArrayLike,
    names: Sequence[str],
    ranking: Ranking,
    title: str,
    *,
    trainings_NT: ArrayLike | None = None,
    ceiling: float | None = None,
) -> Figure:
    """Draw search score against retrained accuracy, a point for each architecture; few are labelled.

    Args:
        search: scores, shares in [0, 1]; shown as percent, as all that follows.
        retrain: accuracies.
        names: of the architectures.
        ranking: of the two.
        title: heading of the picture.
        trainings_NT: accuracies of single trainings, NaN where there are fewer; a bar shows their range.
        ceiling: tau-b that a perfect score would reach.
    """
    x_N, y_N = (100 * np.asarray(scores, dtype=np.float64) for scores in (search, retrain))
    with house_style():
        figure = new_figure(6.4, 5.2)
        axes = figure.add_subplot()
        axes.scatter(
            x_N, y_N, s=42 if len(names) <= MOST_NAMED else 12, color=operation_colour("sep_conv_3x3"), zorder=3
        )
        if trainings_NT is not None:
            low_N, high_N = (100 * end(trainings_NT, axis=1) for end in (np.nanmin, np.nanmax))
            width = 1.2 if len(names) <= MOST_NAMED else 0.4
            axes.vlines(x_N, low_N, high_N, color="#9a9a9a", linewidth=width, zorder=2)
        for x, y, name in zip(x_N, y_N, names, strict=True) if len(names) <= MOST_NAMED else ():
            axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color="#555555")
        axes.margins(0.12)
        axes.set_xlabel("search score, %")
        axes.set_ylabel("accuracy after retraining, %")
        axes.set_title(f"{title}\n{_caption(ranking, ceiling)}", fontsize=10)
        figure.tight_layout()
    return figure


def edge_names(edges: Sequence[tuple[int, int]]) -> list[str]:
    """Name edges (source, node) for the panels."""
    return [edge_name(source, node) for source, node in edges]


def _caption(ranking: Ranking, ceiling: float | None) -> str:
    attainable = "" if ceiling is None else f"; ceiling {ceiling:.2f}"
    chance = "" if ranking.p_value is None else f"\np = {ranking.p_value:.2g}, n = {ranking.n}"
    return f"Kendall tau-b {ranking.in_words()}{attainable}{chance}"


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and dash of every operation."""
    return {name: (operation_colour(name), DASHES[dash]) for name, dash in operation_dashes(names).items()}

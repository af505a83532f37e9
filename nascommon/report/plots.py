"""Pictures of a search: every mixing weight over the epochs, and search scores against retraining."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from nascommon.report.figures import house_style, new_figure, operation_colour
from nascommon.statistics.ranking import Ranking

COLUMNS = 5
PANEL = (2.5, 1.9)
"""Inches of one panel."""
MOST_NAMED = 30
"""Points that are labelled; the names of more would cover each other."""
DASHES = ("-", "--", ":", "-.")
"""Operations of one family share a colour and differ in the dash."""


def plot_alphas(
    weights_TEO: ArrayLike, operations: Sequence[Sequence[str]], edges: Sequence[str], title: str
) -> Figure:
    """Draw the mixing weights of a cell, a panel per edge and a line per candidate over the epochs.

    Args:
        weights_TEO: epochs x edges x candidates.
        operations: per edge the names of its candidates.
        edges: names of the edges.
        title: heading of the picture.
    """
    weights = np.asarray(weights_TEO, dtype=np.float64)
    rows = -(-len(edges) // COLUMNS)
    names = list(dict.fromkeys(name for edge in operations for name in edge))
    style = _styles(names)
    with house_style():
        figure = new_figure(COLUMNS * PANEL[0], rows * PANEL[1] + 1.1)
        margin = 0.05 * float(np.ptp(weights)) + 1e-3
        for edge, name in enumerate(edges):
            axes = figure.add_subplot(rows, COLUMNS, edge + 1)
            for choice, operation in enumerate(operations[edge]):
                colour, dash = style[operation]
                axes.plot(weights[:, edge, choice], color=colour, linestyle=dash, linewidth=1.4, label=operation)
            axes.set_title(f"edge {name}", fontsize=9)
            axes.set_ylim(float(weights.min()) - margin, float(weights.max()) + margin)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.tick_params(labelsize=7)
        handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
        figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=4, fontsize=8)
        figure.suptitle(f"{title}, by epoch")
        figure.tight_layout(rect=(0, 0.75 / (rows * PANEL[1] + 1.1), 1, 0.99))
    return figure


def plot_ranking(search: ArrayLike, retrain: ArrayLike, names: Sequence[str], ranking: Ranking, title: str) -> Figure:
    """Draw search score against retrained accuracy (shares in [0, 1], shown as percent), a point each, few labelled."""
    x_N, y_N = (100 * np.asarray(scores, dtype=np.float64) for scores in (search, retrain))
    with house_style():
        figure = new_figure(6.4, 5.2)
        axes = figure.add_subplot()
        axes.scatter(
            x_N, y_N, s=42 if len(names) <= MOST_NAMED else 12, color=operation_colour("sep_conv_3x3"), zorder=3
        )
        for x, y, name in zip(x_N, y_N, names, strict=True) if len(names) <= MOST_NAMED else ():
            axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color="#555555")
        axes.margins(0.12)
        axes.set_xlabel("search score, %")
        axes.set_ylabel("accuracy after retraining, %")
        axes.set_title(f"{title}\n{_caption(ranking)}", fontsize=10)
        figure.tight_layout()
    return figure


def _caption(ranking: Ranking) -> str:
    chance = "" if ranking.p_value is None else f"\np = {ranking.p_value:.2g}, n = {ranking.n}"
    return f"Kendall tau-b {ranking.in_words()}{chance}"


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and dash of every operation."""
    colours = {name: operation_colour(name) for name in names}
    families: dict[str, list[str]] = {}
    for name, colour in colours.items():
        families.setdefault(colour, []).append(name)
    return {name: (colour, DASHES[families[colour].index(name) % len(DASHES)]) for name, colour in colours.items()}

"""The pictures of a search show every edge, every candidate and every architecture."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from nascommon.report.figures import figure_bytes
from nascommon.report.plots import plot_alphas, plot_ranking
from nascommon.settings import UserError
from nascommon.statistics.ranking import rank_correlation

OPS = ("none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5")


def weights(epochs: int, edges: int, candidates: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(candidates), size=(epochs, edges))


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("edges", [1, 5, 6])
def test_weights_have_a_panel_per_edge_and_a_line_per_candidate(edges: int) -> None:
    weights_TEO, names = weights(3, edges, len(OPS)), [f"{edge}->2" for edge in range(edges)]
    figure = plot_alphas(weights_TEO, [OPS] * edges, names, "normal cell")
    assert [axes.get_title() for axes in figure.axes] == [f"edge {name}" for name in names]
    for edge, axes in enumerate(figure.axes):
        drawn = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        assert tuple(drawn) == OPS
        for choice, operation in enumerate(OPS):
            assert np.array_equal(drawn[operation], weights_TEO[:, edge, choice])
    assert legend(figure) == list(OPS)
    assert figure.get_suptitle() == "normal cell, by epoch"


def test_edges_with_different_candidates_share_one_legend_and_one_style() -> None:
    operations = [("none", "sep_conv_3x3"), ("sep_conv_3x3", "dil_conv_3x3"), ("skip_connect", "none")]
    figure = plot_alphas(weights(4, 3, 2), operations, ["a", "b", "c"], "reduction cell")
    assert [tuple(line.get_label() for line in axes.get_lines()) for axes in figure.axes] == operations
    assert sorted(legend(figure)) == ["dil_conv_3x3", "none", "sep_conv_3x3", "skip_connect"]
    first, second = figure.axes[0].get_lines()[1], figure.axes[1].get_lines()[0]
    assert (first.get_color(), first.get_linestyle()) == (second.get_color(), second.get_linestyle())


def test_no_two_candidates_look_alike() -> None:
    figure = plot_alphas(weights(2, 1, len(OPS)), [OPS], ["a"], "x")
    lines = figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(OPS)


def test_all_panels_show_the_whole_range_of_weights() -> None:
    weights_TEO = weights(5, 3, len(OPS))
    limits = {axes.get_ylim() for axes in plot_alphas(weights_TEO, [OPS] * 3, ["a", "b", "c"], "x").axes}
    ((low, high),) = limits
    assert low < weights_TEO.min() < weights_TEO.max() < high


def test_the_ranking_has_a_labelled_point_per_architecture_in_percent() -> None:
    search, retrain, names = [0.5, 0.6, 0.7, 0.65, 0.8], [0.90, 0.91, 0.93, 0.92, 0.89], ["e1", "e2", "e3", "e4", "e5"]
    figure = plot_ranking(search, retrain, names, rank_correlation(search, retrain), "tiny")
    axes = figure.axes[0]
    (points,) = (item for item in axes.collections if isinstance(item, PathCollection))
    assert np.allclose(points.get_offsets(), 100 * np.column_stack([search, retrain]))
    assert [text.get_text() for text in axes.texts] == names
    assert axes.get_title().startswith("tiny\nKendall tau-b 0.20 (95 % interval ")
    assert "p = 0.82, n = 5" in axes.get_title()


def test_a_constant_score_is_said_to_leave_tau_undefined() -> None:
    search, retrain = [0.5] * 3, [0.9, 0.8, 0.7]
    figure = plot_ranking(search, retrain, ["a", "b", "c"], rank_correlation(search, retrain), "tiny")
    assert "tau-b undefined, since one of the two is the same for all 3 architectures" in figure.axes[0].get_title()


def test_a_tau_without_an_interval_is_still_shown() -> None:
    search = [0.1, 0.1, 0.3]
    title = plot_ranking(search, search, ["a", "b", "c"], rank_correlation(search, search), "tiny").axes[0].get_title()
    assert "tau-b 1.00 (no interval: 3 architectures are too few, 5 are needed)" in title
    assert "undefined" not in title


def test_a_figure_gives_the_same_bytes_twice_and_only_in_known_formats() -> None:
    def drawn(suffix: str) -> bytes:
        return figure_bytes(plot_alphas(weights(3, 2, len(OPS)), [OPS] * 2, ["a", "b"], "x"), suffix)

    assert drawn(".svg") == drawn(".svg")
    assert drawn(".png").startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"got '\.pdf'"):
        drawn(".pdf")


def test_kept_edges_are_marked_and_the_rest_is_not() -> None:
    figure = plot_alphas(weights(3, 2, len(OPS)), [OPS] * 2, ["0 → 2", "1 → 2"], "normal cell", ["sep_conv_3x3", None])
    first, second = figure.axes
    assert (first.title.get_fontweight(), second.title.get_fontweight()) == ("bold", "normal")
    widths = {str(line.get_label()): line.get_linewidth() for line in first.get_lines()}
    assert max(widths, key=lambda name: widths[name]) == "sep_conv_3x3"
    assert len({line.get_linewidth() for line in second.get_lines()}) == 1
    assert len({line.get_linewidth() for line in figure.legends[0].get_lines()}) == 1


def test_the_ranking_shows_the_range_of_trainings_and_the_ceiling() -> None:
    search, each = [0.5, 0.6, 0.7], np.array([[0.9, 0.92], [0.91, np.nan], [0.95, 0.93]])
    known = np.nanmean(each, axis=1)
    ranking = rank_correlation(search, known)
    figure = plot_ranking(search, known, list("abc"), ranking, "tiny", trainings_NT=each, ceiling=0.6)
    (bars,) = (item for item in figure.axes[0].collections if isinstance(item, LineCollection))
    spans = [tuple(np.asarray(bar)[:, 1].round(6)) for bar in bars.get_segments()]
    assert spans == [(90.0, 92.0), (91.0, 91.0), (93.0, 95.0)]
    assert "; ceiling 0.60" in figure.axes[0].get_title()

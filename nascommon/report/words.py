"""The report in words: the verdict, what stands behind it, and the tables."""

from __future__ import annotations

from typing import Any

from nascommon.report.known_truth import ONE_DEPTH, Truth, known, truth_section, truth_sentences
from nascommon.report.sampled import ENDS, sampled_sentences
from nascommon.report.verdict import sentences
from nascommon.runtime.progress import percent, points
from nascommon.space.genotype import format_cell, genotype_from_json
from nascommon.space.kinds import cell_of
from nascommon.statistics.ranking import tau_in_words

COMPARABILITY = (
    "Rows of different data sets are not comparable. Those of `ours` are last-epoch networks of this run, with the "
    "95 % interval that the size of the test set leaves, unless they say that they were not trained here. "
)
PUBLISHED = "`paper` are published figures of the same protocol on CIFAR-10, their sources in table.csv."
NOT_PUBLISHED = "Published figures are left out: evaluate.published_protocol is false, so this is another protocol."
GAPS = (
    "This run alone, with 95 % intervals; `make compare` prints all tracked runs with equal settings but for "
    "method and seed, where several seeds have mean ± standard deviation."
)


def write_report(title: str, results: dict[str, Any], table: str, gaps: str) -> str:
    """Return the report as Markdown."""
    genotype = genotype_from_json(results["genotype"])
    cells = "\n".join(f"- {kind}: `{format_cell(cell)}`" for kind, cell in genotype.items())
    birth = results["provenance"]
    return "\n".join(
        [
            f"# {title}",
            "",
            *[f"- {line}" for line in sentences(results).values()],
            "",
            "What stands behind it:",
            "",
            *[f"- {line}" for line in findings(results)],
            "",
            *truth_section(results["truth"], title),
            "## The architecture",
            "",
            cells,
            "",
            "## The gaps between search and retraining",
            "",
            GAPS,
            "",
            gaps,
            "## Results",
            "",
            COMPARABILITY + (PUBLISHED if results["published_protocol"] else NOT_PUBLISHED),
            "",
            table,
            f"Commit {birth['commit']}, {birth['hardware']}, torch {birth['torch']}, command `dvc repro`.",
            "",
        ]
    )


def findings(results: dict[str, Any]) -> list[str]:
    """Return what stands behind the verdict, a sentence or two each."""
    metrics, stages = results["metrics"], results["stages"]
    lines = truth_sentences(results["truth"])
    if given := results["given"]:
        what = "judged" if metrics["test_accuracy"] is None else "retrained"
        lines.append(
            f"The {what} architecture is {given}, as discretize.genotype asks; the gaps are of the search's own."
        )
    for comparison in results["comparisons"]:
        lines += [random_sentence(comparison), *noise_sentences(comparison)]
    lines += diverged_sentences(stages)
    lines.append(cut_sentence(stages["discretize"]))
    lines.append(operation_gap_sentence(stages["discretize"], genotype_from_json(results["genotype"]).main_kind))
    kendall = stages["kendall_tau"]
    if not results.get("unranked"):  # else the verdict says why
        lines.append(ranking_sentence(kendall))
    lines += [*sampled_sentences(kendall), *retest_sentences(kendall)]
    return lines + depth_sentences(kendall, results["truth"])


def diverged_sentences(stages: dict[str, Any]) -> list[str]:
    """Say how many networks diverged and are therefore part of no figure."""
    counts = {"baseline": "random networks", "kendall_tau": "retrainings of ranked architectures"}
    return [
        f"{stages[stage]['diverged']} {what} diverged and are left out of the figures."
        for stage, what in counts.items()
        if stages[stage].get("diverged")
    ]


def random_sentence(comparison: dict[str, Any]) -> str:
    """Say how the network stands among random architectures."""
    return (
        f"Against random architectures ({comparison['source']}, n = {comparison['n']}, mean "
        f"{comparison['null_mean']:.2f} %): {comparison['verdict']}. Of all random ones "
        f"{comparison['percentile_low']:.1f} to {comparison['percentile_high']:.1f} % are worse (95 % interval), and "
        f"one is at least as good with p = {comparison['p_as_good']:.2g}."
    )


def noise_sentences(comparison: dict[str, Any]) -> list[str]:
    """Say how much of what is compared is the architectures' own, if that is known."""
    if not (noise := comparison["noise"]):
        return []
    interval = f"95 % interval {noise['low']:.2f} to {noise['high']:.2f}, {noise['groups']} architectures"
    one = f"{max(noise['value'], 0.0):.2f} of the variance of one training lies between architectures ({interval})"
    if noise["low"] <= 0:
        return [f"No search can show anything here: {one}, which may be none; the rest is the seed's."]
    count = comparison["trainings"]
    if count == 1:
        return [f"{one}; the rest is the seed's."]
    compared = f"{noise['of_mean']:.2f} of the variance of what is compared, means of {count} trainings"
    return [f"{compared}, lies between architectures; {one}."]


def cut_sentence(gap: dict[str, Any]) -> str:
    """Say what cutting costs by the measures that are not the headline gap."""
    raw, weighted = points(gap["discretization_gap"]), points(gap["discretization_gap_weighted"])
    return (
        f"With the old batch norm, that of the mixture, which is wrong for any part of it, the supernet goes from "
        f"{percent(gap['soft'])} to {percent(gap['kept'])} ({raw} lost); to {percent(gap['kept_weighted'])} "
        f"({weighted} lost) if what is kept has its learned weights."
    )


def operation_gap_sentence(gap: dict[str, Any], kind: str) -> str:
    """Say whether weight follows worth, and how many skips the main kind of cell has."""
    skips = gap[f"skips_{kind}"]
    excess = (
        f"Operation gap: {points(gap['operation_gap_excess'])} of weight on operations without weights against their "
        f"uniform share (95 % interval {100 * gap['operation_gap_excess_low']:+.1f} to "
        f"{100 * gap['operation_gap_excess_high']:+.1f}), "
        f"{skips} skip connection{'s' * (skips != 1)} in the {cell_of(kind)}"
    )
    tau = gap["weight_loss_worth_tau"]
    return excess + (f"; Kendall tau-b of weight and worth {tau:.2f}." if tau is not None else ".")


def depth_sentences(kendall: dict[str, Any], truth: Truth | None) -> list[str]:
    """Say whether deeper training ranks as training at search depth does, if that was measured."""
    if kendall.get("depth_tau_b") is None:
        return [ONE_DEPTH] if known(truth) else []
    return [f"Search depth against retraining depth: Kendall tau-b {tau_with_interval(kendall, 'depth_')}."]


def ranking_sentence(kendall: dict[str, Any]) -> str:
    """Say how well search scores rank architectures."""
    chance = "" if kendall["p_value"] is None else f", p = {kendall['p_value']:.2g}, n = {kendall['n']}"
    what = "known accuracy" if kendall.get("known") else "retraining"
    best = ""
    if kendall.get("top_tenth_tau_b") is not None:
        of_best = tau_in_words(kendall["top_tenth_n"], *(kendall.get(f"top_tenth_tau_b{end}") for end in ENDS))
        p_value = kendall.get("top_tenth_p_value")
        of_best += "" if p_value is None else f", p = {p_value:.2g}"
        best = f" Among the best tenth: Kendall tau-b {of_best}, n = {kendall['top_tenth_n']}."
        if p_value is not None:
            best += " Intervals come from resampling, p from permutations: of few architectures they can disagree."
    return f"Search score against {what}: Kendall tau-b {tau_with_interval(kendall)}{chance}.{best}"


def retest_sentences(kendall: dict[str, Any]) -> list[str]:
    """Say how far retraining repeats its own order, and what that leaves to a score, if that was measured."""
    if kendall.get("retest_tau_b") is None:
        return []
    agreement = f"Retest agreement, of two seeds of retraining: Kendall tau-b {tau_with_interval(kendall, 'retest_')}."
    means = (kendall.get("known_repeats") or 1) > 1
    against = "the mean of them" if means else "one of them"
    ceiling = f"{kendall['ceiling_tau_b']:.2f} against {against} on average (corrected for attenuation)"
    return [f"{agreement} A perfect score would reach {ceiling}."]


def tau_with_interval(kendall: dict[str, Any], prefix: str = "") -> str:
    """Write a tau-b of the stage's metrics with its interval."""
    return tau_in_words(kendall.get(f"{prefix}n", kendall["n"]), *(kendall.get(f"{prefix}tau_b{end}") for end in ENDS))

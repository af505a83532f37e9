"""Evaluate: the test images, read for the first time, and the final table."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from nascommon.config import Params
from nascommon.pipeline.against_random import Judged, RandomOnes, add_to_bank, judge, random_ones, trained_folders
from nascommon.pipeline.closing import print_closing, printed_later
from nascommon.pipeline.differing import differing
from nascommon.pipeline.known_truth import known_truth
from nascommon.pipeline.paths import (
    DISCRETIZE,
    EVALUATE,
    KENDALL,
    METRICS,
    RETRAIN,
    ROOT,
    TARGET_DATA,
)
from nascommon.pipeline.protocol_check import rulings
from nascommon.pipeline.protocol_evidence import evidence_of
from nascommon.pipeline.recording import record_result
from nascommon.pipeline.result_rows import (
    cost_in_words,
    figures,
    linear_row,
    origin_in_words,
    random_row,
    searched_row,
    title_of,
    transfer_row,
)
from nascommon.pipeline.run import Run, method_hash, stage_run
from nascommon.pipeline.tested import Measured, tested
from nascommon.pipeline.truths import find_bank
from nascommon.report.gap_table import gap_figures, gap_table
from nascommon.report.gap_table import to_markdown as gaps_to_markdown
from nascommon.report.known_truth import Truth, known, truth_metrics, truth_rows, truth_verdict
from nascommon.report.page.files import Files
from nascommon.report.page.page import page
from nascommon.report.published import published_results
from nascommon.report.table import comparison_table, to_markdown
from nascommon.report.verdict import headline
from nascommon.report.words import write_report
from nascommon.runtime.artefacts import read_json, write_json, write_table, write_text
from nascommon.space.genotype import Genotype, genotype_from_json
from nascommon.truth.bank import Bank
from nascommon.truth.table import load_table

Rows = list[dict[str, Any]]
"""Rows of the table of results, by column."""


def evaluate(params: Params) -> None:
    """Test the last-epoch networks of retrain, transfer and baseline, and write data/evaluate.

    This is the only stage that reads test images. The report compares the searched network with random architectures
    of the same protocol, with a linear classifier and with published results, and adds up what it all cost. Where a
    table knows the architecture, it says how good it is without any retraining.
    """
    with stage_run("evaluate", params) as run:
        target = run.open(TARGET_DATA)
        manifest = target.prepared.manifest
        ours = None if params.retrain.skip else tested(run, target, trainings(RETRAIN), "retrain")
        trained = [tested(run, target, folders, "baseline") for folders in trained_folders()]
        bank = find_bank(run.params, manifest, run.precision)
        random = random_ones(trained, bank, found_genotype())
        judged = judge(run, ours, random)
        truth = known_truth(run, found_genotype(), search_cost(run))
        linear, transferred = linear_row(run, target), transfer_row(run)
        rows = [
            *searched_row(run, ours, judged),
            *truth_rows(truth, origin_in_words(run), cost_in_words(run)),
            *random_row(run, random),
            *linear,
            *transferred,
        ]
        # Other people's results say something beside ours only where they come from the same protocol.
        published = published_results() if params.evaluate.published_protocol else published_results().head(0)
        table = comparison_table(rows, published)
        results = collect_results(run, ours, random, (linear, transferred), judged, truth)
        results["no_bank"] = None if isinstance(bank, Bank) else bank
        results["unranked"] = read_json(KENDALL / "ranking.json").get("skipped")
        kind = genotype_from_json(results["genotype"]).main_kind
        gaps = own_gaps(params, results["metrics"], kind)
        write_json(EVALUATE / "results.json", results)
        write_table(EVALUATE / "gaps.csv", gaps)
        write_table(EVALUATE / "random.csv", random_table(random, judged, truth))
        write_table(EVALUATE / "table.csv", table)
        write_text(EVALUATE / "table.json", table.to_json(orient="records", indent=2, force_ascii=False) + "\n")
        write_text(
            EVALUATE / "report.md",
            write_report(results["title"], results, to_markdown(table), gaps_to_markdown(gaps, kind)),
        )
        write_json(EVALUATE / "protocol.json", [one.as_dict() for one in rulings(evidence_of(params, results))])
        write_text(EVALUATE / "report.html", page(Files(ROOT)))
        write_json(METRICS / "summary.json", few_figures(results))
        run.write_metrics(results["metrics"])
        add_to_bank(run, manifest, list(zip(trained_folders(), trained, strict=True)))
        run.tracker.artefact(EVALUATE, "evaluate")
        record_result(run.tracker, params)
    if not printed_later():
        print_closing()


def few_figures(results: dict[str, Any]) -> dict[str, float | None]:
    """Return what fits beside the name of a run on one line: all that DVC compares."""
    random = results["metrics"]["random_mean_accuracy"]
    return {
        **headline(results).figures(),
        "random_accuracy": random,
        "params": results["stages"]["retrain"].get("params"),
    }


def own_gaps(params: Params, metrics: dict[str, Any], kind: str) -> pd.DataFrame:
    """Return the table of gaps of this run alone: what other runs found is no input of this stage."""
    if params.discretize.genotype is not None:  # its accuracy is nobody's whose gaps these are
        metrics = {**metrics, "test_accuracy": None, "truth_accuracy": None, "truth_percentile": None}
    return gap_table([(params.search.method, method_hash(params), metrics)], kind)


def random_table(random: list[RandomOnes], judged: list[Judged], truth: Truth | None) -> pd.DataFrame:
    """Return the accuracies (shares) of the architectures that ours is compared with, a row each, and their source."""
    if (truth := known(truth)) is not None:
        return pd.DataFrame({"source": "table", "accuracy": load_table().test[truth["own_set"]]})
    rows = [
        (one.comparison.source, mean / 100)
        for ones, one in zip(random, judged, strict=False)
        for mean in ones.means(one.trainings)
    ]
    return pd.DataFrame(rows, columns=["source", "accuracy"])


def trainings(folder: Path) -> list[Path]:
    """Return where the trainings of an architecture lie: the first in the folder itself, the others inside."""
    return [folder, *sorted(folder.glob("seed_*"))]


def found_genotype() -> Genotype:
    """Read the architecture that all this is about."""
    return genotype_from_json(read_json(DISCRETIZE / "genotype.json"), "genotype.json")


def search_cost(run: Run) -> float:
    """Return the seconds that finding the architecture took; none for one that was given."""
    if run.params.discretize.genotype is not None:
        return 0.0
    return float(figures("search")["search_seconds"] + figures("discretize")["selection_seconds"])


def collect_results(
    run: Run,
    ours: Measured | None,
    random: list[RandomOnes],
    beside: tuple[Rows, Rows],
    judged: list[Judged],
    truth: Truth | None,
) -> dict[str, Any]:
    """Return everything that the report says, with all figures under ``metrics``.

    Args:
        run: of ``evaluate``.
        ours: the searched network, if it was retrained.
        random: random architectures, by source.
        beside: rows of the table of the linear classifier and of the transferred network; none where there is none.
        judged: what came of comparing ours with each of ``random``.
        truth: what a table knows of the architecture.
    """
    stages = {name: figures(name) for name in
              ("search", "discretize", "retrain", "transfer", "kendall_tau", "baseline")}  # fmt: skip
    linear, transferred = (rows[0] if rows else {} for rows in beside)
    seconds = {
        "search": stages["search"]["search_seconds"],
        "selection": stages["discretize"]["selection_seconds"],
        **({"retrain": stages["retrain"]["train_seconds"]} if ours else {}),
    }
    genotype = found_genotype()
    first = judged[0] if judged else None
    random_verdict = first.comparison.verdict if first else "not compared with random architectures"
    metrics = {
        "test_accuracy": ours.accuracy if ours else None,
        "test_error_percent": 100 * (1 - ours.accuracy) if ours else None,
        "test_images": ours.hits[0].total if ours else None,
        "linear_error_percent": linear.get("test error %"),
        "transfer_error_percent": transferred.get("test error %"),
        "transfer_test_images": transferred.get("test images"),
        "test_accuracy_sd": ours.sd if ours else None,
        "random_mean_accuracy": fmean(random[0].means(1)) / 100 if random else None,
        "percentile_vs_random": first.comparison.percentile if first else None,
        "p_value_vs_random": first.comparison.p_value if first else None,
        "p_as_good_as_random": first.comparison.p_as_good if first else None,
        "variance_between_architectures": first.noise.of_mean(first.trainings) if first and first.noise else None,
        "total_seconds": sum(seconds.values()),
        **gap_figures(stages, genotype.main_kind),
        **truth_metrics(truth),
    }
    return {
        "title": title_of(run.params),
        "metrics": metrics,
        "verdict": truth_verdict(truth) or random_verdict,
        "truth": truth,
        "comparisons": [one.as_dict() for one in judged],
        "accuracies": ours.accuracies if ours else (),
        "cost_seconds": seconds,
        "genotype": genotype.to_json(),
        "given": run.params.discretize.genotype,
        "published_protocol": run.params.evaluate.published_protocol,
        "stages": stages,
        "settings": differing(run.params),
        "provenance": run.provenance(),
    }

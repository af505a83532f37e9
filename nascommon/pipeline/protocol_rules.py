"""How each rule of good practice is judged: a verdict, what it rests on, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from nascommon.method import REGISTRY
from nascommon.pipeline.protocol_evidence import UNJUDGED, Evidence
from nascommon.report.next_step import RANDOM, study_of
from nascommon.runtime.progress import duration
from nascommon.settings import leaves
from nascommon.statistics.null import FEWEST_TO_SHOW, LEVEL
from nascommon.statistics.paired import FEWEST_PAIRS
from nascommon.truth.table import find_table

Verdict = Literal["kept", "broken", "not applicable"]
Answer = tuple[Verdict, str, str]
"""Verdict, what it was judged by, and what to do where the rule is broken."""
TRICKS = ("training.cutout", "training.drop_path", "training.label_smoothing", "network.auxiliary")
"""Keys of ``retrain`` that raise every architecture's accuracy alike; 0 or false leaves them out."""
AGAIN = "run `dvc repro`"


def kept(evidence: str) -> Answer:
    """Say that a rule is kept."""
    return "kept", evidence, ""


def broken(evidence: str, advice: str) -> Answer:
    """Say that a rule is broken."""
    return "broken", evidence, advice


def does_not_apply(evidence: str) -> Answer:
    """Say that there is nothing to judge."""
    return "not applicable", evidence, ""


def code_of(stage: str, evidence: Evidence) -> Answer:
    """Judge whether a commit holds the code that a stage's files were made by."""
    if stage == "retrain" and evidence.params.retrain.skip:
        return does_not_apply("retrain.skip: nothing is retrained here")
    birth = evidence.births.get(stage)
    if birth is None:
        return broken(f"data/{stage} holds no result of these settings", AGAIN)
    if not evidence.commit:
        return broken("the code is in no git repository", "run from a git checkout of the project")
    if evidence.dirty:
        return broken(f"code differs from commit {evidence.commit}", f"commit it, then {AGAIN}")
    if birth.get("code") != evidence.code[stage]:
        return broken(f"data/{stage} was made by other code than is here", AGAIN)
    return kept(f"commit {evidence.commit} holds the code of data/{stage}; whether it is public is not seen from here")


def settings_of(stage: str, evidence: Evidence) -> Answer:
    """Judge whether dvc.lock has a stage's settings, seed included, as params.yaml has them."""
    if stage == "retrain" and evidence.params.retrain.skip:
        return does_not_apply("retrain.skip: nothing is retrained here")
    if stage not in evidence.locked:
        return broken(f"dvc.lock has no stage {stage}", f"{AGAIN} and commit dvc.lock")
    if changed := evidence.changed(stage):
        return broken(f"dvc.lock has other values than params.yaml: {some(changed)}", f"{AGAIN} and commit dvc.lock")
    return kept(f"dvc.lock has {', '.join(evidence.locked[stage])} as params.yaml has them")


def same_benchmark(evidence: Evidence) -> Answer:
    """Judge whether the methods that are tracked ran on the same data, split, space and training."""
    here, elsewhere = {run.method for run in evidence.alike}, {run.method for run in evidence.runs}
    if len(elsewhere) < 2:  # noqa: PLR2004 -- a comparison takes two
        return does_not_apply(f"{evidence.whose_runs}: one method or none, so nothing is compared")
    if left := sorted(elsewhere - here):
        return broken(
            f"ran with other settings than params.yaml, method and seed apart: {some(left)}",
            study_of(elsewhere),
        )
    return kept(f"{some(sorted(here))}: settings differ in nothing but method and seed")


def confounders(evidence: Evidence) -> Answer:
    """Judge whether runs that are compared had the same code, hardware and version of PyTorch."""
    if len(evidence.alike) < 2:  # noqa: PLR2004
        return does_not_apply(f"{evidence.whose_runs}: nothing else to compare with these settings")
    found = {
        name: sorted({run.tags.get(name, "not recorded") for run in evidence.alike}) for name in ("hardware", "torch")
    }
    commits = sorted({run.tags.get("git", "not recorded") for run in evidence.alike})
    # By content where a run noted that: params.yaml and dvc.lock make a commit another, or dirty, and no code.
    codes = {run.tags.get("code") or run.tags.get("git", "not recorded") for run in evidence.alike}
    differing = [f"{name}: {some(values)}" for name, values in found.items() if len(values) > 1]
    if len(codes) > 1:
        differing.append(f"{len(codes)} different codes: commit {some(commits)}")
    if differing:
        return broken(
            "; ".join(differing), f"on one machine, from one commit: {study_of(run.method for run in evidence.alike)}"
        )
    same = ", ".join(f"{name} {values[0]}" for name, values in found.items())
    return kept(f"{len(evidence.alike)} runs, {same}, the same code (commit {some(commits)})")


def ablations(evidence: Evidence) -> Answer:
    """Judge whether variants of the method were tried under the same protocol."""
    method = evidence.params.search.method
    if method == RANDOM:
        return does_not_apply("random search has no parts to leave out")
    count = len(evidence.variants)
    if count == 0:
        return broken(evidence.no_results, AGAIN)
    if count > 1:
        return kept(f"{count} variants of {method} ran with these settings")
    return broken(f"{count} variant of {method} ran with these settings", "`ls experiments` lists ablations")


def same_evaluation(evidence: Evidence) -> Answer:
    """Judge whether what the result is compared with was trained as it was."""
    if (results := evidence.results) is None:
        return broken(evidence.no_results, AGAIN)
    if evidence.truth is not None:
        return kept("all architectures of the table were trained by one protocol")
    sources = [one["source"] for one in results["comparisons"]]
    if not sources:
        return broken("compared with nothing", f"baseline.architectures: {FEWEST_TO_SHOW} in params.yaml, and {AGAIN}")
    return kept(f"compared with random architectures: {some(sources)}")


def over_time(evidence: Evidence) -> Answer:
    """Judge whether quality is known as a function of the search's time."""
    if (epochs := evidence.measured("search", "epochs")) is None:
        return broken(evidence.no_results, AGAIN)
    if epochs < 2:  # noqa: PLR2004
        return broken(f"the search has {epochs:.0f} epochs", "give it two or more")
    return kept(f"data/search/history.parquet has accuracy, genotype and seconds of each of {epochs:.0f} epochs")


def random_search(evidence: Evidence) -> Answer:
    """Judge whether random search ran under the same protocol."""
    method = evidence.params.search.method
    if method == RANDOM:
        return does_not_apply("this is random search")
    if runs := [run for run in evidence.alike if run.method == RANDOM]:
        return kept(f"seeds {some(sorted(run.seed for run in runs))} of random search with the same settings")
    return broken(
        f"{evidence.whose_runs}: no random search with these settings",
        study_of([method, *(run.method for run in evidence.alike)]),
    )


def several_runs(evidence: Evidence) -> Answer:
    """Judge whether the search was repeated with other seeds."""
    seeds = evidence.seeds
    if len(seeds) < 2:  # noqa: PLR2004
        methods = [evidence.params.search.method, *(run.method for run in evidence.alike)]
        advice = f'{study_of(methods)} SEEDS="0 1 2"'
        count = "no seed" if not seeds else "one seed"
        return broken(f"{evidence.whose_runs}: {count} with these settings", advice)
    few = f"; {FEWEST_PAIRS} are needed to show a difference in pairs" if len(seeds) < FEWEST_PAIRS else ""
    return kept(f"seeds {some(seeds)} are tracked{few}")


def tabular(evidence: Evidence) -> Answer:
    """Judge whether architectures that others have trained tell more than a few retrainings."""
    search, data = evidence.params.search, evidence.params.data
    if find_table(search.space, data.source) is not None:
        return kept(f"every architecture of the space {search.space} is known on {data.source}")
    if (results := evidence.results) is None:
        return broken(evidence.no_results, AGAIN)
    if results["no_bank"] is None:
        return kept("a bank of random architectures of this protocol is known")
    return broken(
        f"no table knows the space {search.space} on {data.source}, and no bank: {results['no_bank']}",
        "also run presets/nasbench201-cpu.yaml, whose 15,625 cells are known",
    )


def tuning(evidence: Evidence) -> Answer:
    """Judge whether it can be told how the method's settings were found and what that took."""
    method = evidence.params.search.method
    usual = dict(leaves(REGISTRY[method].settings().model_dump(mode="json")))
    mine = dict(leaves(evidence.params.method_settings().model_dump(mode="json")))
    differing = sorted(key for key in mine.keys() | usual.keys() if mine.get(key) != usual.get(key))
    if not differing:
        return kept(f"{method} has its paper's settings; nothing was tuned")
    variants = evidence.variants
    what = f"{len(differing)} settings of {method} are not the paper's ({some(differing)})"
    if len(variants) > 1:
        spent = sum(run.metrics.get("total_seconds", 0.0) for run in evidence.tried)
        return kept(f"{what}; {len(variants)} variants were tried, {duration(spent)} in those that are tracked")
    return broken(f"{what}, and no other variant is tracked", "say in the results how they were found and at what cost")


def whole_time(evidence: Evidence) -> Answer:
    """Judge whether the time from the first step to the retrained network is reported."""
    if (results := evidence.results) is None:
        return broken(evidence.no_results, AGAIN)
    parts = {name: duration(seconds) for name, seconds in results["cost_seconds"].items()}
    return kept(", ".join(f"{name} {text}" for name, text in parts.items()))


def whole_setup(evidence: Evidence) -> Answer:
    """Judge whether dvc.lock describes the pipeline that params.yaml asks for, code, data and settings."""
    if missing := sorted(evidence.stages - evidence.locked.keys()):
        return broken(f"dvc.lock lacks {some(missing)}", f"{AGAIN} and commit dvc.lock")
    if stale := sorted(stage for stage in evidence.stages if evidence.changed(stage)):
        return broken(f"dvc.lock has other settings of {some(stale)}", f"{AGAIN} and commit dvc.lock")
    judged = f"{len(evidence.stages)} stages (all but {' and '.join(UNJUDGED)})"
    return kept(f"dvc.lock has code, data and settings of {judged} by content")


def training_tricks(evidence: Evidence) -> Answer:
    """Judge whether results with and without the tricks of training are there."""
    settings = dict(leaves(evidence.params.retrain.model_dump(mode="json")))
    used = [key for key in TRICKS if settings[key]]
    if evidence.params.retrain.skip or not used:
        return does_not_apply("retraining uses no cutout, drop path, label smoothing or auxiliary head")
    mine = [run for run in evidence.runs if run.method == evidence.params.search.method]
    for run in mine:
        if not any(_is_on(run.params.get(f"retrain.{key}", "")) for key in TRICKS):
            return kept(f"{some(used)} are on here, and seed {run.seed} is tracked without any")
    off = " ".join(f"-S retrain.{key}={'false' if key == 'network.auxiliary' else 0}" for key in used)
    return broken(f"no run without {some(used)} is tracked", f"dvc exp run {off}")


def average_architecture(evidence: Evidence) -> Answer:
    """Judge whether the result is held against enough architectures drawn from the same space."""
    if (results := evidence.results) is None:
        return broken(evidence.no_results, AGAIN)
    if evidence.truth is not None:
        return kept("compared with every architecture of the space")
    numbers = [int(one["n"]) for one in results["comparisons"]]
    if max(numbers, default=0) < FEWEST_TO_SHOW:
        return broken(
            f"{max(numbers, default=0)} random architectures, with which p cannot fall below {LEVEL}",
            f"baseline.architectures: {FEWEST_TO_SHOW} in params.yaml, and {AGAIN}",
        )
    ours, mean = results["metrics"]["test_accuracy"], results["metrics"]["random_mean_accuracy"]
    gain = f", {100 * (ours - mean) / mean:+.2f} % relative to their mean" if ours is not None and mean else ""
    return kept(f"{max(numbers)} random architectures of the space{gain}")


def several_data_sets(evidence: Evidence) -> Answer:
    """Judge whether the method ran on more than one data set."""
    truth, transfer = evidence.truth, evidence.params.transfer.data
    found = {run.data for run in evidence.runs if run.method == evidence.params.search.method}
    if evidence.results is not None:
        found |= {evidence.params.data.source} | ({transfer.source} if transfer is not None else set())
    found |= set(truth["sets"]) if truth is not None else set()
    if not found:
        return broken(evidence.no_results, AGAIN)
    if len(found) < 2:  # noqa: PLR2004
        return broken(f"only {some(sorted(found))}", "run another preset, as presets/cifar10.yaml")
    return kept(some(sorted(found)))


def hidden_components(evidence: Evidence) -> Answer:
    """Judge whether the parts beside the search, as depth, are measured on their own."""
    if not evidence.figures.get("kendall_tau"):
        return broken(evidence.no_results, AGAIN)
    tau = {
        name: evidence.measured("kendall_tau", key) for name, key in (("structure", "tau_b"), ("depth", "depth_tau_b"))
    }
    there = {name: value for name, value in tau.items() if value is not None}
    if len(there) < len(tau):
        missing = ", ".join(sorted(tau.keys() - there.keys()))
        return broken(
            f"the gap of {missing} is not measured",
            "kendall_tau: truth: retrain, a deep_network, and enough architectures to rank, as 10",
        )
    ranked = evidence.measured("kendall_tau", "n") or 0
    taus = ", ".join(f"Kendall tau of {name} {value:.2f}" for name, value in there.items())
    return kept(f"{taus}, of {ranked:.0f} architectures")


def reproducible(evidence: Evidence) -> Answer:
    """Judge whether code, seed and settings of the whole pipeline are written down."""
    for answer in (code_of("search", evidence), whole_setup(evidence)):
        if answer[0] != "kept":
            return answer
    return kept(f"commit {evidence.commit}, dvc.lock, seed {evidence.params.seed}")


def some(values: Iterable[object]) -> str:
    """Join values, a few of many."""
    texts = [str(value) for value in values]
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")  # noqa: PLR2004


def _is_on(value: str) -> bool:
    return value not in ("", "0", "0.0", "False")

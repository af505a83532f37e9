"""Every rule of good practice is kept by good evidence and broken by what lacks it, and equal files judge equally."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from nascommon.config import Params, load_params
from nascommon.pipeline.protocol_check import RULES, rulings, to_text
from nascommon.pipeline.protocol_evidence import Evidence, evidence_of
from nascommon.pipeline.run import method_hash, protocol
from nascommon.runtime.graph import code_version, dependencies
from nascommon.runtime.reading import value_at
from nascommon.runtime.yaml_lines import read_yaml
from nascommon.statistics.null import FEWEST_TO_SHOW
from nascommon.tracking.across import FinishedRun
from tests.stages.project import SMOKE

GIVEN = read_yaml(SMOKE)[0]
PARAMS = load_params(SMOKE)
PLAIN = {
    "retrain.training.cutout": 0, "retrain.training.drop_path": 0.0, "retrain.network.auxiliary": False,
}  # fmt: skip


def run_of(params: Params, **changes: Any) -> FinishedRun:
    """Return what the store would hold of a run with these settings."""
    flat = {f"retrain.{key}": str(value) for key, value in _leaves(params.retrain.model_dump(mode="json"))}
    run = FinishedRun(
        params.search.method, method_hash(params), params.seed, {"total_seconds": 60.0}, params.data.source,
        protocol(params), {"hardware": "a CPU", "torch": "2", "git": "0123abcd"}, flat,
    )  # fmt: skip
    return replace(run, **changes)


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in tree.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def locked(given: dict[str, Any], method: str) -> dict[str, Any]:
    """Return dvc.lock's entries as DVC writes them for these settings."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {
        stage: {"params": {"params.yaml": {
            key: value_at(given, tuple(key.split("."))) for key in dependencies(stage, method).keys
        }}}
        for stage in stages
    }  # fmt: skip


def good() -> Evidence:
    """Return evidence by which every rule is kept."""
    seeds = [run_of(PARAMS.changed({"seed": seed})) for seed in range(6)]
    other_settings = run_of(PARAMS.changed({"methods.darts.epochs": 2}))
    random = run_of(PARAMS.changed({"search.method": "random"}))
    without_tricks = run_of(PARAMS.changed(PLAIN), data="cifar10")
    code = {stage: code_version(stage, "darts") for stage in ("search", "retrain")}
    return Evidence(
        params=PARAMS,
        given=GIVEN,
        lock=locked(GIVEN, "darts"),
        results={
            "provenance": {"method": "darts", "seed": 0},
            "truth": None,
            "no_bank": None,
            "comparisons": [{"source": "a bank of the same protocol", "n": FEWEST_TO_SHOW}],
            "cost_seconds": {"search": 10.0, "selection": 1.0, "retrain": 20.0},
            "metrics": {"test_accuracy": 0.9, "random_mean_accuracy": 0.8},
        },
        births={stage: {"code": version} for stage, version in code.items()},
        code=code,
        commit="0123abcd",
        dirty=False,
        runs=[*seeds, other_settings, random, without_tricks],
        figures={"search": {"epochs": 3}, "kendall_tau": {"tau_b": 0.1, "depth_tau_b": 0.5}},
    )


def verdict(evidence: Evidence, source: str) -> tuple[str, str, str]:
    (one,) = [one for one in rulings(evidence) if one.source.endswith(source)]
    return one.verdict, one.evidence, one.advice


def without(evidence: Evidence, **results: Any) -> Evidence:
    return replace(evidence, results={**(evidence.results or {}), **results})


G = good()
BREAKS: dict[str, Evidence] = {
    "2020, 1: code": replace(G, births={}),
    "2020, 1: settings": replace(G, lock={}),
    "2020, 2": replace(G, births={"search": {"code": "other"}}),
    "2020, 4": replace(G, runs=[*G.runs[:6], replace(G.runs[7], protocol="other")]),
    "2020, 5": replace(G, runs=G.runs[:6]),
    "2020, 6": without(G, comparisons=[]),
    "2020, 7": replace(G, figures={"search": {"epochs": 0}}),
    "2020, 8": replace(G, runs=G.runs[:6]),
    "2020, 9": replace(G, runs=G.runs[:1]),
    "2020, 10": without(G, no_bank="the bank is of another protocol"),
    "2020, 11": replace(G, runs=[G.runs[0], replace(G.runs[1], tags={"hardware": "a GPU", "torch": "2", "git": "0"})]),
    "2020, 12: settings": replace(G, given={**GIVEN, "seed": 7}),
    "2020, 12: tuning": replace(G, runs=G.runs[:1]),
    "2020, 13": replace(G, results=None),
    "2020, 14": replace(G, lock={stage: entry for stage, entry in G.lock.items() if stage != "baseline"}),
    "tricks": replace(G, runs=G.runs[:6]),
    "search space": without(G, comparisons=[{"source": "trained here", "n": FEWEST_TO_SHOW - 1}]),
    "data sets": replace(G, params=PARAMS.changed({"transfer.data": None}), runs=G.runs[:6]),
    "hidden components": replace(G, figures={"kendall_tau": {"tau_b": 0.1}}),
    "reproducibility": replace(G, dirty=True),
    "cost of tuning": replace(G, runs=()),
}


def test_good_evidence_keeps_every_rule() -> None:
    assert {one.source: one.verdict for one in rulings(G)} == {source: "kept" for _, source, _ in RULES}


@pytest.mark.parametrize("source", [source.rpartition("et al. ")[2] for _, source, _ in RULES])
def test_each_rule_is_broken_by_what_lacks_it_and_says_what_to_do(source: str) -> None:
    key = next(key for key in BREAKS if source.endswith(key))
    judged, evidence, advice = verdict(BREAKS[key], key)
    assert judged == "broken"
    assert evidence
    assert advice
    assert verdict(G, key)[::2] == ("kept", "")


def test_what_cannot_be_judged_does_not_apply() -> None:
    alone = replace(G, runs=G.runs[:1])
    assert [verdict(alone, f"2020, {place}")[0] for place in (4, 11)] == ["not applicable"] * 2
    random = replace(G, params=PARAMS.changed({"search.method": "random"}))
    assert [verdict(random, f"2020, {place}")[0] for place in (5, 8)] == ["not applicable"] * 2
    plain = replace(G, params=PARAMS.changed(PLAIN))
    assert verdict(plain, "tricks")[0] == "not applicable"


def test_params_that_an_experiment_has_rewritten_are_no_other_code() -> None:
    """`make run` on a clean commit, then `dvc exp run -S search.method=random`: by git the second is dirty."""
    first, second = ({"hardware": "a CPU", "torch": "2", "git": git, "code": "f00d"} for git in ("13c1", "13c1-dirty"))
    random = PARAMS.changed({"search.method": "random"})
    pair = [run_of(PARAMS, tags=first), run_of(random, tags=second)]
    judged, evidence, _ = verdict(replace(G, runs=pair), "2020, 11")
    assert (judged, evidence) == ("kept", "2 runs, hardware a CPU, torch 2, the same code (commit 13c1, 13c1-dirty)")
    edited = [pair[0], run_of(random, tags={**second, "code": "beef"})]
    judged, evidence, advice = verdict(replace(G, runs=edited), "2020, 11")
    assert (judged, evidence) == ("broken", "2 different codes: commit 13c1, 13c1-dirty")
    assert advice == 'on one machine, from one commit: make study METHODS="darts random"'
    old = [run_of(PARAMS, tags={**first, "code": ""}), run_of(random, tags={**second, "code": ""})]
    assert verdict(replace(G, runs=old), "2020, 11")[0] == "broken", "what noted no code is known by its commit alone"


@pytest.mark.parametrize(
    ("method", "tracked", "named"),
    [
        ("darts", [], "darts random"),
        ("darts", ["gdas", "random"], "darts gdas random"),
        ("random", [], "da2s random"),
        ("random", ["random", "darts"], "darts random"),
    ],
)
def test_the_study_that_is_advised_is_of_what_is_tracked_and_random_search(
    method: str, tracked: list[str], named: str
) -> None:
    runs = [run_of(PARAMS.changed({"search.method": other})) for other in tracked]
    lonely = replace(G, params=PARAMS.changed({"search.method": method}), runs=runs)
    assert verdict(lonely, "2020, 9")[2] == f'make study METHODS="{named}" SEEDS="0 1 2"'


def test_papers_settings_need_no_tuning() -> None:
    usual = {**GIVEN, "methods": {"darts": {}}}
    params = PARAMS.model_copy(update={"methods": type(PARAMS.methods).model_validate(usual["methods"])})
    assert verdict(replace(G, params=params, runs=()), "2020, 12: tuning")[:2] == (
        "kept", "darts has its paper's settings; nothing was tuned",
    )  # fmt: skip


def test_changed_settings_are_named() -> None:
    changed = {**GIVEN, "seed": 7, "search": {**GIVEN["search"], "channels": 4}}
    assert verdict(replace(G, given=changed), "2020, 12: settings")[1] == (
        "dvc.lock has other values than params.yaml: seed, search"
    )


def test_evidence_is_read_from_the_folder_and_equal_files_judge_equally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = {"schema": "2.0", "stages": locked(GIVEN, "darts")}
    assert G.results is not None
    (tmp_path / "params.yaml").write_bytes(SMOKE.read_bytes())
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    for name, tree in (
        ("search/search.json", {**G.births["search"], "method": "darts", "seed": 0}),
        ("retrain/network.json", {"provenance": G.births["retrain"]}),
        ("evaluate/results.json", G.results), ("metrics/search.json", {"epochs": 3}),
    ):  # fmt: skip
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(tree), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    params = load_params(Path("params.yaml"))
    found = rulings(evidence_of(params))
    assert found == rulings(evidence_of(params))
    assert [
        verdict(evidence_of(params), f"2020, {place}")[0] for place in ("1: settings", "12: settings", 7, 13, 14)
    ] == ["kept"] * 5
    assert verdict(evidence_of(params), "2020, 2")[1] == "the code is in no git repository"
    stages = "settings of 7 stages (all but inventory and evaluate) by content"
    assert stages in verdict(evidence_of(params), "2020, 14")[1]
    of_another_seed = evidence_of(params.changed({"seed": 1}))
    assert verdict(of_another_seed, "2020, 13") == (
        "broken", "there are no results yet of darts, seed 1: data/evaluate has those of darts, seed 0",
        "run `dvc repro`",
    )  # fmt: skip
    assert verdict(of_another_seed, "2020, 7")[0] == "broken", "the search is of another seed, too"
    assert to_text(found).count("KEPT:") == sum(one.verdict == "kept" for one in found)


def test_before_the_first_run_what_needs_one_asks_for_it_and_for_no_other_settings() -> None:
    fresh = replace(G, results=None, births={}, lock={}, runs=(), figures={})
    needs_a_run = ("2020, 1: code", "2020, 2", "2020, 5", "2020, 6", "2020, 7", "2020, 10", "2020, 13", "search space",
                   "data sets", "hidden components", "reproducibility")  # fmt: skip
    assert {source: verdict(fresh, source)[::2] for source in needs_a_run} == dict.fromkeys(
        needs_a_run, ("broken", "run `dvc repro`")
    )
    assert verdict(fresh, "2020, 10")[1] == "there are no results yet"
    assert verdict(fresh, "2020, 9")[1] == "this run alone: no seed with these settings"
    assert verdict(replace(G, runs=()), "2020, 9")[1] == "this run alone: one seed with these settings"


def test_one_tracked_run_is_one() -> None:
    assert [replace(G, runs=G.runs[:count]).whose_runs for count in (0, 1, 2)] == [
        "this run alone", "1 tracked run", "2 tracked runs"
    ]  # fmt: skip


def test_where_no_bank_applies_the_space_is_called_one_and_the_reason_is_named() -> None:
    assert verdict(BREAKS["2020, 10"], "2020, 10")[1] == (
        "no table knows the space darts on digits, and no bank: the bank is of another protocol"
    )

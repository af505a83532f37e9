"""The command that measures a GPU runs on a CPU, part by part, and being cut off loses nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import device, kernels, many, measured
from benchmarks.cases import SHIPPED, TWIN
from benchmarks.device import Measurement, Report
from benchmarks.markdown import markdown
from benchmarks.measured import EAGER, IMAGENET, RETRAIN, Bench, Deadline
from nascommon.config import load_params
from nascommon.cost.live_bytes import peak_bytes
from tests.stages.project import new_project
from tests.test_benchmarks import call

CPU, META = torch.device("cpu"), torch.device("meta")
GATE = ("twin", "rounded", "replayed", "bfloat16", "astray", "recordings")
PARTS = ["gate", "steps", "steps", "profile", "ladder", "memory", "many", "search"]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    project = new_project(tmp_path / "project").change(
        search__channels=4, search__nodes=1, search__watch_every=1, methods__pcdarts__batch_size=4,
        retrain__training__batch_size=4, retrain__network__auxiliary=False, kendall_tau__training__batch_size=4,
    )  # fmt: skip
    return project.params


@pytest.fixture
def bench(params: Path) -> Bench:
    return Bench(load_params(params), CPU, (), 8, 8, None, Deadline(None))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "CASE_SECONDS", 0.0)
    monkeypatch.setattr(many, "COUNTS", (1, 2, 3))
    monkeypatch.setattr(many, "BATCHES", 2)
    monkeypatch.setattr(device, "METHODS", ("pcdarts",))
    monkeypatch.setattr(device, "TIMED", ("pcdarts", RETRAIN))
    monkeypatch.setattr(device, "PROFILED", {RETRAIN})
    monkeypatch.setattr(device, "LADDERS", ("pcdarts",))
    monkeypatch.setattr(device, "MEMORY_MEASURED", (RETRAIN,))
    monkeypatch.setitem(kernels.COPIED, "cpu", 2**20)


def options(params: Path, out: Path) -> list[str]:
    return ["--device", "cpu", "--params", str(params), "--out", str(out), "--side", "8", "--pictures", "8",
            "--commit", "abc"]  # fmt: skip


def test_a_training_step_on_imagenet_is_that_of_its_preset_at_a_gpu_s_share_of_a_batch(bench: Bench) -> None:
    case = bench.training(IMAGENET)
    assert case is not None
    assert (case.spec.channels, case.spec.cells, case.spec.classes, case.spec.stem) == (48, 14, 1000, "imagenet")
    assert (case.batch, bench.batch(IMAGENET), case.side) == (128, 128, 224)
    assert case.settings.label_smoothing == 0.1
    assert peak_bytes(bench.step(IMAGENET, META, replay=False)) > 2**32, "of tensors without data"


@pytest.mark.slow
def test_every_part_is_a_row_of_the_file_and_a_table_for_people(params: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    result = call(device.main, *options(params, out))
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["finished"]
    assert report["commit"] == "abc"
    assert report["machine"]["torch"] == torch.__version__
    rows = report["rows"]
    assert [row["part"] for row in rows] == PARTS
    gate, steps, retrain, profile, ladder, memory, many_at_once, search = rows
    assert gate["passed"]
    assert list(steps["ms"]) == list(retrain["ms"]) == [SHIPPED]
    assert list(ladder["ms"]) == [TWIN, EAGER, SHIPPED]
    assert list(ladder["times_faster"]) == [TWIN, EAGER]
    assert profile["eager"]["kernels"] > 100
    assert profile["repeated"]["bandwidth_share"] > 0
    assert memory["predicted_mib"] == pytest.approx(memory["eager_mib"], rel=0.5)
    assert list(many_at_once["ms"]) == ["1", "2", "3"]
    assert all(ms > 0 for ms in many_at_once["ms"].values())
    assert set(many_at_once["apart"].values()) == {0.0}, "on a CPU to the bit"
    assert (search["epochs"], search["of_epochs"], search["images"]) == (3, 3, 8)
    assert search["predicted_seconds"] == search["search_seconds"] == pytest.approx(sum(search["epoch_seconds"]))
    assert all(f"## {part}" in result.output for part in PARTS)
    assert "| pcdarts | yes |" in result.output
    assert "| pcdarts | random | 3 of 3 |" in result.output


def measurements(monkeypatch: pytest.MonkeyPatch, *made: Measurement) -> None:
    monkeypatch.setattr(device, "measurements", lambda _bench: iter(made))


def good(case: str) -> Measurement:
    return Measurement(
        "gate",
        case,
        lambda _tell: {"passed": True, **dict.fromkeys(GATE, 0.0)},
    )


def fails(_tell: Any) -> dict[str, Any]:
    raise RuntimeError("CUDA out of memory")


def test_a_part_that_fails_is_a_line_of_the_report_and_the_next_one_runs(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.json"
    measurements(monkeypatch, Measurement("gate", "darts", fails), good("pcdarts"))
    result = call(device.main, *options(params, out))
    assert result.exit_code == 1
    assert "- darts: RuntimeError: CUDA out of memory" in result.output
    assert [row.get("passed") for row in json.loads(out.read_text())["rows"]] == [None, True]


def test_parts_are_chosen_by_name_in_the_order_of_the_names(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements(monkeypatch, good("darts"), good("pcdarts"), good("da2s"))
    out = tmp_path / "report.json"
    result = call(device.main, *options(params, out), "--only", "gate:da2s", "--only", "gate:pcdarts")
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["case"] for row in rows] == ["da2s", "pcdarts"]


def test_the_command_of_a_report_names_no_folder_of_the_machine() -> None:
    given = ["--out", "/elsewhere/device.json", "--seconds", "9", "--against", "../released/darts", "--data", "data/x"]
    said = "python -m benchmarks.device --out device.json --seconds 9 --against darts --data data/x"
    assert device.command(given) == said


def test_every_part_is_known_by_a_name_of_its_own_and_others_are_refused(bench: Bench) -> None:
    parts = list(device.measurements(bench))
    assert device.chosen(parts, []) == parts
    assert [part.part for part in device.chosen(parts, ["profile", "steps"])][-1] == "steps"
    assert len(device.chosen(parts, ["steps", "steps:pcdarts"])) == len(device.chosen(parts, ["steps"]))
    with pytest.raises(ValueError, match="--only steps:nas: no such part; known: gate:pcdarts"):
        device.chosen(parts, ["steps:nas"])


def test_wrong_results_end_with_a_status_of_their_own(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.json"
    wrong = {"passed": False, **dict.fromkeys(GATE, 0.0), "twin": float("nan")}
    measurements(monkeypatch, Measurement("gate", "darts", lambda _tell: wrong))
    result = call(device.main, *options(params, out))
    assert result.exit_code == 1
    assert "| darts | **no** | nan |" in result.output
    assert json.loads(out.read_text())["rows"][0]["twin"] == "nan"


@pytest.mark.slow
def test_without_time_nothing_is_begun(params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report.json"
    monkeypatch.setattr(device, "LEAST_SECONDS", 1e6)
    result = call(device.main, *options(params, out), "--seconds", "60")
    assert result.exit_code == 0
    report = json.loads(out.read_text())
    assert [row["skipped"] for row in report["rows"]] == ["no time was left"] * len(PARTS)


def test_cut_off_in_a_part_what_was_found_before_is_in_the_file(
    params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.json"

    def cut(tell: Any) -> dict[str, Any]:
        tell({"epochs": 7})
        raise KeyboardInterrupt

    measurements(monkeypatch, good("darts"), Measurement("search", "pcdarts", cut))
    call(device.main, *options(params, out))
    report = json.loads(out.read_text())
    assert not report["finished"]
    assert [row["case"] for row in report["rows"]] == ["darts", "pcdarts"]
    assert report["rows"][1] == {"part": "search", "case": "pcdarts", "epochs": 7, "finished": False}


class Clock(Deadline):
    """Some seconds for the first epoch, none after it."""

    def left(self) -> float:
        return 0.0


def test_a_search_ends_where_its_next_epoch_would_be_too_late(bench: Bench) -> None:
    told: list[dict[str, Any]] = []
    late = Bench(bench.params, CPU, (), 8, 8, None, Clock(None))
    row = measured.search(late, "pcdarts", told.append)
    assert (row["epochs"], row["of_epochs"]) == (1, 3)
    assert row["predicted_seconds"] == pytest.approx(3 * row["search_seconds"])
    assert told == [row]


def test_the_step_as_shipped_is_told_before_others_are_begun(bench: Bench) -> None:
    told: list[dict[str, Any]] = []

    def other() -> Any:
        assert [list(row["ms"]) for row in told] == [[SHIPPED]]
        return lambda: None

    found = measured.timed(bench, RETRAIN, {"another": other}, told.append)
    assert list(found["ms"]) == ["another", SHIPPED]
    assert found["batch"] == 4
    late = Bench(bench.params, CPU, (), 8, 8, None, Clock(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "CASE_SECONDS", 1.0)
        assert list(measured.timed(late, RETRAIN, {"another": other}, told.append)["ms"]) == [SHIPPED]


def test_a_deadline_counts_from_its_beginning() -> None:
    assert Deadline(None).left() == float("inf")
    soon = Deadline(1000.0)
    time.sleep(0.01)
    assert 900 < soon.left() < 1000


def test_what_cannot_be_opened_is_refused(params: Path, tmp_path: Path) -> None:
    for more in (["--against", str(tmp_path)], ["--device", "tpu"], ["--params", str(tmp_path / "none.yaml")]):
        result = call(device.main, *options(params, tmp_path / "report.json"), *more)
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "report.json").exists()


@pytest.mark.slow
def test_the_memory_of_a_search_is_predicted_with_its_precision(bench: Bench) -> None:
    found = measured.memory(bench, "pcdarts")
    assert found["predicted_mib"] == pytest.approx(found["eager_mib"], rel=0.5)  # so small, the libraries' part counts
    assert found["batch"] == 4


def test_ways_are_compared_pair_by_pair() -> None:
    found = measured.compared({TWIN: [2.0, 6.0, 4.0], SHIPPED: [1.0, 2.0, 4.0]})
    assert found["ms"] == {TWIN: 4000.0, SHIPPED: 2000.0}
    assert found["times_faster"] == {TWIN: [2.0, 1.0, 3.0]}
    assert found["repeats"] == 3


# -- kernels --


def test_gaps_are_what_no_kernel_covers() -> None:
    found = kernels.summary([("a", (0.0, 10.0)), ("b", (5.0, 20.0)), ("a", (30.0, 40.0)), ("c", (31.0, 32.0))])
    assert (found["kernels"], found["span_ms"], found["busy_ms"], found["gap_ms"]) == (4, 0.04, 0.03, 0.01)
    assert found["gap_share"] == pytest.approx(0.25)
    assert found["longest"][0] == {"name": "a", "ms": 0.02, "calls": 2}


def test_a_profiler_that_sees_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="CUPTI"):
        kernels.summary([])


def test_traffic_is_what_operators_read_and_write_and_views_are_free() -> None:
    x, y = torch.ones(100), torch.ones(10, 10)
    assert kernels.traffic(lambda: x.view(10, 10) + y) == 3 * 400
    assert kernels.traffic(x.view(10, 10)[2:].t) == 0
    assert kernels.traffic(lambda: x.add_(1)) == 2 * 400


def test_numbers_that_json_lacks_are_words(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.json", {"machine": {"device": "x"}})
    report.add({"part": "gate", "figures": [float("nan"), (float("inf"), 1.5)]})
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["figures"] == ["nan", ["inf", 1.5]]


def test_the_tables_of_a_gpu_have_all_its_ways() -> None:
    rows: list[dict[str, Any]] = [
        {"part": "steps", "case": "darts", "batch": 64, "ms": {TWIN: 9.0, "quark0/darts (f276dd34)": 8.0, SHIPPED: 1.0},
         "times_faster": {TWIN: [9.0, 8.5, 9.5], "quark0/darts (f276dd34)": [8.0, 7.5, 8.5]}},
        {"part": "memory", "case": "darts", "batch": 64, "predicted_mib": 1500.0, "eager_mib": 1600.0,
         "recorded_mib": 1650.0, "reserved_mib": 3000.0, "plain_mib": 2e4},
        {"part": "search", "case": "pcdarts", "skipped": "no time was left"},
    ]  # fmt: skip
    output = markdown({"machine": {"device": "NVIDIA H100"}, "command": "c", "commit": "abc", "rows": rows})
    assert "| darts | 64 | 9 | 8 | 1 | plain twin: 9.00 (8.50 to 9.50); quark0/darts (f276dd34): 8.00" in output
    assert "| darts | 64 | 1,500 | 1,600 | 1,650 | 3,000 | 20,000 |" in output
    assert "- pcdarts: no time was left" in output

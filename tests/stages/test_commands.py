"""Every stage explains itself, and the tools beside the stages give the published numbers."""

from __future__ import annotations

import csv
import importlib
import importlib.resources
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from nascommon.space.published import PUBLISHED
from stages.cli import run_stage
from tests.oracles import rules
from tests.stages.project import CommandResult, command

STAGES = {
    "prepare": ("data/prepared", "test"),
    "search": ("data/search", "continues", "One line per epoch"),
    "discretize": ("data/discretize", "gap"),
    "retrain": ("data/retrain", "continues", "One line per epoch"),
    "transfer": ("data/transfer", "continues", "One line per epoch"),
    "kendall_tau": ("data/kendall_tau", "--pairs", "--json", "continues"),
    "baseline": ("data/baseline", "continues"),
    "evaluate": ("data/evaluate", "test"),
    "inspect": ("GENOTYPE", "--channels", "--cells", "--stem", "--json", "--draw"),
    "check": ("--params", "--protocol"),
    "compare": ("--params", "headline figures", "gaps"),
    "study": ("data/study/report.html", "--methods", "--seeds", "continues", "dvc queue stop --kill"),
    "predict": ("PICTURE", "--top", "--json", "--stage", "resized"),
    "export": ("--format", "onnx", "torch_export", "python", "--out", "--stage", "1e-4"),
}

WITHOUT_PARAMS = {"inspect", "predict", "export"}


def run(stage: str, folder: Path, *arguments: str) -> CommandResult:
    return command(importlib.import_module(f"stages.{stage}").main, folder, *arguments)


def counted(folder: Path, *arguments: str) -> dict[str, int]:
    result = run("inspect", folder, *arguments, "--json")
    assert result.status == 0, result.err
    tree: dict[str, int] = json.loads(result.out)
    return tree


@pytest.mark.parametrize("stage", STAGES)
def test_help_says_what_the_stage_writes_and_how_it_continues(stage: str, tmp_path: Path) -> None:
    result = run(stage, tmp_path, "--help")
    text = re.sub(r"\s+", " ", result.out)
    assert result.status == 0
    for words in STAGES[stage]:
        assert words.lower() in text.lower()
    if stage not in WITHOUT_PARAMS:
        assert "--params" in text


def test_inspect_counts_darts_v2_as_the_paper(tmp_path: Path) -> None:
    assert counted(tmp_path, "DARTS_V2", "--channels", "36", "--cells", "20") == {
        "params": 3349342, "params_with_auxiliary": 3825768, "mult_adds": 528359040,
        "paper_flops": counted(tmp_path, "DARTS_V2")["paper_flops"],
    }  # fmt: skip


def test_inspect_counts_pdarts_on_imagenet_as_the_paper(tmp_path: Path) -> None:
    counts = counted(tmp_path, "PDARTS", "--channels", "48", "--cells", "14", "--stem", "imagenet")
    assert counts == {
        "params": 4944352, "params_with_auxiliary": 6206664, "mult_adds": 542819328, "paper_flops": 557119488,
    }  # fmt: skip


def test_inspect_takes_other_classes_and_image_channels(tmp_path: Path) -> None:
    # a class is a row of the classifier: 16 C inputs and a bias, C = 36
    difference = counted(tmp_path, "DARTS_V2", "--classes", "11")["params"] - counted(tmp_path, "DARTS_V2")["params"]
    assert difference == 16 * 36 + 1
    # a channel less of the image is one 3x3 kernel less for each of 3 C stem channels
    gray = counted(tmp_path, "DARTS_V2", "--image-channels", "1")["params"]
    assert counted(tmp_path, "DARTS_V2")["params"] - gray == 2 * 9 * 3 * 36


@pytest.mark.parametrize("form", ["ours", "released"])
def test_inspect_reads_a_file_in_our_form_and_in_that_of_the_released_codes(tmp_path: Path, form: str) -> None:
    genotype = PUBLISHED["DARTS_V2"]
    tree: dict[str, Any] = genotype.to_json()
    if form == "released":
        tree = {}
        for key, cell in (("normal", genotype["normal"]), ("reduce", genotype["reduction"])):
            tree[key] = [list(choice) for node in cell.nodes for choice in node]
            tree[f"{key}_concat"] = list(cell.concat)
    (tmp_path / "mine.json").write_text(json.dumps(tree), encoding="utf-8")
    assert counted(tmp_path, "mine.json") == counted(tmp_path, "DARTS_V2")


SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"


def test_inspect_says_what_the_table_knows_of_a_cell_and_counts_the_network_that_was_trained(tmp_path: Path) -> None:
    result = run("inspect", tmp_path, SKIPS)
    assert result.status == 0, result.err
    assert "row 1835 of the table" in result.out
    assert re.search(r"test accuracy +\| 54\.30 % +\| 15\.61 % +\| 16\.32 %", result.out)
    assert re.search(r"rank +\| 15,230 of 15,625", result.out)
    assert "no other one is this one" in result.out
    counts: Any = counted(tmp_path, SKIPS)
    assert counts["params"] == counts["truth"]["params"] == 73_306
    assert counts["mult_adds"] == counts["truth"]["macs"] == 7_783_040
    assert counts["truth"]["sets"]["cifar100"]["rank"] == 15_221


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_inspect_draws(tmp_path: Path, suffix: str) -> None:
    result = run("inspect", tmp_path, "DARTS_V2", "--draw", f"cells.{suffix}")
    assert result.status == 0
    assert "sep_conv_3x3@0" in result.out
    drawn = (tmp_path / f"cells.{suffix}").read_bytes()
    assert drawn.startswith(b"\x89PNG") if suffix == "png" else b"sep_conv" in drawn or b"<svg" in drawn


@pytest.mark.parametrize(("method", "tau", "tau_b"), [("DARTS_2nd", 0.13, 0.1348), ("EC_DARTS", 0.47, 0.4667)])
def test_the_published_points_give_the_published_tau(tmp_path: Path, method: str, tau: float, tau_b: float) -> None:
    path = tmp_path / "points.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "retrain_acc", "search_acc"])
        writer.writerows([method, *point] for point in rules.oracle("kendall_figure1")[method]["points"])
    result = run("kendall_tau", tmp_path, "--pairs", str(path), "--json")
    tree = json.loads(result.out)
    assert round(tree["tau_a"], 2) == tau
    assert tree["tau_b"] == pytest.approx(tau_b, abs=1e-4)
    assert {"tau_a", "tau_b", "tau_c", "p_value", "interval"} <= set(tree)
    assert tree["interval"][0] <= tree["tau_b"] <= tree["interval"][1]
    assert tree["columns"] == ["retrain_acc", "search_acc"]


def test_a_header_of_numbers_is_no_architecture(tmp_path: Path) -> None:
    rows = [f"net {number},{90 + number / 10},{97 - number / 20}%" for number in range(12)]
    (tmp_path / "points.csv").write_text("\n".join(["# seed 0", "arch,25,600", *rows]), encoding="utf-8")
    tree = json.loads(run("kendall_tau", tmp_path, "--pairs", "points.csv", "--json").out)
    assert (tree["n"], tree["tau_b"]) == (12, pytest.approx(-1))
    assert (tree["columns"], tree["header"], tree["comments"]) == (["25", "600"], True, 1)
    result = run("kendall_tau", tmp_path, "--pairs", "points.csv").out
    assert re.search(r"first row +names of the columns\n +comments +1 left out", result)


def test_pairs_without_json_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("1,10\n2,20\n3,30\n4,40\n", encoding="utf-8")
    result = run("kendall_tau", tmp_path, "--pairs", "points.csv")
    assert result.status == 0
    assert "column 1 against column 2" in result.out
    assert "first row" in result.out
    assert "an architecture" in result.out
    assert re.search(r"tau-b +1\.00 \(no interval", result.out)


def test_a_name_that_is_no_text_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["stage"])
    run_stage(lambda: print(os.fsdecode(b"caf\xe9")))
    assert out.buffer.getvalue() == b"caf\\udce9\n"

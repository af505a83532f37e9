"""Whatever is wrong with what the user gives, one clear message says where, what, and what to do."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nascommon.config import load_params
from nascommon.runtime.artefacts import read_json, read_tensors
from nascommon.runtime.checkpoint import FORMAT, Checkpoint
from nascommon.settings import UserError
from nascommon.space.genotype import genotype_from_json
from nascommon.space.mixing import one_hot
from nascommon.space.operations import CANDIDATES
from nascommon.space.topology import Topology
from tests.space.kinds import space_of
from tests.stages.bad_calls import CALLS, Call
from tests.stages.bad_params import EDITS, TEXTS, Edit, Text
from tests.stages.bad_projects import REFUSALS, Refusal
from tests.stages.project import SMOKE, Project, new_project


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_a_mistake_in_the_params_is_named_with_its_line(tmp_path: Path, edit: Edit) -> None:
    smoke = SMOKE.read_text(encoding="utf-8")
    assert edit.old in smoke
    text = smoke.replace(edit.old, edit.new, 1)
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    line = text[: text.index(edit.at or edit.new)].count("\n") + 1
    assert re.fullmatch(rf"{re.escape(str(path))}:{line}: {edit.message}.*", str(caught.value)), str(caught.value)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = SMOKE.read_text(encoding="utf-8")
    for old, new in (("seed: 0", "seed: -3"), ("method: darts", "method: dart"), ("epochs: 2, ", "epoch: 2, "),
                     ("linear_classifier: true", "linear_classifier: yes")):  # fmt: skip
        text = text.replace(old, new)
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    told = [re.match(r".*params\.yaml:(\d+): ([\w.]+): ", line) for line in str(caught.value).splitlines()]
    rows = text.splitlines()
    found = [(match[2], rows[int(match[1]) - 1]) for match in told if match]
    assert [key for key, _ in found] == [
        "seed", "search.method", "transfer.training.epoch", "kendall_tau.training.epoch", "evaluate.linear_classifier",
    ]  # fmt: skip
    for key, row in found:
        assert key.rpartition(".")[2] in row


def told(folder: Path, *edits: tuple[str, str]) -> list[str]:
    """Return what is said, key by key, of the smoke preset with these edits."""
    text = SMOKE.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(folder / "params.yaml")
    return [line.split(": ", 1)[1] for line in str(caught.value).splitlines()]


def test_an_unknown_key_hides_no_other_mistake(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        ("method: darts, channels: 2", "method: drats, chanels: 2"),
        ("source: digits\n  test_fraction", "source: image_folder\n  colour: 3\n  test_fraction"),
        ("evaluate: {", "evaluate: {linear: true, "),
    )
    assert [re.sub("[;(].*", "", line).strip() for line in lines] == [
        "data.path: source image_folder needs the folder of the pictures", "data.colour: unknown key",
        "search.chanels: unknown key", "search.method: unknown method", "evaluate.linear: unknown key",
    ]  # fmt: skip


def test_what_does_not_fit_together_is_told_at_once_and_in_spite_of_unknown_keys(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        ("method: darts, channels: 2", "method: pcdarts, channels: 3"),
        ("limit: 160", "limit: 160\n  size: 30"),
        ("size: 32", "size: 40"),
        ("evaluate: {", "evaluate: {linear: true, "),
    )
    assert [re.sub("[;(,].*", "", line).strip() for line in lines] == [
        "data.size: images of 30 x 30 do not fit the cifar stem",
        "methods.pcdarts.channel_divisor: must divide the 3 channels of the supernet",
        "transfer.data.size: images of 40 x 40 do not fit the imagenet stem",
        "evaluate.linear: unknown key",
    ]  # fmt: skip


def test_what_needs_the_retrained_network_is_refused_where_it_is_left_out(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        ("holdout: 0.1", "holdout: 0.1\n  skip: true"),
        ("linear_classifier: true", "linear_classifier: true, published_protocol: true"),
    )
    why = "needs the retrained network, which retrain.skip leaves out"
    assert lines == [
        f"baseline.architectures: {why}; set it to 0 (got 2)",
        f"evaluate.published_protocol: {why}; set it to false (got true)",
    ]


RANKED = "mode: single_run\n  architectures: 3\n  source: sampled"


FEW_SNAPSHOTS = (
    "kendall_tau.source: epochs ranks the cells of at least 3 snapshots, and this search keeps 2; set search.snapshots "
    "and epochs of the method so, or source: sampled (got epochs)"
)
NO_SNAPSHOTS = "search.snapshots: must be at least 1 where kendall_tau.mode is trajectory (got 0)"


@pytest.mark.parametrize(
    ("kept", "ranked", "said"),
    [
        (2, "architectures: 3\n  source: epochs\n  truth: retrain", FEW_SNAPSHOTS),
        (0, "mode: trajectory\n  architectures: 3\n  source: sampled\n  truth: retrain", NO_SNAPSHOTS),
    ],
)
def test_a_ranking_by_more_snapshots_than_a_search_keeps_is_refused_before_it(
    tmp_path: Path, kept: int, ranked: str, said: str
) -> None:
    assert told(tmp_path, ("snapshots: 3", f"snapshots: {kept}"), (RANKED, ranked)) == [said]


def test_snapshots_that_nothing_ranks_by_may_be_few(tmp_path: Path) -> None:
    text = SMOKE.read_text(encoding="utf-8").replace("snapshots: 3", "snapshots: 0")
    for mode in ("multi_run\n  truth: retrain", "single_run\n  truth: auto", "single_run\n  truth: bank"):
        other = RANKED.replace("single_run", mode).replace("sampled", "epochs")
        (tmp_path / "params.yaml").write_text(text.replace(RANKED, other), encoding="utf-8")
        assert load_params(tmp_path / "params.yaml").search.snapshots == 0


@pytest.mark.parametrize(
    "edit",
    [
        ("channels: 4, cells: 3, auxiliary: true}", "channels: 4, cells: 3, stem: imagenet}"),
        ("network: {channels: 2, cells: 3, ", "network: {channels: 2, cells: 3, stem: imagenet, "),
        ("deep_network: {", "deep_network: {stem: imagenet, "),
        ("method: darts", "method: custom"),
    ],
)
def test_the_size_must_suit_every_network_that_sees_the_pictures(tmp_path: Path, edit: tuple[str, str]) -> None:
    stem = ("custom: {", "custom: {mixed_op: {stem: imagenet}, ")
    lines = told(tmp_path, ("limit: 160", "limit: 160\n  size: 36"), edit, stem)
    assert [line.split(",")[0] for line in lines] == ["data.size: images of 36 x 36 do not fit the imagenet stem"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_a_params_file_that_is_none_is_refused(tmp_path: Path, text: Text) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.content)
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}{text.message}"):
        load_params(path)


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_stage_refuses_in_one_message_with_status_2(
    case: Refusal, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    project: Project = request.getfixturevalue(f"{case.start}_once").copy(tmp_path / "project")
    case.spoil(project)
    *before, stage = case.stage.split("-")
    for name in before:
        project.stage(name)
    result = project.command(stage, *case.arguments)
    assert_refused(result.status, result.err, case.message)


def assert_refused(status: int, message: str, pattern: str) -> None:
    """One error, status 2, no traceback."""
    assert status == 2
    assert re.search(pattern, message), message
    assert message.count("error: ") == 1
    assert len(message.splitlines()) == 1
    assert "Traceback" not in message


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_command_line_is_refused_with_status_2(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # usage messages are wrapped to the terminal
    project = new_project(tmp_path / "project")
    if call.content is not None:
        (project.folder / "FILE").write_bytes(call.content)
    result = project.command(call.stage, *call.arguments.split())
    assert result.status == 2
    assert re.search(call.message, result.err), result.err
    assert result.err.lower().count("error: ") == 1
    assert "Traceback" not in result.err
    assert result.out == ""


# --- checkpoints: not taken up, said why, kept aside


class Bomb:
    """Do what a hostile pickle does when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def checkpoint_bytes(payload: bytes, **header: str) -> bytes:
    """A checkpoint with a right checksum around any payload."""
    head = {"format": FORMAT, "fingerprint": "mine", "sha256": hashlib.sha256(payload).hexdigest(), **header}
    return json.dumps(head).encode() + b"\n" + payload


def saved(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


GOOD = saved({"epoch": 1, "weights": torch.arange(3.0)})
CHECKPOINTS = {
    "empty": (b"", "not a checkpoint of this program"),
    "text": (b"hello\nworld", "not a checkpoint of this program"),
    "header only": (b"{}\n" + GOOD, "not a checkpoint of this program"),
    "bare torch file": (GOOD, "not a checkpoint of this program"),
    "torn": (checkpoint_bytes(GOOD)[:-40], "it is torn"),
    "foreign": (checkpoint_bytes(GOOD, fingerprint="theirs"), "it belongs to other settings, data or code"),
    "other format": (checkpoint_bytes(GOOD, format="gapless-checkpoint-0"), "its format is"),
    "pickle with code": (checkpoint_bytes(saved({"state": Bomb()})), "not taken up"),
    "bare pickle with code": (checkpoint_bytes(pickle.dumps(Bomb())), "not taken up"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_cannot_be_trusted_is_refused_and_kept_aside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = CHECKPOINTS[name]
    path, result = tmp_path / "state.ckpt", list[str]()
    path.write_bytes(content)
    assert Checkpoint(path, "mine", result.append).load() is None
    assert len(result) == 1
    assert str(path) in result[0]
    assert message in result[0]
    assert "starting over" in result[0]
    assert not path.exists()
    assert (tmp_path / "state.ckpt.refused").read_bytes() == content
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_our_own_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "state.ckpt").write_bytes(checkpoint_bytes(GOOD))
    state = Checkpoint(tmp_path / "state.ckpt", "mine").load()
    assert state is not None
    assert state["epoch"] == 1
    assert torch.equal(state["weights"], torch.arange(3.0))


# --- artefacts


SKIPS: list[Any] = [["skip_connect", 0], ["skip_connect", 1]]

READERS: dict[str, tuple[Callable[[Path], Any], str, bytes | None, str]] = {
    "JSON torn": (read_json, "a.json", b'{"a": [1, 2', "not a JSON file"),
    "JSON of bytes": (read_json, "a.json", b"\xff\xfe", "not a JSON file"),
    "JSON missing": (read_json, "a.json", None, "no such file"),
    "tensors torn": (read_tensors, "a.safetensors", b"\x08\x00\x00", "not a whole safetensors file"),
    "tensors missing": (read_tensors, "a.safetensors", None, "no such file"),
    "tensors that are a pickle": (read_tensors, "a.safetensors", pickle.dumps(Bomb()), "not a whole safetensors file"),
}


@pytest.mark.parametrize("name", READERS)
def test_an_artefact_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    read, file, content, message = READERS[name]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path / file))}: {message}"):
        read(tmp_path / file)


@pytest.mark.parametrize(
    ("first", "candidates", "message"),
    [
        (SKIPS, ("none", "max_pool_3x3"), r"node 2: skip_connect@0 does not fit the supernet's candidates"),
        ([*SKIPS, ["max_pool_3x3", 0]], CANDIDATES, r"node 2: max_pool_3x3@0 does not fit the supernet's candidates"),
    ],
    ids=["operation that is no candidate", "two operations on one edge"],
)
def test_a_genotype_that_the_supernet_cannot_hold_is_refused(
    first: Any, candidates: tuple[str, ...], message: str
) -> None:
    cell = {"nodes": [first], "concat": [2]}
    wanted = genotype_from_json({"schema": 1, "normal": cell, "reduction": cell})
    topology = Topology(1)
    with pytest.raises(ValueError, match=message):
        one_hot(wanted, space_of(candidates, topology), like=torch.zeros(()))


def test_the_table_of_bad_inputs_is_long() -> None:
    tables = (EDITS, TEXTS, REFUSALS, CALLS, tuple(CHECKPOINTS), tuple(READERS))
    assert sum(len(table) for table in tables) >= 40

"""A finished search can be read back from its files, state by state, and a broken one says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from nascommon.method import Phase
from nascommon.parts.logits import normal_alpha
from nascommon.search.artefact import describe_state, load_search, save_history, save_state, save_summary
from nascommon.search.history import History
from nascommon.search.loop import Hooks, Outcome, run_search
from nascommon.search.scores import supernet_scores
from nascommon.search.snapshots import Snapshots
from nascommon.settings import UserError
from nascommon.space.space import find_space
from nascommon.space.supernet import SupernetSpec
from tests.search.small import CPU, equal, tiny_data, tiny_method, tiny_spec
from tests.spoilt import spoilt_trees

METHOD = tiny_method(phases=(Phase(1, 2, 3, keep=3), Phase(2, 2, 4)), initialise=normal_alpha(1.0))
DATA = tiny_data()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    folder = tmp_path_factory.mktemp("search")
    snapshots = Snapshots(folder / "kept", METHOD.epochs, 2)
    outcome = run_search(METHOD, tiny_spec(), DATA, seed=0, device=CPU, hooks=Hooks(on_snapshot=snapshots.keep))
    save_state(folder / "supernet.safetensors", outcome.state)
    save_history(folder, outcome.history, outcome.state.spec.space)
    final = describe_state("supernet.safetensors", outcome.state, outcome.history.rows[-1])
    save_summary(folder, {"final": final, "snapshots": snapshots.move_to(folder / "snapshots")})
    return outcome, folder


def test_the_final_state_is_rebuilt_bit_identical(searched: tuple[Outcome, Path]) -> None:
    outcome, folder = searched
    saved = load_search(folder).final
    state = saved.load(METHOD, CPU)
    assert state.spec == outcome.state.spec
    assert state.progress == outcome.state.progress
    assert equal(state.supernet.state_dict(), outcome.state.supernet.state_dict())
    assert equal(state.logits.named(), outcome.state.logits.named())
    assert (saved.epoch, saved.phase) == (2, 1)
    accuracy = supernet_scores(state.supernet, state.scored(), DATA.validation.epoch(0))[1]
    assert saved.valid_accuracy == accuracy == outcome.history.rows[-1]["valid_accuracy"]


def test_snapshots_hold_the_state_of_their_epoch_and_phase(searched: tuple[Outcome, Path]) -> None:
    outcome, folder = searched
    kept = load_search(folder).snapshots
    assert [(saved.epoch, saved.phase, saved.spec.cells) for saved in kept] == [(1, 1, 4), (2, 1, 4)]
    for saved in kept:
        state = saved.load(METHOD, CPU)
        alpha = outcome.history.architecture[saved.epoch]["normal.alpha_EO"]
        assert torch.equal(state.logits["normal"].alpha_EO, alpha)
        assert saved.valid_accuracy == outcome.history.rows[saved.epoch]["valid_accuracy"]


def test_a_search_that_stops_early_keeps_the_state_that_it_ends_in(tmp_path: Path) -> None:
    method = tiny_method(phases=(Phase(5, 2, 3),), initialise=normal_alpha(1.0), stop=lambda _genotype: True)
    snapshots = Snapshots(tmp_path / "kept", method.epochs, 2)
    assert snapshots.epochs == {1, 4}
    outcome = run_search(method, tiny_spec(), DATA, seed=0, device=CPU, hooks=Hooks(on_snapshot=snapshots.keep))
    assert len(outcome.history.rows) == 1
    assert [kept["epoch"] for kept in snapshots.move_to(tmp_path / "snapshots")] == [0]
    none = Snapshots(tmp_path / "none", method.epochs, 0)
    none.keep(outcome.history.rows[-1], outcome.state, last=True)
    assert none.move_to(tmp_path / "nothing") == []


def test_the_tables_survive_their_files(searched: tuple[Outcome, Path]) -> None:
    outcome, folder = searched
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "history.parquet"), outcome.history.table())
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "architecture.parquet"),
        outcome.history.architecture_table(outcome.state.spec.space),
    )


def test_the_history_survives_its_checkpoint_form(searched: tuple[Outcome, Path]) -> None:
    history = searched[0].history
    again = History.from_state_dict(history.state_dict())
    assert again.rows == history.rows
    assert again.candidates == history.candidates
    assert equal(again.architecture, history.architecture)


def changed(folder: Path, destination: Path, **changes: Any) -> Path:
    """Copy the summary with ``changes``; None removes a key."""
    summary = {**json.loads((folder / "search.json").read_text()), **changes}
    destination.mkdir(exist_ok=True)
    (destination / "search.json").write_text(json.dumps({key: v for key, v in summary.items() if v is not None}))
    return destination


def test_a_missing_torn_old_or_partial_search_is_refused_by_name(
    searched: tuple[Outcome, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"search\.json: no such file"):
        load_search(tmp_path)
    with pytest.raises(UserError, match=r"search\.json: schema: must be 2 \(got 7\); `dvc repro search` makes it anew"):
        load_search(changed(searched[1], tmp_path, schema=7))
    with pytest.raises(UserError, match=r"search\.json: snapshots is missing; `dvc repro search` makes it anew"):
        load_search(changed(searched[1], tmp_path, snapshots=None))
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(UserError, match=r"search\.json: not a JSON file"):
        load_search(tmp_path)


def test_weights_of_another_supernet_are_refused(searched: tuple[Outcome, Path], tmp_path: Path) -> None:
    outcome, folder = searched
    tree = describe_state("supernet.safetensors", outcome.state, outcome.history.rows[-1])
    wider = changed(folder, tmp_path, final={**tree, "channels": 4})
    (tmp_path / "supernet.safetensors").write_bytes((folder / "supernet.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not fit the method's supernet") as caught:
        load_search(wider).final.load(METHOD, CPU)
    assert "\n" not in str(caught.value)  # one sentence, not torch's list of every tensor


@pytest.mark.slow
def test_whatever_value_is_changed_by_hand_it_is_read_or_refused_on_one_line(
    searched: tuple[Outcome, Path], tmp_path: Path
) -> None:
    (tmp_path / "supernet.safetensors").write_bytes((searched[1] / "supernet.safetensors").read_bytes())
    shutil.copytree(searched[1] / "snapshots", tmp_path / "snapshots")
    tree = json.loads((searched[1] / "search.json").read_text())
    read, refused = 0, []
    for spoilt in spoilt_trees(tree):
        (tmp_path / "search.json").write_text(json.dumps(spoilt))
        try:
            found = load_search(tmp_path)
            found.final.load(METHOD, CPU)
            read += 1
        except UserError as error:
            refused.append(str(error))
    assert [text for text in refused if "\n" in text or len(text) - len(str(tmp_path)) > 400] == []
    assert [
        text for text in refused if "`dvc repro search` makes it anew" not in text and "no such file" not in text
    ] == []
    assert len(refused) > 20 * read


@pytest.mark.parametrize(
    ("epochs", "count", "expected"),
    [(50, 10, {4, 9, 14, 19, 24, 29, 34, 39, 44, 49}), (3, 10, {0, 1, 2}), (5, 2, {1, 4}), (7, 1, {6}), (5, 0, set()),
     (0, 10, set())],
)  # fmt: skip
def test_snapshots_are_evenly_spaced_and_end_with_the_last_epoch(
    tmp_path: Path, epochs: int, count: int, expected: set[int]
) -> None:
    assert Snapshots(tmp_path, epochs, count).epochs == expected


def test_there_are_always_as_many_snapshots_as_asked_for(tmp_path: Path) -> None:
    for epochs in range(1, 60):
        for count in range(1, epochs + 1):
            chosen = Snapshots(tmp_path, epochs, count).epochs
            assert len(chosen) == count
            assert max(chosen) == epochs - 1
            assert min(chosen) >= 0


def test_a_supernet_whose_cells_have_no_weights_is_read_back(tmp_path: Path) -> None:
    space = find_space("nasbench201", candidates=("skip_connect", "avg_pool_3x3"))
    method = tiny_method(phases=(Phase(1, 4, 3),), initialise=normal_alpha(1.0))
    state = run_search(method, SupernetSpec(4, 3, 4, space), DATA, seed=0, device=CPU, hooks=Hooks()).state
    save_state(tmp_path / "supernet.safetensors", state)
    row = {"epoch": 0, "phase": 0, "valid_accuracy": 0.5}
    save_summary(tmp_path, {"final": describe_state("supernet.safetensors", state, row), "snapshots": []})
    again = load_search(tmp_path).final.load(method, CPU)
    assert equal(again.supernet.state_dict(), state.supernet.state_dict())

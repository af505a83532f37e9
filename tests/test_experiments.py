"""The experiments name settings that exist: what they ask of dvc is recorded, then applied as dvc applies it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nascommon.config import load_params
from nascommon.method import REGISTRY
from nascommon.settings import Settings

ROOT = Path(__file__).parents[1]
PRESETS = ("params.yaml", "presets/cifar10.yaml")
FILES = sorted(path.stem for path in (ROOT / "experiments").glob("*.sh") if path.stem != "run")
END = "<end of call>"
CONTROLS = {"const", "linear", "log", "exp", "step"}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of dvc's and hydra's own


class Call(NamedTuple):
    """One call of dvc."""

    name: str
    overrides: tuple[str, ...]
    rest: tuple[str, ...]


class Ran(NamedTuple):
    """What became of a script."""

    status: int
    out: str
    err: str
    calls: tuple[Call, ...]
    params: str


def execute(file: str, folder: Path, *arguments: str, dvc: str = "", params: str = "params.yaml") -> Ran:
    """Run a script in a copy of the project that has a dvc which only writes down how it was called."""
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    shutil.copy(ROOT / params, folder / "params.yaml")
    (folder / "bin").mkdir()
    fake = folder / "bin" / "dvc"
    fake.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" '{END}' >> '{folder}/calls'\n{dvc}\n", encoding="utf-8")
    fake.chmod(0o755)
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", folder / "experiments" / f"{file}.sh", *arguments],
        cwd="/", env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    calls = (folder / "calls").read_text(encoding="utf-8").split(f"{END}\n")[:-1]
    after = (folder / "params.yaml").read_text(encoding="utf-8")
    return Ran(done.returncode, done.stdout, done.stderr, tuple(read(call.splitlines()) for call in calls), after)


def read(words: list[str]) -> Call:
    """Sort the arguments of a call."""
    assert words[:3] == ["exp", "run", "--name"]
    overrides = tuple(value for option, value in pairwise(words) if option == "-S")
    rest = tuple(word for word in words[4:] if word != "-S" and word not in overrides)
    return Call(words[3], overrides, rest)


@cache
def _recorded(file: str, folder: Path, preset: str) -> Ran:
    return execute(file, folder / file / Path(preset).stem, params=preset)


def recorded(file: str, folder: Path, preset: str = "params.yaml") -> Ran:
    """Return what a script does without arguments on a preset."""
    return _recorded(file, folder, preset)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@cache
def as_json(preset: str) -> str:
    """Return a preset in the notation that dvc reads and writes fast."""
    from dvc.utils.serialize import load_yaml  # type: ignore[import-untyped]

    return json.dumps(load_yaml(ROOT / preset))


@cache
def chosen(call: Call, preset: str, folder: Path) -> Settings:
    """Return the settings of the method that a run would have, from dvc's own reading of the overrides."""
    from dvc.utils.hydra import apply_overrides, to_hydra_overrides  # type: ignore[import-untyped]

    path = folder / "params.json"
    path.write_text(as_json(preset), encoding="utf-8")
    assert not any(override.is_sweep_override() for override in to_hydra_overrides(list(call.overrides)))
    apply_overrides(path, list(call.overrides))
    params = load_params(path)
    assert params.method().phases
    return params.method_settings()


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("file", FILES)
def test_every_run_is_possible_and_unlike_the_others(file: str, preset: str, folder: Path) -> None:
    ran = recorded(file, folder, preset)
    assert (ran.status, ran.err) == (0, "")
    assert len({call.name for call in ran.calls}) == len(ran.calls) > 1
    runs = [(type(settings), settings) for settings in (chosen(call, preset, folder) for call in ran.calls)]
    assert all(run not in runs[:index] for index, run in enumerate(runs))


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_how_many_runs_it_has_and_how_they_compare(file: str, folder: Path) -> None:
    text = (ROOT / "experiments" / f"{file}.sh").read_text(encoding="utf-8")
    ran = recorded(file, folder)
    assert text.startswith("#!/bin/sh\n# ")
    assert f"# {len(ran.calls)} runs: on the default preset minutes each" in text
    assert {call.name.partition("-")[0] for call in ran.calls} == {file}
    assert "dvc exp show" in ran.out
    assert "make compare" in ran.out


@pytest.mark.parametrize("file", [*FILES, "run"])
def test_the_shell_understands_it(file: str) -> None:
    subprocess.run(["/bin/sh", "-n", ROOT / "experiments" / f"{file}.sh"], check=True, timeout=20)


def test_arguments_are_passed_on(folder: Path, tmp_path: Path) -> None:
    plain, queued = recorded("darts_baselines", folder), execute("darts_baselines", tmp_path, "--queue", "-S", "seed=1")
    assert {call.rest for call in plain.calls} == {()}
    assert {call.rest for call in queued.calls} == {("--queue",)}
    assert [call.name for call in queued.calls] == [f"{call.name}-seed_1" for call in plain.calls]
    for before, after in zip(plain.calls, queued.calls, strict=True):
        assert set(after.overrides) == {*before.overrides, "seed=1"}
    assert type(chosen(queued.calls[0], "params.yaml", tmp_path)) is REGISTRY["darts"].settings


def test_every_run_starts_from_the_same_params(tmp_path: Path) -> None:
    tampers = "grep -q '^tampered' params.yaml && exit 9; echo 'tampered: true' >> params.yaml"
    ran = execute("pdarts_skips", tmp_path, dvc=tampers)
    assert ran.status == 0
    assert ran.params == (ROOT / "params.yaml").read_text(encoding="utf-8")


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    ran = execute("pdarts_skips", tmp_path, dvc='case "$*" in *most-1*) exit 3 ;; esac')
    assert ran.status == 1
    assert "Failed: most-1" in ran.err
    assert len(ran.calls) == 6


def dumped(file: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of the runs of a file by their names without the file's."""
    ran = recorded(file, folder)
    return {
        call.name.removeprefix(f"{file}-"): chosen(call, "presets/cifar10.yaml", folder).model_dump()
        for call in ran.calls
    }


def test_da2s_table_2_covers_all_control_functions_and_none(folder: Path) -> None:
    runs = dumped("da2s_table_2", folder)
    assert runs.pop("none")["lambda_c"]["factor"] == 0
    assert {name: run["lambda_c"]["control"] for name, run in runs.items()} == {name: name for name in CONTROLS}
    for run in runs.values():
        assert [(run[name]["control"], run[name]["delayed"]) for name in ("lambda_1", "lambda_2")] == [
            ("const", False)
        ] * 2
        assert run["lambda_c"]["factor"] > 0


def test_da2s_table_3_delays_one_of_two(folder: Path) -> None:
    runs = dumped("da2s_table_3", folder)
    for kind, late, early in (("edges", "lambda_2", "lambda_1"), ("operations", "lambda_1", "lambda_2")):
        mine = {name.partition("-")[2]: run for name, run in runs.items() if name.startswith(kind)}
        assert {name: run[late]["control"] for name, run in mine.items()} == {name: name for name in CONTROLS}
        assert all(run[late]["delayed"] and not run[early]["delayed"] for run in mine.values())
        assert all(run[early]["control"] == "const" and run["lambda_c"]["control"] == "linear" for run in mine.values())


def test_da2s_table_4_has_every_target_for_both(folder: Path) -> None:
    runs = dumped("da2s_table_4", folder)
    assert {name: run["kept_edges"] for name, run in runs.items()} == {
        f"{method}-{kept}": kept for method in ("da2s", "darts") for kept in (6, 5, 4, 3)
    }


def test_ecdarts_parts_are_on_and_off(folder: Path) -> None:
    runs = dumped("ecdarts_parts", folder)
    assert {(run["cen"], run["ist"]) for run in runs.values()} == {(a, b) for a in (True, False) for b in (True, False)}
    assert not runs["no_arch_steps"]["ist_arch_steps"]
    assert runs["parse_raw"]["parse_on"] == "raw"
    assert runs["second_order"]["arch_gradient"] == {"kind": "unrolled", "radius": 0.01}


def test_pdarts_regularisation(folder: Path) -> None:
    skips, dropout = (dumped(file, folder) for file in ("pdarts_skips", "pdarts_dropout"))
    assert {run["most_skips"] for run in skips.values()} == {0, 1, 2, 3, 4, None}
    rates = ((0.0, 0.4, 0.7), (0.1, 0.4, 0.7), (0.0, 0.0, 0.0))
    assert {(run["skip_dropout"], run["most_skips"]) for run in dropout.values()} == {
        (rate, most) for rate in rates for most in (2, None)
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_without_edge_weights_pcdarts_is_otherwise_the_same(preset: str, folder: Path) -> None:
    settings = {call.name: chosen(call, preset, folder) for call in recorded("pcdarts_channels", folder).calls}
    for k in (1, 2, 4):
        whole, without = (settings[f"pcdarts_channels-k{k}{end}"].model_dump() for end in ("", "-no_edges"))
        assert whole["channel_divisor"] == without["mixed_op"]["channel_divisor"] == k
        assert without["relax"] == {"operations": "softmax", "edges": {"kind": "none"}}
        phase = without["phases"][0]
        assert (phase["epochs"], phase["warmup"]) == (whole["epochs"], whole["warmup"])
        for key in ("batch_size", "weights", "architecture", "alpha_scale", "none"):
            assert whole[key] == without[key], key


def test_darts_baselines_are_all_there(folder: Path) -> None:
    runs = dumped("darts_baselines", folder)
    gradients = {run["arch_gradient"]["kind"] for run in runs.values() if "arch_gradient" in run}
    assert gradients == {"first_order", "unrolled", "unrolled_exact"}
    assert (runs["random_sample"]["epochs"], runs["random_sample"]["samples"]) == (0, 1)
    assert runs["random_search"]["epochs"] > 0
    assert runs["random_search"]["samples"] > 1


def test_combinations_combine(folder: Path) -> None:
    runs = dumped("combinations", folder)
    assert [phase["cells"] for phase in runs["depth-cen"]["phases"]] == [5, 11, 17]  # methods.pdarts' own
    assert [phase["keep"] for phase in runs["depth-cen"]["phases"]] == [5, 3, None]
    assert runs["cen-entropy"]["penalty"]["entropy"]["lambda_2"]["factor"] == 0
    everything = runs["everything"]
    assert everything["relax"]["operations"] == "cross_edge"
    assert everything["relax"]["edges"]["kind"] == "clipped_softmax"
    assert everything["mixed_op"]["channel_divisor"] == 4
    assert [choice["kind"] for choice in everything["passes"]] == ["soft", "induced"]
    assert everything["penalty"]["entropy"]

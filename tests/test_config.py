"""Left-out keys have the papers' values, presets load, and dvc.yaml speaks of what is there."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nascommon.config import Params, load_params
from nascommon.data.settings import DataSettings
from nascommon.method import REGISTRY, ArchGradient, ArchOptimiser, SearchSize, WeightOptimiser
from nascommon.parts.choices import FirstOrder
from nascommon.pipeline.run import MACHINE, protocol
from nascommon.search.settings import SearchSettings
from nascommon.settings import UserError
from nascommon.space.space import find_space
from nascommon.training.settings import NetworkSettings, TrainingSettings

ROOT = Path(__file__).parents[1]
PRESETS = {path.stem: path for path in [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]}
SHIPPED = {"params", "smoke", "cifar10", "imagenet", "own-pictures", "nasbench201", "nasbench201-cpu"}
LEAST = """seed: 0
precision: auto
data: {source: digits}
search: {method: darts, nodes: 4}
methods: {darts: {}}
discretize: {}
retrain: {}
transfer: {data: null}
kendall_tau: {}
baseline: {}
evaluate: {}
"""
STAGES = {"prepare", "search", "discretize", "retrain", "transfer", "kendall_tau", "baseline", "evaluate"}
SCRIPTS = {"inventory", *STAGES}


def loaded(folder: Path, text: str) -> Params:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path)


@pytest.fixture
def least(tmp_path: Path) -> Params:
    """Nothing but what must be said."""
    return loaded(tmp_path, LEAST)


# --- defaults


def test_search_is_as_in_the_papers_by_default(least: Params) -> None:
    assert (least.search.channels, least.search.cells, least.search.space) == (16, 8, "darts")
    record = least.method()
    assert record.epochs == 50
    assert record.batch_size == 64
    assert record.weights.model_dump() == {
        "lr": 0.025, "lr_min": 0.001, "momentum": 0.9, "weight_decay": 3e-4, "clip": 5.0, "warmup_epochs": 0,
    }  # fmt: skip
    assert record.arch_gradient is not None
    assert record.arch_gradient.optimiser.model_dump() == {
        "lr": 3e-4, "beta1": 0.5, "beta2": 0.999, "weight_decay": 1e-3, "clip": None, "alpha_delay": 0,
    }  # fmt: skip
    assert record.arch_gradient.approximation == FirstOrder()
    assert record.phases[0].warmup == 0
    assert record.none
    space = least.search.chosen_space()
    assert {names for edges in space.candidates.values() for names in edges} == {(
        "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
        "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    )}  # fmt: skip
    assert {len(cell.topology.edges) for cell in space.cells.values()} == {14}


def test_retraining_is_as_in_the_papers_by_default(least: Params) -> None:
    assert least.retrain.network == NetworkSettings(channels=36, cells=20, auxiliary=True)
    training = least.retrain.training
    assert (training.epochs, training.batch_size, training.lr, training.lr_min) == (600, 96, 0.025, 0.0)
    assert (training.schedule, training.momentum, training.weight_decay, training.clip) == ("cosine", 0.9, 3e-4, 5.0)
    assert (training.cutout, training.auxiliary_weight, training.drop_path) == (16, 0.4, 0.2)
    assert training.label_smoothing == 0
    assert training.warmup_epochs == 0
    assert least.retrain.holdout == 0


def test_pictures_vary_as_in_the_papers_by_default(least: Params) -> None:
    augment = least.data.augment
    assert (augment.crop_padding, augment.flip) == (4, True)
    assert augment.resized_crop_scale == (0.08, 1.0)
    assert augment.color_jitter == (0.4, 0.4, 0.4, 0.2)
    assert least.data.architecture_fraction == 0.5


def test_kendall_trains_a_short_annealed_schedule_without_drop_path_by_default(least: Params) -> None:
    kendall = least.kendall_tau
    assert (kendall.mode, kendall.architectures, kendall.source) == ("single_run", 10, "epochs")
    assert kendall.retest
    assert (kendall.network.channels, kendall.network.cells, kendall.network.auxiliary) == (16, 8, False)
    assert kendall.training.drop_path == 0
    assert kendall.training.schedule == "cosine"


def test_jobs_are_auto_or_a_number(least: Params, tmp_path: Path) -> None:
    assert least.jobs == "auto"
    assert loaded(tmp_path, f"jobs: auto\n{LEAST}").jobs == "auto"
    assert loaded(tmp_path, f"jobs: 3\n{LEAST}").jobs == 3


@pytest.mark.parametrize("written", ["0", "-1", "129", "1.5", "many", "true", "null", "'2'", "[2]"])
def test_jobs_that_are_no_number_are_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(UserError, match=r"params\.yaml:1: jobs: must be auto or a whole number from 1 to 128 \(got "):
        loaded(tmp_path, f"jobs: {written}\n{LEAST}")


def test_pieces_are_done_in_processes_on_ray_or_on_a_cluster_by_its_address(least: Params, tmp_path: Path) -> None:
    assert least.executor == "processes"
    for where in ("processes", "ray", "head:6379", "10.0.0.1:6379"):
        assert loaded(tmp_path, f"executor: {where}\n{LEAST}").executor == where
    for where in ("rays", "http://head:6379", "head", '""', "1"):
        with pytest.raises(UserError, match=r"params\.yaml:1: executor: (must be|Input should be)"):
            loaded(tmp_path, f"executor: {where}\n{LEAST}")


def test_a_batch_is_shared_by_no_more_processes_than_batch_norm_allows(tmp_path: Path) -> None:
    small = LEAST.replace("{darts: {}}", "{darts: {batch_size: 9}}")
    assert loaded(tmp_path, f"launch: 4\n{small}").launch == 4
    said = (
        "params.yaml:1: launch: must leave each process at least 2 of the images of methods.darts.batch_size 9, so be "
        "at most 4 (got 5)"
    )
    with pytest.raises(UserError) as told:
        loaded(tmp_path, f"launch: 5\n{small}")
    assert str(told.value).endswith(said)
    assert loaded(tmp_path, f"launch: 9\nsync_batch_norm: true\n{small}").launch == 9
    with pytest.raises(UserError, match=r"at least 1 of the images of methods\.darts\.batch_size 9, so be at most 9"):
        loaded(tmp_path, f"launch: 10\nsync_batch_norm: true\n{small}")
    with pytest.raises(UserError, match=r"the images of retrain\.training\.batch_size 96, so be at most 48 \(got 49\)"):
        loaded(tmp_path, f"launch: 49\n{LEAST}")
    assert loaded(tmp_path, f"launch: 1\n{small}").launch == 1


def test_where_ray_shares_out_gpus_none_is_named(tmp_path: Path) -> None:
    said = r"device: Ray gives each piece of work a GPU of its own; set device: cuda \(got cuda:1\)"
    with pytest.raises(UserError, match=said):
        loaded(tmp_path, f"executor: ray\ndevice: cuda:1\n{LEAST}")
    assert loaded(tmp_path, f"executor: ray\ndevice: cuda:0\n{LEAST}").device == "cuda:0"
    assert loaded(tmp_path, f"device: cuda:1\n{LEAST}").device == "cuda:1"


# --- presets


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_every_preset_loads_and_makes_its_method(preset: str) -> None:
    params = load_params(PRESETS[preset])
    assert params.method().epochs > 0


def test_no_preset_is_left_out_or_lost() -> None:
    assert set(PRESETS) == SHIPPED


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_the_header_of_a_preset_states_cost_expectation_and_command(preset: str) -> None:
    header = [line for line in PRESETS[preset].read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("cost", "expected", "command"):
        assert any(re.match(rf"# +{word} +\S", line) for line in header), word


def test_the_cifar10_preset_is_the_protocol_of_the_papers() -> None:
    params = load_params(PRESETS["cifar10"])
    assert params.data.source == "cifar10"
    assert params.search == SearchSettings(method=params.search.method, nodes=4, snapshots=params.search.snapshots)
    assert params.retrain.network == NetworkSettings()
    assert params.retrain.training == TrainingSettings()
    assert params.retrain.holdout == 0
    settings = params.methods.model_dump()
    assert settings["darts"] == REGISTRY["darts"].settings().model_dump()
    transfer = params.transfer
    assert transfer.data is not None
    assert (transfer.data.source, transfer.data.size) == ("imagenet", 224)
    assert (transfer.network.channels, transfer.network.cells, transfer.network.auxiliary) == (48, 14, True)
    training = transfer.training
    assert (training.epochs, training.weight_decay, training.label_smoothing) == (250, 3e-5, 0.1)
    assert (training.drop_path, training.auxiliary_weight, training.cutout) == (0, 0.4, 0)
    published = {("exponential", 0.1, 128, 0), ("linear", 0.5, 1024, 5)}
    assert (training.schedule, training.lr, training.batch_size, training.warmup_epochs) in published


@pytest.mark.parametrize("preset", ["nasbench201", "nasbench201-cpu"])
@pytest.mark.parametrize("method", sorted(yaml.safe_load(PRESETS["cifar10"].read_text(encoding="utf-8"))["methods"]))
def test_every_method_is_set_up_for_the_space_of_the_nasbench201_presets(preset: str, method: str) -> None:
    params = load_params(PRESETS[preset]).changed({"search.method": method})
    settings = params.method_settings()
    assert settings.none  # type: ignore[attr-defined]
    assert settings != REGISTRY[method].settings()
    assert "skips" not in params.method().discretize.pick.__name__  # one rule for all


def test_the_nasbench201_preset_is_the_protocol_of_the_benchmark() -> None:
    params = load_params(PRESETS["nasbench201"])
    assert params.data.split == "nasbench201"
    assert (params.search.channels, params.search.cells, params.data.source) == (16, 15, "cifar10")
    method = params.method()
    assert (method.epochs, method.batch_size) == (50, 64)
    assert method.weights == WeightOptimiser(lr=0.025, lr_min=0.001, momentum=0.9, weight_decay=5e-4, clip=5.0)
    assert method.arch_gradient == ArchGradient(FirstOrder(), ArchOptimiser(lr=3e-4, weight_decay=1e-3))


def test_what_networks_of_a_space_cannot_be_is_said_at_once() -> None:
    params = load_params(PRESETS["nasbench201"])
    changes = {
        "search.cells": 8, "search.nodes": 4, "retrain.network.auxiliary": True, "retrain.network.cells": 20,
        "kendall_tau.deep_network": {"channels": 16, "cells": 4, "auxiliary": False},
    }  # fmt: skip
    with pytest.raises(UserError, match=r"search\.nodes: the cells of space nasbench201 have their own numbers"):
        params.changed(changes)
    with pytest.raises(UserError) as caught:
        params.changed({**changes, "search.nodes": None, "transfer": {"data": {"source": "digits", "size": 32}}})
    complaints = [re.sub(r"^.*?nasbench201\.yaml(:\d+)?: ", "", line) for line in str(caught.value).splitlines()]
    assert set(complaints) == {
        "search.cells: networks of nasbench201 have a multiple of 3 (got 8)",
        "retrain.network.cells: networks of nasbench201 have a multiple of 3 (got 20)",
        "retrain.network.auxiliary: networks of nasbench201 have no auxiliary head; set it to false (got true)",
        "kendall_tau.deep_network.cells: networks of nasbench201 have a multiple of 3 (got 4)",
        "transfer.data: networks of nasbench201 are not made for large images; set data: null",
    }
    with pytest.raises(
        UserError, match=r"methods\.pdarts\.cells: networks of nasbench201 have a multiple of 3 \(got 5\)"
    ):
        params.changed({"search.method": "pdarts", "methods.pdarts.cells": [5, 9, 15]})
    with pytest.raises(UserError, match=r"methods\.pcdarts\.stem: networks of nasbench201 have the stem cifar"):
        params.changed({"search.method": "pcdarts", "methods.pcdarts.stem": "imagenet", "data.size": 32})


# --- YAML 1.2


@pytest.mark.parametrize(
    ("written", "read"),
    [("3e-4", 3e-4), ("3E-4", 3e-4), (".5", 0.5), ("5.", 5.0), ("+1", 1.0), ("012", 12.0), ("1e2", 100.0), ("7", 7.0)],
)
def test_numbers_are_read_by_yaml_1_2(tmp_path: Path, written: str, read: float) -> None:
    params = loaded(tmp_path, LEAST.replace("darts: {}", f"darts: {{alpha_scale: {written}}}"))
    assert params.method_settings().model_dump()["alpha_scale"] == read


def test_a_leading_zero_makes_no_octal_number(tmp_path: Path) -> None:
    assert loaded(tmp_path, LEAST.replace("seed: 0", "seed: 012")).seed == 12


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "N"])
def test_yes_and_no_are_words(tmp_path: Path, word: str) -> None:
    assert loaded(tmp_path, f"tracking: {word}\n{LEAST}").tracking == word


@pytest.mark.parametrize(("word", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_true_and_false_are_truths(tmp_path: Path, word: str, value: bool) -> None:
    params = loaded(tmp_path, LEAST.replace("evaluate: {}", f"evaluate: {{linear_classifier: {word}}}"))
    assert params.evaluate.linear_classifier is value


@pytest.mark.parametrize("quoted", ["'3'", '"3"', "!!str 3"])
def test_a_quoted_number_is_a_word(tmp_path: Path, quoted: str) -> None:
    with pytest.raises(UserError, match=r"seed: must be a valid integer"):
        loaded(tmp_path, LEAST.replace("seed: 0", f"seed: {quoted}"))


def test_anchors_and_json_are_yaml(tmp_path: Path) -> None:
    text = LEAST.replace("{darts: {}}", "{darts: &d {epochs: 7, batch_size: 9}, random: *d}")
    assert loaded(tmp_path, text).methods.model_dump()["random"]["epochs"] == 7
    params = load_params(PRESETS["smoke"])
    assert loaded(tmp_path, params.model_dump_json()).model_dump() == params.model_dump()


# --- the record


def test_params_cannot_be_changed(least: Params) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        least.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        least.data.source = "cifar10"  # type: ignore[misc]


def test_the_methods_section_is_the_registry(least: Params) -> None:
    sections: Any = least.methods
    assert set(sections.model_dump()) == set(REGISTRY)
    for name, entry in REGISTRY.items():
        assert getattr(sections, name) == entry.settings()
        assert (ROOT / "nascommon" / "methods" / f"{name}.py").is_file()


def test_the_selected_method_gets_the_size_of_the_search_section(tmp_path: Path) -> None:
    text = LEAST.replace("darts, nodes: 4}", "random, channels: 6, cells: 5, nodes: 3}").replace("{darts:", "{random:")
    params = loaded(tmp_path, text)
    phase = params.method().phases[0]
    assert (phase.channels, phase.cells) == (6, 5)
    assert params.method().arch_gradient is None
    assert (
        REGISTRY["random"].recipe(params.method_settings(), SearchSize(6, 5, find_space("darts", 3))).phases
        == params.method().phases
    )


def test_a_record_is_varied_by_replace(least: Params) -> None:
    record = least.method()
    assert replace(record, batch_size=7).batch_size == 7
    assert asdict(record.phases[0])["epochs"] == 50


def test_data_needs_a_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml:3: data\.source: is missing"):
        loaded(tmp_path, LEAST.replace("{source: digits}", "{}"))
    assert DataSettings(source="digits").test_fraction == 0.2


# --- dvc.yaml


def graph(method: str = "darts") -> dict[str, Any]:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("${search.method}", method)
    tree: dict[str, Any] = yaml.safe_load(text)
    tree["stages"]["inventory"]["params"] = []  # it always runs
    return tree


def within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def outputs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed]


def test_every_stage_of_the_graph_is_a_script_of_that_name() -> None:
    stages = graph()["stages"]
    assert set(stages) == SCRIPTS
    for name, stage in stages.items():
        assert stage["cmd"] == f"python -m stages.{name}"
        assert f"stages/{name}.py" in stage["deps"]
        assert stage["desc"]


KEYS = sorted({key for stage in graph()["stages"].values() for key in stage["params"]})


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_dvc_watches_must_be_in_the_file(tmp_path: Path, key: str) -> None:
    tree = section = yaml.safe_load(LEAST)
    *way, last = key.split(".")
    for part in way:
        section = section[part]
    del section[last]
    with pytest.raises(UserError, match=rf"^\S+params\.yaml:\d+: {re.escape(key)}: is missing") as caught:
        loaded(tmp_path, json.dumps(tree, indent=1))
    if advice := re.search(r"DVC stops without it; write (.*) for the default$", str(caught.value)):
        section |= yaml.safe_load(advice[1])
        assert loaded(tmp_path, json.dumps(tree)) == loaded(tmp_path, LEAST)


@pytest.mark.parametrize("preset", sorted(SHIPPED))
def test_every_key_that_dvc_watches_is_in_every_preset(preset: str) -> None:
    tree = yaml.safe_load(PRESETS[preset].read_text(encoding="utf-8"))
    stages = [stage for method in tree["methods"] for stage in graph(method)["stages"].items()]
    for name, stage in stages:
        for key in stage["params"]:
            section = tree
            for part in key.split("."):
                assert isinstance(section, dict), f"{name}: {key}"
                assert part in section, f"{name}: {key}"
                section = section[part]


@pytest.mark.parametrize("method", sorted(REGISTRY))
def test_every_dependency_is_a_source_or_the_output_of_another_stage(method: str) -> None:
    stages = graph(method)["stages"]
    made = {out: name for name, stage in stages.items() for out in outputs(stage)}
    for name, stage in stages.items():
        for path in stage["deps"]:
            if path.startswith("data/"):
                makers = {maker for out, maker in made.items() if within(path, out) or within(out, path)}
                assert makers, f"{name}: nobody makes {path}"
                assert name not in makers
            else:
                assert (ROOT / path).exists(), f"{name}: {path}"


def test_only_evaluate_depends_on_test_images() -> None:
    stages = graph()["stages"]
    tests = {out for out in outputs(stages["prepare"]) if out.endswith("/test")}
    assert tests == {"data/prepared/target/test", "data/prepared/transfer/test"}
    for name, stage in stages.items():
        reads = {test for test in tests for path in stage["deps"] if test == path or test.startswith(f"{path}/")}
        assert reads == (tests if name == "evaluate" else set()), name


def test_a_search_does_not_depend_on_the_settings_of_other_methods() -> None:
    for name, stage in graph("darts")["stages"].items():
        watched = [key for key in stage["params"] if key.startswith("methods")]
        assert set(watched) <= {"methods.darts"}, name
        code = {path for path in stage["deps"] if within(path, "nascommon/methods")}
        assert code <= {"nascommon/methods/darts.py"}, name


def test_what_does_not_change_numbers_reruns_nothing() -> None:
    for stage in graph()["stages"].values():
        assert not {*MACHINE} & set(stage["params"])


def test_only_prepare_and_the_report_watch_the_section_data() -> None:
    for name, stage in graph()["stages"].items():  # how pictures vary is in the manifest, so no key of it must be there
        watched = {key for key in stage["params"] if key.partition(".")[0] == "data"}
        assert watched == ({"data"} if name in {"prepare", "evaluate"} else set()), name


def test_how_many_jobs_run_at_a_time_is_no_part_of_what_was_run(least: Params) -> None:
    other = least.model_copy(
        update={"jobs": 3, "executor": "head:6379", "threads": 1, "device": "cpu", "tracking": "none"}
    )
    assert protocol(other) == protocol(least)
    assert protocol(least.model_copy(update={"baseline": None})) != protocol(least)


def test_a_section_given_in_part_keeps_the_other_defaults_of_its_own_place(tmp_path: Path) -> None:
    text = PRESETS["smoke"].read_text(encoding="utf-8")
    part = "pcdarts: {weights: {lr: 0.5}, architecture: {lr: 0.1}}"
    text = re.sub(r"pcdarts: \{.*\}", part, text).replace("da2s: {", "da2s: {lambda_c: {factor: 1.0}, ")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    weights = params.methods.pcdarts.weights  # type: ignore[attr-defined]
    assert (weights.lr, weights.lr_min) == (0.5, 0.0)  # 0.001 is DARTS'
    lambda_c = params.methods.da2s.lambda_c  # type: ignore[attr-defined]
    assert (lambda_c.factor, lambda_c.control) == (1.0, "linear")
    assert params.transfer.network.stem == "imagenet"


def test_what_does_not_fit_the_size_of_the_search_is_told_at_its_line(tmp_path: Path) -> None:
    text = PRESETS["smoke"].read_text(encoding="utf-8").replace("method: darts", "method: pcdarts")
    text = text.replace("channel_divisor: 2", "channel_divisor: 3")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"methods\.pcdarts\.channel_divisor: must divide the 2 channels .*got 3"):
        load_params(tmp_path / "params.yaml")


def test_changed_params_are_checked_as_a_file_is(least: Params) -> None:
    """A notebook changes a setting by its dotted key; ``model_copy`` would take a method that does not exist."""
    other = least.changed({"search.method": "random", "seed": 3})
    assert (other.search.method, other.seed, least.seed) == ("random", 3, 0)
    assert other.file == least.file
    with pytest.raises(UserError, match=r"^search\.method: unknown method; did you mean 'da2s'"):
        least.changed({"search.method": "dar2s"})
    with pytest.raises(UserError, match=r"^search\.chanels: unknown key; did you mean 'channels'"):
        least.changed({"search.chanels": 3})
    with pytest.raises(UserError, match=r"^seed\.x: seed holds one value"):
        least.changed({"seed.x": 3})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"search.nodes": 2, "methods.custom.discretize.kept_edges": 4}, "methods.custom.discretize.kept_edges"),
        ({"search.nodes": 2, "methods.darts.kept_edges": 4, "search.method": "darts"}, "methods.darts.kept_edges"),
        ({"methods.custom.mixed_op.channel_divisor": 3}, "methods.custom.mixed_op.channel_divisor"),
        ({"search.space": "nasbench201", "methods.custom.mixed_op.stem": "imagenet"}, "methods.custom.mixed_op.stem"),
        ({"search.space": "nasbench201", "methods.custom.phases": [{"cells": 3}, {"cells": 5}]},
         "methods.custom.phases.1.cells"),
        ({"search.space": "nasbench201", "methods.custom.phases": [{"cells": 3}, {"cells": None}]}, "search.cells"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_space_is_told_by_the_key_that_the_method_has(
    least: Params, changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(UserError) as caught:
        least.changed({"search.method": "custom", "search.cells": 4, "search.nodes": None, **changes})
    assert key in [line.partition(": ")[0] for line in caught.value.args]


def test_a_key_of_another_kind_of_choice_is_not_called_unknown(least: Params) -> None:
    with pytest.raises(UserError, match=r"radius: is a key of another kind"):
        least.changed({"methods.darts.arch_gradient": {"kind": "first_order", "radius": 0.1}})

"""Left-out keys have the papers' values, files are read by YAML 1.2, and changes are checked as files are."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nascommon.config import Params, load_params
from nascommon.data.settings import DataSettings
from nascommon.method import REGISTRY, SearchSize
from nascommon.parts.choices import FirstOrder
from nascommon.pipeline.run import protocol
from nascommon.settings import UserError
from nascommon.space.space import find_space
from nascommon.training.settings import NetworkSettings
from tests.shipped import LEAST, PRESETS, ROOT, loaded


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

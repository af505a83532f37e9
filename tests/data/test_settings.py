"""The data section says what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nascommon.data.settings import Augment, DataSettings

HALVES: dict[str, Any] = {"source": "cifar10", "split": "nasbench201"}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"source": "image_folder"}, "path: source image_folder needs the folder"),
        ({"source": "imagenet", "size": 224}, "path: source imagenet needs the folder"),
        ({"source": "imagenet", "path": "x"}, "size: source imagenet needs the side"),
        ({"source": "digits", "path": "x"}, "path: the digits come with scikit-learn"),
        ({"source": "digits", "test_folder": "x"}, "train_folder: only for source image_folder or imagenet"),
        (
            {"source": "image_folder", "path": "x", "train_folder": "a", "test_folder": "a"},
            "test_folder: must be another",
        ),
        ({"source": "digits", "storage": "files"}, "size: storage files needs the side"),
        ({"source": "digits", "classes": ["0", "0"]}, "classes: every name once"),
        ({"source": "digits", "classes": ["0"]}, "classes: at least two"),
        ({"source": "digits", "augment": {"resized_crop_scale": [0.5, 0.2]}}, "resized_crop_scale: must rise"),
        ({"source": "digits", "augment": {"color_jitter": [0.4, 0.4, 0.4, 0.6]}}, "hue, must be at most 0.5"),
        (HALVES | {"source": "digits"}, r'source: split nasbench201 .* must be "cifar10" \(got "digits"\)'),
        (HALVES | {"limit": 4000}, r"limit: split nasbench201 .* must be null \(got 4000\)"),
        (HALVES | {"classes": ["cat", "dog"]}, r'classes: split nasbench201 .* must be null \(got \["cat", "dog"\]\)'),
        (HALVES | {"copies": "drop"}, r'copies: split nasbench201 .* must be "keep" \(got "drop"\)'),
        (HALVES | {"search_fraction": 0.5}, r"search_fraction: split nasbench201 .* must be 1.0 \(got 0.5\)"),
        (
            HALVES | {"architecture_fraction": 0.2},
            r"architecture_fraction: split nasbench201 .* must be 0.5 \(got 0.2\)",
        ),
        ({"source": "digits", "split": "halves"}, "Input should be 'stratified' or 'nasbench201'"),
        ({"source": "digits", "channels": 2}, "Input should be 1 or 3"),
        ({"source": "digits", "test_fraction": 1.0}, "less than 1"),
        ({"source": "digits", "sise": 8}, "Extra inputs"),
    ],
)
def test_an_impossible_section_is_refused_with_the_reason(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings.model_validate(tree)


def test_lists_of_yaml_become_tuples_with_strict_elements() -> None:
    assert Augment.model_validate({"resized_crop_scale": [0.2, 1]}).resized_crop_scale == (0.2, 1.0)
    with pytest.raises(ValidationError):
        Augment.model_validate({"resized_crop_scale": ["0.2", 1]})


def test_the_defaults_are_the_papers() -> None:
    assert Augment() == Augment(
        crop_padding=4, flip=True, resized_crop_scale=(0.08, 1.0), color_jitter=(0.4, 0.4, 0.4, 0.2)
    )

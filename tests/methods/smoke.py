"""Every method at smoke scale: two epochs on a supernet of three tiny cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import nascommon.methods  # noqa: F401 -- fills the registry
from nascommon.method import REGISTRY, Method, SearchSize
from nascommon.settings import Settings
from nascommon.space.space import Space
from nascommon.space.supernet import SupernetSpec
from nascommon.space.topology import Topology
from tests.search.small import CLASSES
from tests.space.kinds import space_of

METHODS = sorted(REGISTRY)
SELDOM = ("betadarts", "dartsminus", "dartsplus", "drnas", "fairdarts", "random", "sdarts")
"""Methods for which others stand every day: depth, edges, channels, a draw, and whatever is new."""
TOPOLOGY = Topology(2)
FEW = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
"""Candidates enough to tell good from wrong, as far as a method has them."""
SIZE = SearchSize(channels=4, cells=3, space=space_of(FEW, TOPOLOGY))


def each_method(names: Iterable[str] = METHODS) -> list[Any]:
    """Return the parameters of a test of many methods: those of ``SELDOM`` make slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow if name in SELDOM else ()) for name in names]


def smoke_settings(name: str, **changes: Any) -> Settings:
    """Return small settings of a method, chosen by what its settings have; everything else is its default.

    Waiting (warm-up, a delayed alpha) is cut to one epoch, so that both kinds of epochs are there.
    """
    entry = REGISTRY[name]
    defaults = entry.settings().model_dump()
    small: dict[str, Any] = {"batch_size": 5}
    if "epochs" in defaults:
        small["epochs"] = 2
    if "phases" in defaults:
        small["phases"] = tuple(
            {**phase, "epochs": 2, "warmup": min(phase["warmup"], 1)} for phase in defaults["phases"]
        )
    if "warmup" in defaults:
        small["warmup"] = min(defaults["warmup"], 1)
    if "channel_divisor" in defaults:
        small["channel_divisor"] = min(defaults["channel_divisor"], 2)
    if "architecture" in defaults:
        architecture = defaults["architecture"]
        small["architecture"] = {**architecture, "alpha_delay": min(architecture["alpha_delay"], 1)}
    if "cells" in defaults:  # as many supernets, of one epoch each
        small |= {"epochs": 1, "warmup": 0, "cells": (3, 4, 5), "survivors": (3, 2)}
    if "stop_at_skips" in defaults:
        small["stop_at_skips"] = 2 * TOPOLOGY.nodes + 1  # more than there are: the search runs to its end
    unknown = set(small) - set(defaults)
    assert not unknown, f"{name} has no {unknown}"
    return entry.settings.model_validate({**small, **changes})


def smoke_method(name: str, **changes: Any) -> Method:
    """Return the record of a method at smoke scale."""
    return REGISTRY[name].recipe(smoke_settings(name, **changes), SIZE)


def smoke_spec(method: Method, space: Space = SIZE.space) -> SupernetSpec:
    """Return the supernet that the method starts with."""
    phase = method.phases[0]
    return SupernetSpec(
        phase.channels,
        phase.cells,
        CLASSES,
        method.searched(space),
        channel_divisor=method.mixed_op.channel_divisor,
        stem=method.mixed_op.stem,
    )

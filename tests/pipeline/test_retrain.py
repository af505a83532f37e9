"""What retraining says before it starts is true of the network that it trains."""

from __future__ import annotations

import pytest
import torch

from nascommon.pipeline.retrain import say_auxiliary
from nascommon.space.network import Network, NetworkSpec
from nascommon.space.published import PUBLISHED
from nascommon.space.skeleton import SKELETONS


@pytest.mark.parametrize("cells", [3, 4, 5, 8])
@pytest.mark.parametrize(("stem", "side"), [("cifar", 16), ("imagenet", 64)])
def test_the_map_of_the_auxiliary_head_is_the_one_that_it_meets(
    stem: str, side: int, cells: int, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = NetworkSpec(4, cells, 3, stem)  # type: ignore[arg-type]
    network, seen = Network(PUBLISHED["DARTS_V2"], spec), []
    assert network.auxiliary is not None
    network.auxiliary.register_forward_pre_hook(lambda _head, inputs: seen.append(inputs[0].shape[2:]))
    network.forward_auxiliary(torch.randn(2, 3, side, side))
    say_auxiliary(spec, SKELETONS["darts"], side, side)
    (shape,) = seen
    assert f"its map is {shape[0]} x {shape[1]}, not" in capsys.readouterr().out

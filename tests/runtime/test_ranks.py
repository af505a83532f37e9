"""What ranks do together is the same on all of them; without others nothing happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nascommon.runtime import ranks
from nascommon.runtime.checkpoint import Checkpoint
from nascommon.runtime.ranks import WHOLE, Share
from nascommon.settings import UserError
from tests.runtime.team import on_ranks


@pytest.mark.parametrize("total", [2, 7, 10, 96])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_divide_rows_as_pieces_of_a_batch_are(total: int, count: int) -> None:
    rows = torch.arange(5, 5 + total)
    mine = [torch.arange(200)[Share(index, count).rows(5, 5 + total)] for index in range(count)]
    assert all(map(torch.equal, mine, rows.tensor_split(count)))


def together() -> dict[str, object]:
    """Return what a rank gets of all there is to be done together."""
    mine = ranks.share().index + 1
    weight, unreached = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
    weight.grad = torch.full((2, 2), float(mine))
    ranks.sum_gradients([weight, unreached])
    x = torch.tensor([float(mine)], requires_grad=True)
    (total,) = ranks.differentiable_sum([x])
    (slope,) = torch.autograd.grad(mine * total**3, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    return {
        "gradient": weight.grad,
        "unreached": unreached.grad,
        "slope": slope.item(),
        "curvature": curvature.item(),
        "totals": ranks.totals(mine, 0.5),
        "made": ranks.from_first(lambda: mine),
        "empty": ranks.summed([]),
    }


def test_what_ranks_do_together() -> None:
    # Of ranks 1, 2 and 3 with x = 1, 2, 3 the loss is (1 + 2 + 3) (x1 + x2 + x3)^3: 3 * 6 * 6^2, and 6 * 6 * 6 times 3
    # as the second derivative of every rank's slope adds up over the ranks.
    for each in on_ranks(3, together):
        gradient = each.pop("gradient")
        assert torch.equal(gradient, torch.full((2, 2), 6.0))
        assert each == {
            "unreached": None, "slope": 648.0, "curvature": 648.0, "totals": (6.0, 1.5), "made": 1, "empty": (),
        }  # fmt: skip


def alike(odd: int) -> None:
    held = {"seed": 0, "lr": 0.1, "pieces": 1}
    ranks.require_alike(held | {"lr": 0.2, "pieces": 2} if ranks.share().index == odd else held, "the same params.yaml")


def test_what_one_rank_has_of_its_own_is_told_by_all() -> None:
    assert on_ranks(3, alike, 3) == [None] * 3
    for error in on_ranks(3, alike, 1):
        assert isinstance(error, UserError)
        assert str(error) == (
            "lr: rank 1 of 3 has 0.2 where rank 0 has 0.1, and 1 more differ; give all ranks the same params.yaml"
        )


def test_alone_tensors_come_back_as_they_are() -> None:
    tensor = torch.ones(2)
    assert ranks.share() == WHOLE
    assert ranks.summed([tensor])[0] is tensor
    assert ranks.differentiable_sum([tensor])[0] is tensor
    assert ranks.totals(1.0, 2.0) == (1.0, 2.0)
    ranks.require_equal("", {"": [tensor]})
    ranks.require_alike({"": tensor}, "")
    assert list(ranks.apart(["batch"], 1, torch.device("cpu"))) == ["batch"]


def test_a_whole_batch_draws_from_the_global_stream_and_pieces_from_their_own() -> None:
    def drawn(pieces: int) -> list[float]:
        torch.manual_seed(0)
        return [float(torch.rand(())) for _ in ranks.apart(range(pieces), pieces, torch.device("cpu"))]

    torch.manual_seed(0)
    expected = [float(torch.rand(()))]
    assert drawn(1) == expected
    assert len({*drawn(1), *drawn(3)}) == 4
    assert drawn(3)[:2] == drawn(2)


def statistics(momentum: float | None) -> tuple[Tensor, Tensor, float | None]:
    """Show a batch norm two batches of 6, the share of this rank or piece by piece where it is alone."""
    norm, team = nn.BatchNorm2d(2, momentum=momentum).double(), ranks.share()
    images = torch.randn(2, 6, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with ranks.shared_statistics(nn.Sequential(norm)):
        for batch in images:
            for piece in batch.tensor_split(3) if team == WHOLE else [batch[team.rows(0, 6)]]:
                norm(piece)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var, norm.momentum


def test_running_statistics_are_those_of_pieces_one_after_the_other() -> None:
    for found in on_ranks(3, statistics, 0.1):
        torch.testing.assert_close(found[:2], statistics(0.1)[:2], rtol=1e-12, atol=0)
        assert found[2] == 0.1


def kept(folder: Path) -> object:
    """Save and load a checkpoint that this rank sees in a folder of its own."""
    rank = ranks.share().index
    file = Checkpoint(folder / str(rank) / "state.ckpt", "print")
    file.path.parent.mkdir()
    file.save({"rank": rank})
    return file.load(), file.path.exists()


def test_the_first_rank_alone_writes_checkpoints_and_reads_them_for_all(tmp_path: Path) -> None:
    assert on_ranks(2, kept, tmp_path) == [({"rank": 0}, True), ({"rank": 0}, False)]

"""Batch norms by the kernels of a GPU are the plain ones, and only what these know is given to them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nascommon.kernels import bank_launch, batch_norm_launch
from nascommon.kernels.batch_norm import BatchNorm, each_normalised, normalised
from nascommon.kernels.batch_norm_launch import Running
from nascommon.kernels.home import meta_stands_for
from tests.kernels.in_interpreter import passes_in_interpreter
from tests.kernels.test_batch_norm import SCALES, inputs, plain

EPS = 1e-3


@pytest.mark.parametrize("every", [pytest.param("--all", marks=pytest.mark.slow), "--few"])
def test_the_kernels_of_a_gpu_equal_the_definition_in_float64(every: str) -> None:
    passes_in_interpreter("tests.kernels.interpreted_batch_norm", every)


def meta(dtype: torch.dtype = torch.bfloat16, shape: tuple[int, ...] = (2, 3, 4, 4)) -> Tensor:
    return torch.empty(shape, device="meta", dtype=dtype)


def test_a_gpu_takes_the_kernels_for_what_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not batch_norm_launch.launches(meta())
    with meta_stands_for("cuda"):
        assert batch_norm_launch.launches(meta())
        assert not batch_norm_launch.launches(meta(torch.float64))
        assert not batch_norm_launch.launches(meta(shape=(1, 3, 1, 1)))
        assert batch_norm_launch.launches(meta(shape=(2, 3, 1, 1)))
        assert not batch_norm_launch.launches(meta(shape=(2, 3, 1, 1)), 2)
        assert not batch_norm_launch.launches(meta(shape=(0, 3, 4, 4)))
        monkeypatch.setattr(bank_launch, "triton_is_there", lambda _: False)
        assert not batch_norm_launch.launches(meta())


def test_a_single_pixel_has_no_variance_on_a_gpu_either() -> None:
    with meta_stands_for("cuda"), pytest.raises(ValueError, match="more than 1 value per channel"):
        normalised(meta(shape=(1, 3, 1, 1)), None, None, EPS)


@pytest.mark.parametrize("pixels", [(2, 1, 1), (64, 8, 8), (256, 32, 32)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_chunks_cover_all_pixels_and_blocks_all_channels(pixels: tuple[int, int, int], dtype: torch.dtype) -> None:
    B, H, W = pixels
    for channels, batches in itertools.product((*range(1, 65), 288, 720, 1152), (1, 2)):
        x = meta(dtype, (batches * B, H, W, channels)).permute(0, 3, 1, 2)
        launch = batch_norm_launch._Launch(x, batches=batches)
        chunks, blocks, _ = launch.grid
        assert launch.grid[2] == batches
        assert (chunks - 1) * launch.size < B * H * W <= chunks * launch.size  # and none is empty
        assert (blocks - 1) * launch.columns < channels <= blocks * launch.columns
        assert chunks <= launch.most
        assert launch.size % launch.rows == 0
        for number in (launch.rows, launch.columns, launch.most):
            assert number & (number - 1) == 0


@pytest.fixture
def as_if_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let float64 on a CPU take the way of the kernels, whose passes plain operators compute."""

    def forward(
        x: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float, running: Running | None, batches: int
    ) -> tuple[Tensor, Tensor]:
        if batches > 1:
            parts = zip(*(forward(each, None, None, eps, None, 1) for each in x.chunk(batches)), strict=True)
            return tuple(torch.cat(each, dim=dim) for dim, each in enumerate(parts))  # type: ignore[return-value]
        out, mean, variance = plain(x, scale, shift, eps)
        if running is not None:
            for kept, new in zip(running[:2], (mean, variance), strict=True):
                kept.lerp_(new, running[2])
        biased = x.var((0, 2, 3), correction=0)
        return out, torch.stack([mean, variance, (biased + eps).rsqrt()])

    def gradients(slope: Tensor, x: Tensor, scale: Tensor | None, moments: Tensor) -> tuple[Tensor, ...]:
        if len(moments[0]) > x.shape[1]:
            given = (slope.chunk(2), x.chunk(2), (None, None), moments.chunk(2, dim=1))
            return tuple(map(torch.cat, zip(*map(gradients, *given), strict=True)))
        mean, _, inverse = moments[:, :, None, None]
        normal = (x - mean) * inverse
        of_shift, of_scale = ((slope * each).sum((0, 2, 3), keepdim=True) for each in (torch.ones_like(x), normal))
        pixels = x.numel() // x.shape[1]
        by = inverse[None] if scale is None else inverse * scale[:, None, None]
        return by * (slope - of_shift / pixels - normal * of_scale / pixels), of_scale.flatten(), of_shift.flatten()

    monkeypatch.setattr(batch_norm_launch, "launches", lambda *_: True)
    monkeypatch.setattr(batch_norm_launch, "forward", forward)
    monkeypatch.setattr(batch_norm_launch, "gradients", gradients)


@pytest.mark.usefixtures("as_if_launched")
@pytest.mark.parametrize("scales", SCALES)
def test_gradients_can_be_differentiated_again(scales: str) -> None:
    x, (scale, shift) = inputs((2, 3, 2, 2), scales)
    given = tuple(each for each in (x, scale, shift) if each is not None)

    def slopes(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, scale, shift = (*tensors, None, None)[:3]
        out = normalised(x, scale, shift, EPS)[0]  # type: ignore[arg-type]
        return torch.autograd.grad(out.sin().sum(), tensors, create_graph=True)

    assert torch.autograd.gradcheck(slopes, given)


@pytest.mark.usefixtures("as_if_launched")
def test_those_of_batches_with_statistics_of_their_own_can_be_differentiated_again() -> None:
    x, _ = inputs((4, 3, 2, 2), "none")
    apart = [plain(part, None, None, EPS) for part in x.chunk(2)]
    found = []
    for out, *moments in (each_normalised(x, 2, EPS), [torch.cat(each) for each in zip(*apart, strict=True)]):
        (slope,) = torch.autograd.grad(out.sin().sum(), x, create_graph=True)
        found.append([out, *moments, slope, *torch.autograd.grad(slope.sin().sum(), x)])
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


@pytest.mark.usefixtures("as_if_launched")
def test_statistics_have_no_gradient() -> None:
    x, _ = inputs((2, 3, 2, 2), "none")
    out, mean, variance = normalised(x, None, None, EPS)
    assert out.requires_grad
    assert not mean.requires_grad
    assert not variance.requires_grad


@pytest.mark.usefixtures("as_if_launched")
def test_a_batch_norm_alone_moves_its_running_statistics() -> None:
    torch.manual_seed(0)
    x, _ = inputs((2, 3, 4, 4), "none")
    ours, theirs = BatchNorm(3).double(), torch.nn.BatchNorm2d(3).double()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=1e-12)

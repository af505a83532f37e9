"""Machine code of the depthwise kernels is read without a GPU: their loops neither spill nor wait for other threads."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("triton")

import torch
from torch import nn

from benchmarks import counts, sass
from benchmarks.depthwise import Case, cases
from nascommon.kernels import bank_launch, batch_norm_launch, pools
from nascommon.kernels.average import AveragePool
from nascommon.kernels.bank import Bank, Kind, beside
from nascommon.kernels.batch_norm import normalised

EVERYWHERE = 48 * 1024
"""Bytes of shared memory that a program has on every card."""
SMALL = Case("darts", Bank((Kind(3, 1, 2),)), 64, 16, 32)


def check(case: Case) -> None:
    for name, works in sass.works_of(case).items():
        for work in works:
            assert not any(each[kind] for each in work.code.loops for kind in ("LDL", "STL", "BAR")), (name, str(work))
            assert work.code.registers <= 128
            assert 1 < work.code.per_product() < 6
            assert sass.LAUNCH_SECONDS < work.seconds < 60e-6


def test_loops_neither_spill_nor_wait_for_other_threads() -> None:
    check(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*cases()], ids=str)
def test_those_of_real_steps_do_not_either(case: Case) -> None:
    check(case)


def launches_of_batch_norm(shape: tuple[int, int, int, int], dtype: torch.dtype, *, affine: bool) -> list[sass.Launch]:
    recorder = sass.Recorder(batch_norm_launch.OPERATORS)
    with counts.as_on_a_gpu(), recorder:
        x = torch.empty(shape, device="meta", dtype=dtype).contiguous(memory_format=torch.channels_last)
        scale, shift = (torch.ones(shape[1], device="meta") if affine else None for _ in range(2))
        out = normalised(x.requires_grad_(), scale, shift, 1e-5)[0]
        torch.autograd.grad(out, x, torch.empty_like(out))
    return recorder.launches


@pytest.mark.parametrize(
    ("shape", "dtype", "affine"),
    [
        ((64, 288, 32, 32), torch.bfloat16, False),
        pytest.param((64, 288, 32, 32), torch.float32, False, marks=pytest.mark.slow),
        pytest.param((256, 8, 32, 32), torch.bfloat16, False, marks=pytest.mark.slow),
        pytest.param((96, 180, 32, 32), torch.bfloat16, True, marks=pytest.mark.slow),
        pytest.param((96, 3, 5, 5), torch.float32, True, marks=pytest.mark.slow),
    ],
)
def test_those_of_batch_norm_do_not_either(shape: tuple[int, int, int, int], dtype: torch.dtype, affine: bool) -> None:
    launches = launches_of_batch_norm(shape, dtype, affine=affine)
    assert [launch.kernel[1] for launch in launches] == [
        "statistics_kernel", "apply_kernel", "reduce_kernel", "gradient_kernel",
    ]  # fmt: skip
    for launch in launches:
        code = launch.code
        assert code.loops
        assert not any(each[kind] for each in code.loops for kind in ("LDL", "STL", "BAR")), launch.kernel
        assert code.registers <= 128


@pytest.mark.parametrize(("channels", "dtype", "stride"), [(16, torch.bfloat16, 1), (3, torch.float32, 2)])
def test_nor_do_pools(channels: int, dtype: torch.dtype, stride: int) -> None:
    recorder, both = sass.Recorder(pools.OPERATORS), (nn.MaxPool2d(3, stride, 1), AveragePool(3, stride, 1))
    with counts.as_on_a_gpu(), recorder:
        x = torch.empty(64, 32, 32, channels, device="meta", dtype=dtype).permute(0, 3, 1, 2).requires_grad_()
        bank = (Bank((Kind(3, 1),), stride), x, torch.empty(9 * channels, device="meta"))
        for sources in ([], [bank]):  # the gradient of a bank is added to
            out = beside(sources, (pools.Pools(both), x))
            torch.autograd.grad(out, x, torch.empty_like(out))
    assert [launch.kernel[1] for launch in recorder.launches] == ["forward_kernel", "gradient_kernel"] * 2
    for launch in recorder.launches:
        assert not any(each[kind] for each in launch.code.loops for kind in ("LDL", "STL", "BAR")), launch.kernel
        assert launch.code.registers <= 128


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "dtype"), [(75, torch.float32), *((each, torch.bfloat16) for each in (75, 80, 86, 89, 90, 100, 120))]
)
def test_every_card_has_room_for_what_is_compiled_for_it(capability: int, dtype: torch.dtype) -> None:
    recorder = sass.Recorder(bank_launch.OPERATORS | pools.OPERATORS | batch_norm_launch.OPERATORS)
    with counts.as_on_a_gpu(), recorder:
        x = torch.empty(64, 32, 32, 32, device="meta", dtype=dtype).permute(0, 3, 1, 2).requires_grad_()
        for bank in (Bank((Kind(3, 1, 4), Kind(5, 2, 4))), Bank((Kind(3, 2), Kind(5, 1)), 2, shared=False)):
            both = pools.Pools((nn.MaxPool2d(3, bank.stride, 1), AveragePool(3, bank.stride, 1)))
            kernels = torch.empty(bank.taps * bank.channels(x), device="meta", requires_grad=True)
            out = normalised(beside([(bank, x, kernels)], (both, x)), None, None, 1e-5)[0]
            torch.autograd.grad(out, (x, kernels), torch.empty_like(out))
    launches = recorder.launches
    assert {launch.kernel for launch in launches} == {each for every in sass.KERNELS.values() for each in every}
    for launch in launches:
        assert launch.compiled(capability).metadata.shared <= EVERYWHERE, launch.kernel


def test_products_are_added_in_one_rounding_whatever_triton_does_unasked() -> None:
    banks = [work.static for works in sass.works_of(SMALL).values() for work in works]
    norms = [launch.static for launch in launches_of_batch_norm((2, 4, 8, 8), torch.float32, affine=False)]
    assert all(static["enable_fp_fusion"] is True for static in (*banks, *norms))


def test_products_are_those_of_the_convolution() -> None:
    products = 9 * 64 * 32 * 32 * 2 * 16
    assert {name: [work.products for work in works] for name, works in sass.works_of(SMALL).items()} == {
        "forward": [products], "input": [products], "kernels": [products],
    }  # fmt: skip


def test_the_command_prints_what_was_measured_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sass, "cases", lambda: [SMALL])
    monkeypatch.setattr(sass, "works_of", lambda _: {"forward": [type("Work", (), {"seconds": 5e-6})()]})
    app = typer.Typer()
    app.command()(sass.main)
    done = CliRunner().invoke(app, [])
    assert f"{SMALL} | forward | 5.0 us (before: not measured)" in done.output

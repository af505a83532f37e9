"""Machine code of the depthwise kernels is read without a GPU: their loops neither spill nor wait for other threads."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("triton")

from benchmarks import sass
from benchmarks.depthwise import Case, cases
from nascommon.kernels.bank import Bank, Kind

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


def test_products_are_added_in_one_rounding_whatever_triton_does_unasked() -> None:
    banks = [work.static for works in sass.works_of(SMALL).values() for work in works]
    assert all(static["enable_fp_fusion"] is True for static in banks)


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

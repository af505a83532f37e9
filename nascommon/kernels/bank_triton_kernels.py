"""The gradient of the kernels of a bank of depthwise convolutions in Triton: one launch, and a sum of its parts.

A program sums slope times input over a chunk of the pixels, for one line of the taps of some channels, and writes what
it finds for itself, so that no two ever add to one number and the order of all sums is fixed.

Suffixes: ``P`` pixels of a program, ``D`` its channels of the output.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, PLR2004, SIM102 -- Triton has no types, and no tables of functions

from __future__ import annotations

import triton
import triton.language as tl

from nascommon.kernels.bank_triton import NUMBERS, kind


@triton.jit
def _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, move, step, height, width, RELU: tl.constexpr):
    c_P = column_P + move
    there_P = here_P & (c_P >= 0) & (c_P < width)
    seen_PD = tl.load(x_PD + move * step, mask=there_P[:, None] & in_D[None, :], other=0).to(tl.float32)
    if RELU:
        seen_PD = tl.maximum(seen_PD, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return seen_PD * slope_PD


@triton.jit
def _line_of_taps(
    slope, x, to_D, in_D, slope_D, x_D, first, last, line, dilation, height, width, rows, columns, slope_step, x_step,
    to_step, SIDE: tl.constexpr, STRIDE: tl.constexpr, RELU: tl.constexpr, PIXELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Sum slope times input over the pixels from ``first`` to ``last`` for one line of a kernel."""
    a_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    b_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    c_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    d_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    e_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    f_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    g_PD = tl.zeros([PIXELS, WIDTH], tl.float32)
    for start in range(first, last, PIXELS):
        pixel_P = start + tl.arange(0, PIXELS)
        column_P = pixel_P % columns * STRIDE - SIDE // 2 * dilation
        above_P = pixel_P // columns
        row_P = above_P % rows * STRIDE + (line - SIDE // 2) * dilation
        here_P = (pixel_P < last) & (row_P >= 0) & (row_P < height)
        x_PD = x + (((above_P // rows) * height + row_P) * width + column_P)[:, None] * x_step + x_D[None, :]
        slope_at = slope + pixel_P[:, None] * slope_step + slope_D[None, :]
        slope_PD = tl.load(slope_at, mask=here_P[:, None] & in_D[None, :], other=0).to(tl.float32)
        a_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 0, x_step, height, width, RELU)
        b_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, dilation, x_step, height, width, RELU)
        c_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 2 * dilation, x_step, height, width, RELU)
        if SIDE >= 5:
            d_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 3 * dilation, x_step, height, width, RELU)
            e_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 4 * dilation, x_step, height, width, RELU)
        if SIDE >= 7:
            f_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 5 * dilation, x_step, height, width, RELU)
            g_PD += _tap(x_PD, slope_PD, here_P, in_D, row_P, column_P, 6 * dilation, x_step, height, width, RELU)
    tl.store(to_D, tl.sum(a_PD, axis=0), mask=in_D)
    tl.store(to_D + to_step, tl.sum(b_PD, axis=0), mask=in_D)
    tl.store(to_D + 2 * to_step, tl.sum(c_PD, axis=0), mask=in_D)
    if SIDE >= 5:
        tl.store(to_D + 3 * to_step, tl.sum(d_PD, axis=0), mask=in_D)
        tl.store(to_D + 4 * to_step, tl.sum(e_PD, axis=0), mask=in_D)
    if SIDE >= 7:
        tl.store(to_D + 5 * to_step, tl.sum(f_PD, axis=0), mask=in_D)
        tl.store(to_D + 6 * to_step, tl.sum(g_PD, axis=0), mask=in_D)


@triton.jit(do_not_specialize=[*NUMBERS, "pixels", "chunk", "taps"])
def kernel_kernel(
    slope, x, partial, code, count, units, height, width, rows, columns, in_pitch, out_pitch, out_start, pixels, chunk,
    taps, STRIDE: tl.constexpr, VEC: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr, WIDEST: tl.constexpr,
    PIXELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Sum parts of the gradients of kernels; the grid: chunks of pixels, blocks of channels, lines of all kernels."""
    line = tl.program_id(2)
    before = 0
    taps_before = 0
    lines_before = 0
    side, dilation, groups = kind(code, 0)
    own, own_before, own_taps = line, 0, 0
    for place in range(count):
        its_side, its_dilation, its_groups = kind(code, place)
        if (line >= lines_before) & (line < lines_before + its_side):
            side, dilation, groups = its_side, its_dilation, its_groups
            own, own_before, own_taps = line - lines_before, before, taps_before
        before += its_groups
        taps_before += its_groups * its_side * its_side
        lines_before += its_side
    channels = units * VEC
    d_D = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    in_D = d_D < groups * channels
    slope_D = (out_start + own_before * units) * VEC + d_D
    x_D = d_D % channels if SHARED else own_before * channels + d_D
    to_step = groups * channels
    to_D = partial + tl.program_id(0) * taps * channels + own_taps * channels + own * side * to_step + d_D
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, pixels)
    if side == 3:
        _line_of_taps(
            slope, x, to_D, in_D, slope_D, x_D, first, last, own, dilation, height, width, rows, columns,
            out_pitch * VEC, in_pitch * VEC, to_step, 3, STRIDE, RELU, PIXELS, WIDTH,
        )  # fmt: skip
    if WIDEST >= 5:
        if side == 5:
            _line_of_taps(
                slope, x, to_D, in_D, slope_D, x_D, first, last, own, dilation, height, width, rows, columns,
                out_pitch * VEC, in_pitch * VEC, to_step, 5, STRIDE, RELU, PIXELS, WIDTH,
            )  # fmt: skip
    if WIDEST >= 7:
        if side == 7:
            _line_of_taps(
                slope, x, to_D, in_D, slope_D, x_D, first, last, own, dilation, height, width, rows, columns,
                out_pitch * VEC, in_pitch * VEC, to_step, 7, STRIDE, RELU, PIXELS, WIDTH,
            )  # fmt: skip

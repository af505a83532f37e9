"""The gradient of the kernels of a bank of depthwise convolutions in Triton: one launch, and a sum of its parts.

A program sums slope times input over a chunk of the pixels, for one line of the taps of all kernels of some channels,
and writes what it finds for itself, so that no two ever add to one number and the order of all sums is fixed. A thread
has all kernels of a channel for itself (see ``bank_triton``), pixels are added up over threads once, in the end.

Suffixes: ``G`` kernels of a channel, ``P`` pixels of a program, ``C`` its channels of the input.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, PLR2004, SIM102 -- Triton has no types, and no tables of functions

from __future__ import annotations

import triton
import triton.language as tl

from nascommon.kernels.bank_triton import NUMBERS, kind


@triton.jit
def _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, move, step, width, RELU: tl.constexpr):
    c_1P1 = column_1P1 + move
    there_1P1 = here_1P1 & (c_1P1 >= 0) & (c_1P1 < width)
    seen_1PC = tl.load(x_1PC + move * step, mask=there_1P1 & in_11C, other=0).to(tl.float32)
    if RELU:
        seen_1PC = tl.maximum(seen_1PC, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return seen_1PC * slope_GPC


@triton.jit
def _line_of_taps(
    slope_G1C, x_11C, to_G1C, in_G1C, in_11C, first, last, line, dilation, height, width, rows, columns, slope_step,
    x_step, to_step, SIDE: tl.constexpr, STRIDE: tl.constexpr, RELU: tl.constexpr, GROUPS: tl.constexpr,
    PIXELS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Sum slope times input over the pixels from ``first`` to ``last`` for one line of a kernel."""
    a_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    b_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    c_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    d_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    e_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    f_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    g_GPC = tl.zeros([GROUPS, PIXELS, WIDTH], tl.float32)
    for start in range(first, last, PIXELS):
        pixel_1P1 = start + tl.arange(0, PIXELS)[None, :, None]
        column_1P1 = pixel_1P1 % columns * STRIDE - SIDE // 2 * dilation
        above_1P1 = pixel_1P1 // columns
        row_1P1 = above_1P1 % rows * STRIDE + (line - SIDE // 2) * dilation
        here_1P1 = (pixel_1P1 < last) & (row_1P1 >= 0) & (row_1P1 < height)
        x_1PC = x_11C + (((above_1P1 // rows) * height + row_1P1) * width + column_1P1) * x_step
        slope_at_GPC = slope_G1C + pixel_1P1 * slope_step
        slope_GPC = tl.load(slope_at_GPC, mask=here_1P1 & in_G1C, other=0).to(tl.float32)
        a_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 0, x_step, width, RELU)
        b_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, dilation, x_step, width, RELU)
        c_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 2 * dilation, x_step, width, RELU)
        if SIDE >= 5:
            d_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 3 * dilation, x_step, width, RELU)
            e_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 4 * dilation, x_step, width, RELU)
        if SIDE >= 7:
            f_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 5 * dilation, x_step, width, RELU)
            g_GPC += _tap(x_1PC, slope_GPC, here_1P1, in_11C, column_1P1, 6 * dilation, x_step, width, RELU)
    _put(to_G1C, a_GPC, in_G1C)
    _put(to_G1C + to_step, b_GPC, in_G1C)
    _put(to_G1C + 2 * to_step, c_GPC, in_G1C)
    if SIDE >= 5:
        _put(to_G1C + 3 * to_step, d_GPC, in_G1C)
        _put(to_G1C + 4 * to_step, e_GPC, in_G1C)
    if SIDE >= 7:
        _put(to_G1C + 5 * to_step, f_GPC, in_G1C)
        _put(to_G1C + 6 * to_step, g_GPC, in_G1C)


@triton.jit
def _put(to_G1C, terms_GPC, in_G1C):
    tl.store(to_G1C, tl.sum(terms_GPC, axis=1, keep_dims=True), mask=in_G1C)


@triton.jit(do_not_specialize=[*NUMBERS, "pixels", "chunk", "taps"])
def kernel_kernel(
    slope, x, partial, code, count, units, height, width, rows, columns, in_pitch, out_pitch, out_start, pixels, chunk,
    taps, STRIDE: tl.constexpr, VEC: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr, WIDEST: tl.constexpr,
    GROUPS: tl.constexpr, PIXELS: tl.constexpr, WIDTH: tl.constexpr,
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
    c_11C = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)[None, None, :]
    g_G11 = tl.arange(0, GROUPS)[:, None, None]
    in_11C = c_11C < channels
    in_G1C = in_11C & (g_G11 < groups)
    slope_G1C = slope + (out_start + own_before * units) * VEC + g_G11 * channels + c_11C
    x_11C = x + c_11C if SHARED else x + own_before * channels + c_11C
    to_step = groups * channels
    to_G1C = partial + tl.program_id(0) * taps * channels + own_taps * channels + own * side * to_step
    to_G1C += g_G11 * channels + c_11C
    first = tl.program_id(0) * chunk
    last = tl.minimum(first + chunk, pixels)
    if side == 3:
        _line_of_taps(
            slope_G1C, x_11C, to_G1C, in_G1C, in_11C, first, last, own, dilation, height, width, rows, columns,
            out_pitch * VEC, in_pitch * VEC, to_step, 3, STRIDE, RELU, GROUPS, PIXELS, WIDTH,
        )  # fmt: skip
    if WIDEST >= 5:
        if side == 5:
            _line_of_taps(
                slope_G1C, x_11C, to_G1C, in_G1C, in_11C, first, last, own, dilation, height, width, rows, columns,
                out_pitch * VEC, in_pitch * VEC, to_step, 5, STRIDE, RELU, GROUPS, PIXELS, WIDTH,
            )  # fmt: skip
    if WIDEST >= 7:
        if side == 7:
            _line_of_taps(
                slope_G1C, x_11C, to_G1C, in_G1C, in_11C, first, last, own, dilation, height, width, rows, columns,
                out_pitch * VEC, in_pitch * VEC, to_step, 7, STRIDE, RELU, GROUPS, PIXELS, WIDTH,
            )  # fmt: skip

"""The gradient of the kernels of a bank of depthwise convolutions in Triton: one launch, and a sum of its parts.

A program sums slope times input over a chunk of the pixels, for one line of the taps of some kernels of some channels,
and writes what it finds for itself, so that no two ever add to one number and the order of all sums is fixed. A thread
takes vectors of channels of several pixels of a line, as in ``bank_triton``.

Suffixes: ``N`` threads of a program, ``V`` channels of one, ``D`` channels of a program.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, RUF005 -- Triton has no types, and unpacks no tuples

from __future__ import annotations

import triton
import triton.language as tl

from nascommon.kernels.bank_triton import NUMBERS, column_of, divided, own_part, pixels_read, spans_of, zeros


@triton.jit
def _line_of_taps(
    slope_NV, x_NV, to_D, in_D, in_N1, first, last, tap_line, apart, groups, units, height, width, rows, columns,
    in_pitch, out_pitch, to_tap,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, VEC: tl.constexpr, RELU: tl.constexpr, BLOCK: tl.constexpr,
    WIDTH: tl.constexpr, TIMES: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """Sum slope times input over the spans from ``first`` to ``last`` for one line of GROUPS kernels."""
    sums = zeros(GROUPS * SIDE, BLOCK, VEC)
    own_N1 = tl.arange(0, BLOCK)[:, None] // WIDTH
    spans = spans_of(columns, apart, TIMES)
    for start in range(first, last, BLOCK // WIDTH):
        span_N1 = start + own_N1
        line_N1, column_N1 = column_of(span_N1, spans, apart, TIMES)
        image_N1 = divided(line_N1, rows)
        row_N1 = (line_N1 - image_N1 * rows) * STRIDE + (tap_line - SIDE // 2) * apart
        left_N1 = column_N1 * STRIDE - SIDE // 2 * apart
        there_N1 = in_N1 & (span_N1 < last) & (row_N1.to(tl.uint32) < height.to(tl.uint32))
        x_at_NV = x_NV + ((image_N1 * height + row_N1) * width + left_N1) * (in_pitch * VEC)
        seen = pixels_read(x_at_NV, there_N1, left_N1, apart, width, in_pitch * VEC, STRIDE * (TIMES - 1) + SIDE, RELU)
        slope_at_NV = slope_NV + (line_N1 * columns + column_N1) * (out_pitch * VEC)
        new = ()
        for g in tl.static_range(GROUPS):
            of_g_NV = slope_at_NV + tl.minimum(g, groups - 1) * units * VEC
            slopes = pixels_read(of_g_NV, there_N1, column_N1, apart, columns, out_pitch * VEC, TIMES, False)
            for j in tl.static_range(SIDE):
                sum_NV = sums[g * SIDE + j]
                for t in tl.static_range(TIMES):
                    sum_NV += slopes[t] * seen[STRIDE * t + j]
                new = new + (sum_NV,)
        sums = new
    for g in tl.static_range(GROUPS):
        if g < groups:
            for j in tl.static_range(SIDE):
                sum_D = tl.sum(tl.reshape(sums[g * SIDE + j], (BLOCK // WIDTH, WIDTH * VEC)), axis=0)
                tl.store(to_D + j * to_tap + g * units * VEC, sum_D, mask=in_D)


@triton.jit(do_not_specialize=[*NUMBERS, "to_chunk"])
def kernel_kernel(
    slope, x, partial, code, count, taps, units, lines, batch_lines, height, width, rows, columns, in_pitch, out_pitch,
    out_start, to_chunk, STRIDE: tl.constexpr, VEC: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, GROUPS: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr, TIMES: tl.constexpr,
):  # fmt: skip
    """Sum parts of the gradients of kernels; the grid: chunks of spans, blocks of channels, lines of all kernels.

    Chunks are those of the first batch, then of the next.
    """
    side, apart, groups, before, taps_before, part = own_part(code, count, tl.program_id(2), GROUPS, True)
    tap_line = part % side
    first_group = part // side * GROUPS
    unit_N1 = tl.program_id(1) * WIDTH + tl.arange(0, BLOCK)[:, None] % WIDTH
    channel_NV = unit_N1 * VEC + tl.arange(0, VEC)[None, :]
    slope_NV = slope + (out_start + (before + first_group) * units) * VEC + channel_NV
    x_NV = x + channel_NV
    if not SHARED:
        x_NV += before * units * VEC
    spans = batch_lines * spans_of(columns, apart, TIMES)
    chunks = tl.num_programs(0) // (lines // batch_lines)
    batch = tl.program_id(0) // chunks
    own_chunk = tl.program_id(0) - batch * chunks
    chunk = (spans + chunks - 1) // chunks
    first = batch * spans + own_chunk * chunk
    last = tl.minimum(first + chunk, (batch + 1) * spans)
    channels = units * VEC
    d_D = tl.program_id(1) * (WIDTH * VEC) + tl.arange(0, WIDTH * VEC)
    to_tap = groups * channels
    own_taps = batch * taps + taps_before + first_group
    start = own_chunk * to_chunk + own_taps * channels + tap_line * side * to_tap
    for SIDE in tl.static_range(3, WIDEST + 1, 2):
        if side == SIDE:
            _line_of_taps(
                slope_NV, x_NV, partial + start + d_D, d_D < channels, unit_N1 < units, first, last, tap_line, apart,
                groups - first_group, units, height, width, rows, columns, in_pitch, out_pitch, to_tap,
                SIDE, STRIDE, VEC, RELU, BLOCK, WIDTH, TIMES, GROUPS,
            )  # fmt: skip

"""Banks of depthwise convolutions on a GPU of NVIDIA: their three passes in Triton, each one launch for all kinds.

Maps lie in channels-last layout. A program takes vectors of ``VEC`` neighbouring channels of a pixel, so that places
are worked out once for a vector; whatever a vector begins at is a multiple of ``VEC``, which the compiler is told by
counting in such vectors ("units"). Sides and dilations are told by ``code``, numbers that are known when a program
runs, so that one compiled kernel serves every space; sums are float32 and always in the same order.

Suffixes: ``N`` vectors of a program, ``V`` channels of one, ``G`` kernels of a channel, ``P`` pixels, ``D`` channels.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0912, PLR2004, SIM102 -- Triton has no types, and no tables of functions

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = ("code", "count", "units", "height", "width", "rows", "columns", "in_pitch", "out_pitch", "out_start")


@triton.jit
def kind(code, place):
    """Return side, dilation and groups of a kind, as ``coded`` wrote them."""
    part = (code >> (7 * place)) & 127
    return 3 + 2 * (part & 3), 1 + ((part >> 2) & 3), 1 + (part >> 4)


@triton.jit
def _forward_of_side(
    sum_NGV, x_N1V, w_NGV, row_N11, column_N11, side, dilation, height, width, x_step, w_step, there_1G1,
    SIDE: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    for i in range(side):  # not unrolled, which would take the compiler long
        r_N11 = row_N11 + (i - SIDE // 2) * dilation
        row_there_N11 = (r_N11 >= 0) & (r_N11 < height)
        for j in tl.static_range(SIDE):
            c_N11 = column_N11 + (j - SIDE // 2) * dilation
            here_N11 = row_there_N11 & (c_N11 >= 0) & (c_N11 < width)
            step = ((i - SIDE // 2) * width + j - SIDE // 2) * dilation * x_step
            seen_N1V = tl.load(x_N1V + step, mask=here_N11, other=0).to(tl.float32)
            if RELU:
                seen_N1V = tl.maximum(seen_N1V, 0.0, propagate_nan=tl.PropagateNan.ALL)
            kernel_NGV = tl.load(w_NGV + (i * SIDE + j) * w_step, mask=there_1G1, other=0)
            sum_NGV += seen_N1V * kernel_NGV.to(tl.float32)
    return sum_NGV


@triton.jit(do_not_specialize=[*NUMBERS, "vectors"])
def forward_kernel(
    x, w, out, code, units, height, width, rows, columns, in_pitch, out_pitch, out_start, vectors,
    STRIDE: tl.constexpr, VEC: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Convolve; axis 0 of the grid goes over vectors of the output of a group, axis 1 over kinds."""
    own = tl.program_id(1)
    before = 0
    taps_before = 0
    for place in range(own):
        its_side, _, its_groups = kind(code, place)
        before += its_groups
        taps_before += its_groups * its_side * its_side
    side, dilation, groups = kind(code, own)
    v_N11 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None, None]
    inside_N11 = v_N11 < vectors
    pixel_N11 = v_N11 // units
    channel_N1V = (v_N11 - pixel_N11 * units) * VEC + tl.arange(0, VEC)[None, None, :]
    column_N11 = pixel_N11 % columns * STRIDE
    line_N11 = pixel_N11 // columns
    row_N11 = line_N11 % rows * STRIDE
    x_N1V = x + ((line_N11 // rows * height + row_N11) * width + column_N11) * (in_pitch * VEC) + channel_N1V
    if not SHARED:
        x_N1V += before * units * VEC
    row_N11 = tl.where(inside_N11, row_N11, -8 * height)
    g_1G1 = tl.arange(0, GROUPS)[None, :, None]
    there_1G1 = g_1G1 < groups
    channel_NGV = g_1G1 * (units * VEC) + channel_N1V
    w_NGV = w + taps_before * units * VEC + channel_NGV
    w_step = groups * units * VEC
    x_step = in_pitch * VEC
    sum_NGV = tl.zeros([BLOCK, GROUPS, VEC], tl.float32)
    if side == 3:
        sum_NGV = _forward_of_side(
            sum_NGV, x_N1V, w_NGV, row_N11, column_N11, side, dilation, height, width, x_step, w_step, there_1G1,
            3, RELU,
        )  # fmt: skip
    if WIDEST >= 5:
        if side == 5:
            sum_NGV = _forward_of_side(
                sum_NGV, x_N1V, w_NGV, row_N11, column_N11, side, dilation, height, width, x_step, w_step, there_1G1,
                5, RELU,
            )  # fmt: skip
    if WIDEST >= 7:
        if side == 7:
            sum_NGV = _forward_of_side(
                sum_NGV, x_N1V, w_NGV, row_N11, column_N11, side, dilation, height, width, x_step, w_step, there_1G1,
                7, RELU,
            )  # fmt: skip
    to_NGV = out + pixel_N11 * (out_pitch * VEC) + (out_start + before * units) * VEC + channel_NGV
    tl.store(to_NGV, sum_NGV.to(out.dtype.element_ty), mask=there_1G1 & inside_N11)


@triton.jit
def _input_of_side(
    sum_NGV, slope_NGV, w_NGV, image_N11, row_N11, column_N11, side, dilation, rows, columns, slope_step, w_step,
    there_1G1, SIDE: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    for i in range(side):
        r_N11 = row_N11 - (i - SIDE // 2) * dilation
        row_there_N11 = (r_N11 >= 0) & (r_N11 < rows * STRIDE)
        if STRIDE > 1:
            row_there_N11 = row_there_N11 & (r_N11 % STRIDE == 0)
            r_N11 = r_N11 // STRIDE
        start_N11 = (image_N11 * rows + r_N11) * columns
        for j in tl.static_range(SIDE):
            c_N11 = column_N11 - (j - SIDE // 2) * dilation
            here_N11 = row_there_N11 & (c_N11 >= 0) & (c_N11 < columns * STRIDE)
            if STRIDE > 1:
                here_N11 = here_N11 & (c_N11 % STRIDE == 0)
                c_N11 = c_N11 // STRIDE
            met_NGV = tl.load(slope_NGV + (start_N11 + c_N11) * slope_step, mask=there_1G1 & here_N11, other=0)
            kernel_NGV = tl.load(w_NGV + (i * SIDE + j) * w_step, mask=there_1G1, other=0)
            sum_NGV += met_NGV.to(tl.float32) * kernel_NGV.to(tl.float32)
    return sum_NGV


@triton.jit(do_not_specialize=[*NUMBERS, "vectors"])
def input_kernel(
    slope, w, x, out, code, count, units, height, width, rows, columns, in_pitch, out_pitch, out_start, vectors,
    STRIDE: tl.constexpr, VEC: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the input; axis 1 of the grid goes over kinds, unless they share the input."""
    v_N11 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None, None]
    inside_N11 = v_N11 < vectors
    pixel_N11 = v_N11 // units
    channel_N1V = (v_N11 - pixel_N11 * units) * VEC + tl.arange(0, VEC)[None, None, :]
    column_N11 = pixel_N11 % width
    line_N11 = pixel_N11 // width
    row_N11 = tl.where(inside_N11, line_N11 % height, -8 * height)
    image_N11 = line_N11 // height
    g_1G1 = tl.arange(0, GROUPS)[None, :, None]
    channel_NGV = g_1G1 * (units * VEC) + channel_N1V
    sum_NGV = tl.zeros([BLOCK, GROUPS, VEC], tl.float32)
    out_step = units * VEC
    if not SHARED:
        out_step = count * units * VEC
    before = 0
    taps_before = 0
    for place in range(count):
        side, dilation, groups = kind(code, place)
        if SHARED or place == tl.program_id(1):
            there_1G1 = g_1G1 < groups
            slope_NGV = slope + (out_start + before * units) * VEC + channel_NGV
            w_NGV = w + taps_before * units * VEC + channel_NGV
            w_step = groups * units * VEC
            if side == 3:
                sum_NGV = _input_of_side(
                    sum_NGV, slope_NGV, w_NGV, image_N11, row_N11, column_N11, side, dilation, rows, columns,
                    out_pitch * VEC, w_step, there_1G1, 3, STRIDE,
                )  # fmt: skip
            if WIDEST >= 5:
                if side == 5:
                    sum_NGV = _input_of_side(
                        sum_NGV, slope_NGV, w_NGV, image_N11, row_N11, column_N11, side, dilation, rows, columns,
                        out_pitch * VEC, w_step, there_1G1, 5, STRIDE,
                    )  # fmt: skip
            if WIDEST >= 7:
                if side == 7:
                    sum_NGV = _input_of_side(
                        sum_NGV, slope_NGV, w_NGV, image_N11, row_N11, column_N11, side, dilation, rows, columns,
                        out_pitch * VEC, w_step, there_1G1, 7, STRIDE,
                    )  # fmt: skip
        before += groups
        taps_before += groups * side * side
    sum_N1V = tl.sum(sum_NGV, axis=1, keep_dims=True)
    if not SHARED:
        channel_N1V += tl.program_id(1) * units * VEC
    if RELU:
        x_N1V = tl.load(x + pixel_N11 * (in_pitch * VEC) + channel_N1V, mask=inside_N11, other=0)
        sum_N1V = tl.where(x_N1V.to(tl.float32) <= 0, 0.0, sum_N1V)
    tl.store(out + pixel_N11 * out_step + channel_N1V, sum_N1V.to(out.dtype.element_ty), mask=inside_N11)

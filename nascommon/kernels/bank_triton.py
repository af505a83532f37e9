"""Banks of depthwise convolutions on a GPU of NVIDIA: their three passes in Triton, each one launch for all kinds.

Maps lie in channels-last layout. A program takes vectors of ``VEC`` neighbouring channels of a pixel, so that places
are worked out once for a vector; whatever a vector begins at is a multiple of ``VEC``, which the compiler is told by
counting in such vectors ("units"). Sides and dilations are told by ``code``, numbers that are known when a program
runs, so that one compiled kernel serves every space; sums are float32 and always in the same order.

A thread has all kernels of a channel and several images, ``part`` of the batch apart, for itself: Triton spreads the
last axes of a block over threads, so these two come first. What is read of a map then serves all kernels, and what is
read of a kernel all images, out of registers; with other orders maps go through shared memory at every tap.

Suffixes: ``I`` images of a thread, ``G`` kernels of a channel, ``N`` vectors of a program, ``V`` channels of one.
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
def _vectors(units, rows, columns, batch, part, VEC: tl.constexpr, IMAGES: tl.constexpr, BLOCK: tl.constexpr):
    """Return of the vectors of a program whether they are there, their images, rows, columns and channels."""
    v_11N1 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, None, :, None]
    pixel_11N1 = v_11N1 // units
    channel_11NV = (v_11N1 - pixel_11N1 * units) * VEC + tl.arange(0, VEC)[None, None, None, :]
    line_11N1 = pixel_11N1 // columns
    first_11N1 = line_11N1 // rows
    image_I1N1 = first_11N1 + tl.arange(0, IMAGES)[:, None, None, None] * part
    there_I1N1 = (first_11N1 < part) & (image_I1N1 < batch)
    return there_I1N1, image_I1N1, line_11N1 % rows, pixel_11N1 % columns, channel_11NV


@triton.jit
def _forward_of_side(
    sum_IGNV, x_I1NV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, height, width, x_step, w_step,
    there_1G11, SIDE: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    for i in range(side):  # not unrolled, which would take the compiler long
        r_11N1 = row_11N1 + (i - SIDE // 2) * dilation
        line_there_I1N1 = there_I1N1 & (r_11N1 >= 0) & (r_11N1 < height)
        for j in tl.static_range(SIDE):
            c_11N1 = column_11N1 + (j - SIDE // 2) * dilation
            here_I1N1 = line_there_I1N1 & (c_11N1 >= 0) & (c_11N1 < width)
            step = ((i - SIDE // 2) * width + (j - SIDE // 2)) * dilation * x_step
            seen_I1NV = tl.load(x_I1NV + step, mask=here_I1N1, other=0).to(tl.float32)
            if RELU:
                seen_I1NV = tl.maximum(seen_I1NV, 0.0, propagate_nan=tl.PropagateNan.ALL)
            kernel_1GNV = tl.load(w_1GNV + (i * SIDE + j) * w_step, mask=there_1G11, other=0)
            sum_IGNV += seen_I1NV * kernel_1GNV.to(tl.float32)
    return sum_IGNV


@triton.jit(do_not_specialize=[*NUMBERS, "batch", "part"])
def forward_kernel(
    x, w, out, code, units, height, width, rows, columns, in_pitch, out_pitch, out_start, batch, part,
    STRIDE: tl.constexpr, VEC: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, IMAGES: tl.constexpr, BLOCK: tl.constexpr,
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
    there_I1N1, image_I1N1, row_11N1, column_11N1, channel_11NV = _vectors(
        units, rows, columns, batch, part, VEC, IMAGES, BLOCK
    )
    to_I1NV = out + ((image_I1N1 * rows + row_11N1) * columns + column_11N1) * (out_pitch * VEC) + channel_11NV
    row_11N1 *= STRIDE
    column_11N1 *= STRIDE
    x_I1NV = x + ((image_I1N1 * height + row_11N1) * width + column_11N1) * (in_pitch * VEC) + channel_11NV
    if not SHARED:
        x_I1NV += before * units * VEC
    g_1G11 = tl.arange(0, GROUPS)[None, :, None, None]
    there_1G11 = g_1G11 < groups
    w_1GNV = w + taps_before * units * VEC + g_1G11 * (units * VEC) + channel_11NV
    w_step = groups * units * VEC
    x_step = in_pitch * VEC
    sum_IGNV = tl.zeros([IMAGES, GROUPS, BLOCK, VEC], tl.float32)
    if side == 3:
        sum_IGNV = _forward_of_side(
            sum_IGNV, x_I1NV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, height, width, x_step, w_step,
            there_1G11, 3, RELU,
        )  # fmt: skip
    if WIDEST >= 5:
        if side == 5:
            sum_IGNV = _forward_of_side(
                sum_IGNV, x_I1NV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, height, width, x_step,
                w_step, there_1G11, 5, RELU,
            )  # fmt: skip
    if WIDEST >= 7:
        if side == 7:
            sum_IGNV = _forward_of_side(
                sum_IGNV, x_I1NV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, height, width, x_step,
                w_step, there_1G11, 7, RELU,
            )  # fmt: skip
    to_IGNV = to_I1NV + (out_start + (before + g_1G11) * units) * VEC
    tl.store(to_IGNV, sum_IGNV.to(out.dtype.element_ty), mask=there_1G11 & there_I1N1)


@triton.jit
def _input_of_tap(
    sum_IGNV, slope_IGNV, w_1GNV, line_there_I1N1, column_11N1, left, columns, there_1G11, STRIDE: tl.constexpr
):
    c_11N1 = column_11N1 + left // STRIDE
    here_I1N1 = line_there_I1N1 & (c_11N1 >= 0) & (c_11N1 < columns)
    met_IGNV = tl.load(slope_IGNV, mask=there_1G11 & here_I1N1, other=0)
    kernel_1GNV = tl.load(w_1GNV, mask=there_1G11, other=0)
    return sum_IGNV + met_IGNV.to(tl.float32) * kernel_1GNV.to(tl.float32)


@triton.jit
def _input_of_side(
    sum_IGNV, slope_IGNV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, rows, columns, slope_step, w_step,
    there_1G11, SIDE: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """Add what comes by the taps that meet the pixels of this phase; all others are passed over."""
    for i in range(side):
        up = tl.program_id(2) // STRIDE - (i - SIDE // 2) * dilation
        r_11N1 = row_11N1 + up // STRIDE
        line_there_I1N1 = there_I1N1 & (r_11N1 >= 0) & (r_11N1 < rows)
        for j in tl.static_range(SIDE):
            left = tl.program_id(2) % STRIDE - (j - SIDE // 2) * dilation
            slope_at_IGNV = slope_IGNV + (up // STRIDE * columns + left // STRIDE) * slope_step
            w_at_1GNV = w_1GNV + (i * SIDE + j) * w_step
            if STRIDE == 1:
                sum_IGNV = _input_of_tap(
                    sum_IGNV, slope_at_IGNV, w_at_1GNV, line_there_I1N1, column_11N1, left, columns, there_1G11, 1
                )
            elif (up % STRIDE == 0) & (left % STRIDE == 0):
                sum_IGNV = _input_of_tap(
                    sum_IGNV, slope_at_IGNV, w_at_1GNV, line_there_I1N1, column_11N1, left, columns, there_1G11,
                    STRIDE,
                )  # fmt: skip
    return sum_IGNV


@triton.jit(do_not_specialize=[*NUMBERS, "batch", "part"])
def input_kernel(
    slope, w, x, out, code, count, units, height, width, rows, columns, in_pitch, out_pitch, out_start, batch, part,
    STRIDE: tl.constexpr, VEC: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, IMAGES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the input.

    Axis 1 of the grid goes over kinds, unless they share the input. Axis 2 goes over its phases, the places of a pixel
    in a square of STRIDE x STRIDE pixels, of which there are as many as pixels of the output: the same taps meet them.
    """
    there_I1N1, image_I1N1, row_11N1, column_11N1, channel_11NV = _vectors(
        units, rows, columns, batch, part, VEC, IMAGES, BLOCK
    )
    slope_I1NV = slope + ((image_I1N1 * rows + row_11N1) * columns + column_11N1) * (out_pitch * VEC) + channel_11NV
    g_1G11 = tl.arange(0, GROUPS)[None, :, None, None]
    sum_IGNV = tl.zeros([IMAGES, GROUPS, BLOCK, VEC], tl.float32)
    out_step = units * VEC
    if not SHARED:
        out_step = count * units * VEC
    before = 0
    taps_before = 0
    for place in range(count):
        side, dilation, groups = kind(code, place)
        if SHARED or place == tl.program_id(1):
            there_1G11 = g_1G11 < groups
            slope_IGNV = slope_I1NV + (out_start + (before + g_1G11) * units) * VEC
            w_1GNV = w + (taps_before + g_1G11) * (units * VEC) + channel_11NV
            w_step = groups * units * VEC
            if side == 3:
                sum_IGNV = _input_of_side(
                    sum_IGNV, slope_IGNV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, rows, columns,
                    out_pitch * VEC, w_step, there_1G11, 3, STRIDE,
                )  # fmt: skip
            if WIDEST >= 5:
                if side == 5:
                    sum_IGNV = _input_of_side(
                        sum_IGNV, slope_IGNV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, rows, columns,
                        out_pitch * VEC, w_step, there_1G11, 5, STRIDE,
                    )  # fmt: skip
            if WIDEST >= 7:
                if side == 7:
                    sum_IGNV = _input_of_side(
                        sum_IGNV, slope_IGNV, w_1GNV, there_I1N1, row_11N1, column_11N1, side, dilation, rows, columns,
                        out_pitch * VEC, w_step, there_1G11, 7, STRIDE,
                    )  # fmt: skip
        before += groups
        taps_before += groups * side * side
    sum_I1NV = tl.sum(sum_IGNV, axis=1, keep_dims=True)
    row_11N1 = row_11N1 * STRIDE + tl.program_id(2) // STRIDE
    column_11N1 = column_11N1 * STRIDE + tl.program_id(2) % STRIDE
    inside_I1N1 = there_I1N1 & (row_11N1 < height) & (column_11N1 < width)
    pixel_I1N1 = (image_I1N1 * height + row_11N1) * width + column_11N1
    if not SHARED:
        channel_11NV += tl.program_id(1) * units * VEC
    if RELU:
        x_I1NV = tl.load(x + pixel_I1N1 * (in_pitch * VEC) + channel_11NV, mask=inside_I1N1, other=0)
        sum_I1NV = tl.where(x_I1NV.to(tl.float32) <= 0, 0.0, sum_I1NV)
    tl.store(out + pixel_I1N1 * out_step + channel_11NV, sum_I1NV.to(out.dtype.element_ty), mask=inside_I1N1)

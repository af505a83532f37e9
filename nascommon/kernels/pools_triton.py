"""Max and average pools of 3 x 3 pixels on a GPU of NVIDIA: one launch in Triton for both, and one for their gradient.

A program takes vectors of ``VEC`` neighbouring channels of a pixel, as in ``bank_triton``. The place of the largest
number of a window is kept as one of nine, a byte, where PyTorch keeps eight; the gradient asks each of the windows of
a pixel for it, so that nothing is added by several programs.

Suffixes: ``N`` vectors of a program, ``V`` channels of one.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, PLR0124 -- Triton has no types, and no other question for NaN

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = ("units", "height", "width", "rows", "columns", "pitch", "max_start", "mean_start", "vectors")


@triton.jit(do_not_specialize=["in_pitch", *NUMBERS])
def forward_kernel(
    x, out, taps, in_pitch, units, height, width, rows, columns, pitch, max_start, mean_start, vectors,
    STRIDE: tl.constexpr, VEC: tl.constexpr, MAX: tl.constexpr, MEAN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the pools of a window beside each other, and where its largest number stands."""
    v_N1 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    inside_N1 = v_N1 < vectors
    pixel_N1 = v_N1 // units
    channel_NV = (v_N1 - pixel_N1 * units) * VEC + tl.arange(0, VEC)[None, :]
    column_N1 = pixel_N1 % columns * STRIDE
    line_N1 = pixel_N1 // columns
    row_N1 = line_N1 % rows * STRIDE
    x_NV = x + ((line_N1 // rows * height + row_N1) * width + column_N1) * (in_pitch * VEC) + channel_NV
    most_NV = tl.full([BLOCK, VEC], float("-inf"), tl.float32)
    tap_NV = tl.full([BLOCK, VEC], -1, tl.int32)
    total_NV = tl.zeros([BLOCK, VEC], tl.float32)
    count_N1 = tl.zeros([BLOCK, 1], tl.float32)
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            r_N1, c_N1 = row_N1 + i - 1, column_N1 + j - 1
            here_N1 = inside_N1 & (r_N1 >= 0) & (r_N1 < height) & (c_N1 >= 0) & (c_N1 < width)
            seen_NV = tl.load(x_NV + ((i - 1) * width + j - 1) * (in_pitch * VEC), mask=here_N1, other=0)
            seen_NV = seen_NV.to(tl.float32)
            if MAX:  # as PyTorch's: of equal numbers the first, NaN before all, of several the last
                better_NV = here_N1 & ((seen_NV > most_NV) | (seen_NV != seen_NV) | (tap_NV < 0))
                most_NV = tl.where(better_NV, seen_NV, most_NV)
                tap_NV = tl.where(better_NV, 3 * i + j, tap_NV)
            if MEAN:
                total_NV += seen_NV
                count_N1 += here_N1.to(tl.float32)
    to_NV = out + pixel_N1 * (pitch * VEC) + channel_NV
    if MAX:
        tl.store(to_NV + max_start * VEC, most_NV.to(out.dtype.element_ty), mask=inside_N1)
        tl.store(taps + pixel_N1 * (units * VEC) + channel_NV, tap_NV.to(tl.uint8), mask=inside_N1)
    if MEAN:
        mean_NV = total_NV / tl.maximum(count_N1, 1.0)
        tl.store(to_NV + mean_start * VEC, mean_NV.to(out.dtype.element_ty), mask=inside_N1)


@triton.jit(do_not_specialize=["to_pitch", *NUMBERS])
def gradient_kernel(
    slope, taps, out, to_pitch, units, height, width, rows, columns, pitch, max_start, mean_start, vectors,
    STRIDE: tl.constexpr, VEC: tl.constexpr, MAX: tl.constexpr, MEAN: tl.constexpr, ONTO: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the input of both pools, and add it to what is there if it goes ``ONTO`` that."""
    v_N1 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    inside_N1 = v_N1 < vectors
    pixel_N1 = v_N1 // units
    channel_NV = (v_N1 - pixel_N1 * units) * VEC + tl.arange(0, VEC)[None, :]
    column_N1 = pixel_N1 % width
    line_N1 = pixel_N1 // width
    row_N1 = line_N1 % height
    image_N1 = line_N1 // height
    sum_NV = tl.zeros([BLOCK, VEC], tl.float32)
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            # The window in which this pixel is the one at (i, j).
            r_N1, c_N1 = row_N1 + 1 - i, column_N1 + 1 - j
            here_N1 = inside_N1 & (r_N1 >= 0) & (r_N1 < rows * STRIDE) & (c_N1 >= 0) & (c_N1 < columns * STRIDE)
            if STRIDE > 1:
                here_N1 = here_N1 & (r_N1 % STRIDE == 0) & (c_N1 % STRIDE == 0)
            at_N1 = (image_N1 * rows + r_N1 // STRIDE) * columns + c_N1 // STRIDE
            slope_NV = slope + at_N1 * (pitch * VEC) + channel_NV
            if MAX:
                tap_NV = tl.load(taps + at_N1 * (units * VEC) + channel_NV, mask=here_N1, other=255)
                met_NV = tl.load(slope_NV + max_start * VEC, mask=here_N1, other=0).to(tl.float32)
                sum_NV += tl.where(tap_NV == 3 * i + j, met_NV, 0.0)
            if MEAN:
                lines_N1 = tl.minimum(r_N1 + 2, height) - tl.maximum(r_N1 - 1, 0)
                count_N1 = lines_N1 * (tl.minimum(c_N1 + 2, width) - tl.maximum(c_N1 - 1, 0))
                met_NV = tl.load(slope_NV + mean_start * VEC, mask=here_N1, other=0).to(tl.float32)
                sum_NV += met_NV / tl.where(here_N1, count_N1, 1).to(tl.float32)
    to_NV = out + pixel_N1 * (to_pitch * VEC) + channel_NV
    if ONTO:
        sum_NV += tl.load(to_NV, mask=inside_N1, other=0).to(tl.float32)
    tl.store(to_NV, sum_NV.to(out.dtype.element_ty), mask=inside_N1)

"""Batch norm of a map on a GPU of NVIDIA in Triton: two launches, and two for its gradient.

The pixels are cut into chunks. A program of the first launch sums over a chunk and writes what it finds for itself, so
that no two ever add to one number; every program of the second one puts together, for the channels that it has, what
all chunks have, in a fixed order, and then goes through its own chunk. Means are taken from what deviates from the mean
of a chunk's first pixels, and variances are put together by Chan's formula, so that a large mean costs no digits.
Batches that lie one after the other in a map, which axis 2 of the grid goes over, have statistics of their own.

Suffixes: ``R`` pixels of a tile, ``C`` channels of one, ``K`` chunks.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201 -- Triton has no types

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = ("pixels", "size", "units")


@triton.jit
def tile(units, pitch, pixels, size, VEC: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Return the channels of a program, which of them are there, and places of its first pixels, counted from them."""
    c_1C = (tl.program_id(1) * COLS + tl.arange(0, COLS))[None, :]
    r_R1 = tl.program_id(2) * pixels + tl.program_id(0) * size + tl.arange(0, ROWS)[:, None]
    return c_1C, c_1C < units * VEC, r_R1 * (pitch * VEC) + c_1C


@triton.jit
def own(partial, channels):
    """Return what chunks have of a program's batch, and where its channels begin among those of all batches."""
    return partial + tl.program_id(2) * (2 * tl.num_programs(0) * channels), tl.program_id(2) * channels


@triton.jit
def inside(start, pixels, size, ROWS: tl.constexpr):
    """Return which pixels of a tile that begins with the ``start``-th of a chunk belong to it."""
    last = tl.minimum(size, pixels - tl.program_id(0) * size)
    return start + tl.arange(0, ROWS)[:, None] < last


@triton.jit(do_not_specialize=[*NUMBERS, "pitch"])
def statistics_kernel(
    x, partial, pixels, size, units, pitch, VEC: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Write the means over a chunk, and the sums of squared deviations from them behind those of all chunks."""
    c_1C, has_1C, place_RC = tile(units, pitch, pixels, size, VEC, ROWS, COLS)
    partial, _ = own(partial, units * VEC)
    x_RC = x + place_RC
    count = tl.minimum(size, pixels - tl.program_id(0) * size)
    first_RC = tl.load(x_RC, mask=inside(0, pixels, size, ROWS) & has_1C, other=0).to(tl.float32)
    near_1C = tl.sum(first_RC, axis=0)[None, :] / tl.minimum(count, ROWS).to(tl.float32)
    sum_RC = tl.zeros([ROWS, COLS], tl.float32)
    squares_RC = tl.zeros([ROWS, COLS], tl.float32)
    for start in range(0, count, ROWS):
        here_RC = inside(start, pixels, size, ROWS) & has_1C
        away_RC = tl.where(here_RC, tl.load(x_RC, mask=here_RC, other=0).to(tl.float32) - near_1C, 0.0)
        sum_RC += away_RC
        squares_RC += away_RC * away_RC
        x_RC += ROWS * pitch * VEC
    sum_1C = tl.sum(sum_RC, axis=0)[None, :]
    away_1C = sum_1C / count.to(tl.float32)
    squares_1C = tl.sum(squares_RC, axis=0)[None, :] - sum_1C * away_1C
    squares_1C = tl.maximum(squares_1C, 0.0, propagate_nan=tl.PropagateNan.ALL)
    to_1C = partial + tl.program_id(0) * units * VEC + c_1C
    tl.store(to_1C, near_1C + away_1C, mask=has_1C)
    tl.store(to_1C + tl.num_programs(0) * units * VEC, squares_1C, mask=has_1C)


@triton.jit
def of_chunks(partial, c_1C, has_1C, channels, CHUNKS: tl.constexpr):
    """Return the two numbers that every chunk has for a channel; those of chunks that are not there are zero."""
    k_K1 = tl.arange(0, CHUNKS)[:, None]
    there_KC = (k_K1 < tl.num_programs(0)) & has_1C
    at_KC = partial + k_K1 * channels + c_1C
    first_KC = tl.load(at_KC, mask=there_KC, other=0)
    second_KC = tl.load(at_KC + tl.num_programs(0) * channels, mask=there_KC, other=0)
    return first_KC, second_KC


@triton.jit
def put_together(partial, c_1C, has_1C, pixels, size, channels, CHUNKS: tl.constexpr):
    """Return mean and biased variance of all pixels."""
    mean_KC, squares_KC = of_chunks(partial, c_1C, has_1C, channels, CHUNKS)
    count_K1 = tl.minimum(size, tl.maximum(pixels - tl.arange(0, CHUNKS)[:, None] * size, 0)).to(tl.float32)
    near_1C = tl.load(partial + c_1C, mask=has_1C, other=0)
    whole = pixels.to(tl.float32)
    mean_1C = near_1C + tl.sum(count_K1 * (mean_KC - near_1C), axis=0)[None, :] / whole
    away_KC = mean_KC - mean_1C
    squares_1C = tl.sum(squares_KC + count_K1 * away_KC * away_KC, axis=0)[None, :]
    return mean_1C, squares_1C / whole


@triton.jit
def move(running_1C, new_1C, momentum, has_1C):
    """Take statistics of a batch into running ones."""
    old_1C = tl.load(running_1C, mask=has_1C, other=0)
    tl.store(running_1C, old_1C + momentum * (new_1C - old_1C), mask=has_1C)


@triton.jit(do_not_specialize=[*NUMBERS, "eps", "momentum", "pitch", "out_pitch"])
def apply_kernel(
    x, scale, shift, partial, out, moments, mean, variance, eps, momentum, pixels, size, units, pitch, out_pitch,
    SCALED: tl.constexpr, SHIFTED: tl.constexpr, MOVED: tl.constexpr, CHUNKS: tl.constexpr, VEC: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Normalise a chunk; those with the first one write the moments, too: mean, unbiased variance, 1 / deviation.

    They also move the running mean and variance, if these are to be MOVED.
    """
    c_1C, has_1C, place_RC = tile(units, pitch, pixels, size, VEC, ROWS, COLS)
    _, _, to_RC = tile(units, out_pitch, pixels, size, VEC, ROWS, COLS)
    channels = units * VEC
    partial, first = own(partial, channels)
    mean_1C, variance_1C = put_together(partial, c_1C, has_1C, pixels, size, channels, CHUNKS)
    inverse_1C = 1 / tl.sqrt_rn(variance_1C + eps)
    if tl.program_id(0) == 0:
        unbiased_1C = variance_1C * (pixels.to(tl.float32) / (pixels - 1).to(tl.float32))
        every = tl.num_programs(2) * channels
        tl.store(moments + first + c_1C, mean_1C, mask=has_1C)
        tl.store(moments + every + first + c_1C, unbiased_1C, mask=has_1C)
        tl.store(moments + 2 * every + first + c_1C, inverse_1C, mask=has_1C)
        if MOVED:
            move(mean + first + c_1C, mean_1C, momentum, has_1C)
            move(variance + first + c_1C, unbiased_1C, momentum, has_1C)
    by_1C = inverse_1C
    if SCALED:
        by_1C *= tl.load(scale + first + c_1C, mask=has_1C, other=0).to(tl.float32)
    start_1C = tl.zeros([1, COLS], tl.float32)
    if SHIFTED:
        start_1C += tl.load(shift + first + c_1C, mask=has_1C, other=0).to(tl.float32)
    x_RC, out_RC = x + place_RC, out + to_RC
    for start in range(0, tl.minimum(size, pixels - tl.program_id(0) * size), ROWS):
        here_RC = inside(start, pixels, size, ROWS) & has_1C
        away_RC = tl.load(x_RC, mask=here_RC, other=0).to(tl.float32) - mean_1C
        tl.store(out_RC, (away_RC * by_1C + start_1C).to(out.dtype.element_ty), mask=here_RC)
        x_RC += ROWS * pitch * VEC
        out_RC += ROWS * out_pitch * VEC


@triton.jit(do_not_specialize=[*NUMBERS, "pitch", "x_pitch"])
def reduce_kernel(
    slope, x, moments, partial, pixels, size, units, pitch, x_pitch,
    VEC: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Write sums over a chunk: of the slope, and behind those of all chunks of slope times deviation from the mean."""
    c_1C, has_1C, place_RC = tile(units, pitch, pixels, size, VEC, ROWS, COLS)
    _, _, x_place_RC = tile(units, x_pitch, pixels, size, VEC, ROWS, COLS)
    partial, first = own(partial, units * VEC)
    mean_1C = tl.load(moments + first + c_1C, mask=has_1C, other=0)
    slope_RC, x_RC = slope + place_RC, x + x_place_RC
    sum_RC = tl.zeros([ROWS, COLS], tl.float32)
    product_RC = tl.zeros([ROWS, COLS], tl.float32)
    for start in range(0, tl.minimum(size, pixels - tl.program_id(0) * size), ROWS):
        here_RC = inside(start, pixels, size, ROWS) & has_1C
        # What is not there has a slope of zero, and a mean that is finite unless all is lost.
        own_RC = tl.load(slope_RC, mask=here_RC, other=0).to(tl.float32)
        away_RC = tl.load(x_RC, mask=here_RC, other=0).to(tl.float32) - mean_1C
        sum_RC += own_RC
        product_RC += own_RC * away_RC
        slope_RC += ROWS * pitch * VEC
        x_RC += ROWS * x_pitch * VEC
    to_1C = partial + tl.program_id(0) * units * VEC + c_1C
    tl.store(to_1C, tl.sum(sum_RC, axis=0)[None, :], mask=has_1C)
    tl.store(to_1C + tl.num_programs(0) * units * VEC, tl.sum(product_RC, axis=0)[None, :], mask=has_1C)


@triton.jit(do_not_specialize=[*NUMBERS, "pitch", "x_pitch", "out_pitch"])
def gradient_kernel(
    slope, x, scale, moments, partial, out, sums, pixels, size, units, pitch, x_pitch, out_pitch,
    SCALED: tl.constexpr, CHUNKS: tl.constexpr, VEC: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a chunk of the input; those with the first one write that of scale and shift, too.

    dx = s (dy - mean(dy) - xhat mean(dy xhat)), with s = scale / deviation and xhat = (x - mean) / deviation.
    """
    c_1C, has_1C, place_RC = tile(units, pitch, pixels, size, VEC, ROWS, COLS)
    _, _, x_place_RC = tile(units, x_pitch, pixels, size, VEC, ROWS, COLS)
    _, _, to_RC = tile(units, out_pitch, pixels, size, VEC, ROWS, COLS)
    channels = units * VEC
    every = tl.num_programs(2) * channels
    partial, first = own(partial, channels)
    sum_KC, product_KC = of_chunks(partial, c_1C, has_1C, channels, CHUNKS)
    mean_1C = tl.load(moments + first + c_1C, mask=has_1C, other=0)
    inverse_1C = tl.load(moments + 2 * every + first + c_1C, mask=has_1C, other=0)
    of_shift_1C = tl.sum(sum_KC, axis=0)[None, :]
    of_scale_1C = tl.sum(product_KC, axis=0)[None, :] * inverse_1C
    if tl.program_id(0) == 0:
        tl.store(sums + first + c_1C, of_scale_1C, mask=has_1C)
        tl.store(sums + every + first + c_1C, of_shift_1C, mask=has_1C)
    by_1C = inverse_1C
    if SCALED:
        by_1C *= tl.load(scale + first + c_1C, mask=has_1C, other=0).to(tl.float32)
    whole = pixels.to(tl.float32)
    share_1C, by_x_1C = of_shift_1C / whole, of_scale_1C * inverse_1C / whole
    slope_RC, x_RC, out_RC = slope + place_RC, x + x_place_RC, out + to_RC
    for start in range(0, tl.minimum(size, pixels - tl.program_id(0) * size), ROWS):
        here_RC = inside(start, pixels, size, ROWS) & has_1C
        own_RC = tl.load(slope_RC, mask=here_RC, other=0).to(tl.float32) - share_1C
        away_RC = tl.load(x_RC, mask=here_RC, other=0).to(tl.float32) - mean_1C
        tl.store(out_RC, (by_1C * (own_RC - away_RC * by_x_1C)).to(out.dtype.element_ty), mask=here_RC)
        slope_RC += ROWS * pitch * VEC
        x_RC += ROWS * x_pitch * VEC
        out_RC += ROWS * out_pitch * VEC

"""Banks of depthwise convolutions on a GPU of NVIDIA: forward pass and gradient of the input in Triton.

Maps lie in channels-last layout. A thread takes ``VEC`` neighbouring channels of ``TIMES`` pixels of a line, as far
apart as the taps of a kernel, so that a pixel that it has read serves several taps, a kernel several pixels, and a
pixel all ``GROUPS`` kernels of a channel that the thread has. All blocks have the two axes of a thread's vector, so
that Triton lays all of them out alike and nothing passes through shared memory; what a thread has several of is a
tuple. Whatever a vector begins at is a multiple of ``VEC``, which the compiler is told by counting in such vectors
("units"). Sides and dilations are told by ``code``, numbers that are known when a program runs, so that one compiled
kernel serves every space; sums are float32 and always in the same order. Batches that lie one after the other in a map
may have kernels of their own, which come one after the other, too.

Suffixes: ``N`` threads of a program, ``V`` channels of one.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, C901, D417, PLR0912, PLR2004, RUF005 -- Triton has no types, and unpacks nothing

from __future__ import annotations

import triton
import triton.language as tl

NUMBERS = (
    "code",
    "count",
    "taps",
    "units",
    "lines",
    "batch_lines",
    "height",
    "width",
    "rows",
    "columns",
    "in_pitch",
    "out_pitch",
    "out_start",
)


@triton.jit
def kind(code, place):
    """Return side, dilation and groups of a kind, as ``coded`` wrote them."""
    part = (code >> (7 * place)) & 127
    return 3 + 2 * (part & 3), 1 + ((part >> 2) & 3), 1 + (part >> 4)


@triton.jit
def own_part(code, count, part, GROUPS: tl.constexpr, BY_LINE: tl.constexpr):
    """Return which kind and which of its parts a program has: each is so many groups, of one line of taps or of all.

    Returns:
        Side, dilation and groups of the kind, groups and taps of those before it, and the number of its part.
    """
    side, dilation, groups = kind(code, 0)
    own, own_before, own_taps = part, 0, 0
    before, taps_before, parts_before = 0, 0, 0
    for place in range(count):
        its_side, its_dilation, its_groups = kind(code, place)
        its_parts = (its_groups + GROUPS - 1) // GROUPS
        if BY_LINE:
            its_parts *= its_side
        if (part >= parts_before) & (part < parts_before + its_parts):
            side, dilation, groups = its_side, its_dilation, its_groups
            own, own_before, own_taps = part - parts_before, before, taps_before
        before += its_groups
        taps_before += its_groups * its_side * its_side
        parts_before += its_parts
    return side, dilation, groups, own_before, own_taps, own


@triton.jit
def divided(number_N1, by):
    """Return the quotient of numbers that are not negative, which takes fewer instructions than of others."""
    return (number_N1.to(tl.uint32) // by.to(tl.uint32)).to(tl.int32)


@triton.jit
def column_of(span_N1, spans, apart, TIMES: tl.constexpr):
    """Return line and first column of spans, each TIMES pixels of a line that are so far ``apart``.

    So many ``spans`` stand in a line, those that begin at neighbouring pixels one after the other.
    """
    line_N1 = divided(span_N1, spans)
    at_N1 = span_N1 - line_N1 * spans
    return line_N1, at_N1 + divided(at_N1, apart) * (apart * (TIMES - 1))


@triton.jit
def spans_of(columns, apart, TIMES: tl.constexpr):
    """Return how many spans a line has."""
    return divided(columns + TIMES * apart - 1, TIMES * apart) * apart


@triton.jit
def pixels_read(map_NV, row_there_N1, column_N1, apart, width, step, COUNT: tl.constexpr, RELU: tl.constexpr):
    """Return so many pixels of a line as float32, zero where there is none."""
    seen = ()
    for k in tl.static_range(COUNT):
        here_N1 = row_there_N1 & ((column_N1 + k * apart).to(tl.uint32) < width.to(tl.uint32))
        seen_NV = tl.load(map_NV + k * apart * step, mask=here_N1, other=0).to(tl.float32)
        if RELU:
            seen_NV = tl.maximum(seen_NV, 0.0, propagate_nan=tl.PropagateNan.ALL)
        seen = seen + (seen_NV,)
    return seen


@triton.jit
def zeros(COUNT: tl.constexpr, BLOCK: tl.constexpr, VEC: tl.constexpr):
    """Return so many sums."""
    sums = ()
    for _ in tl.static_range(COUNT):
        sums = sums + (tl.zeros([BLOCK, VEC], tl.float32),)
    return sums


@triton.jit
def convolved(
    sums, map_NV, w_NV, there_N1, row_N1, column_N1, apart, height, width, step, lines, w_line, w_tap, w_group, groups,
    TAPS: tl.constexpr, STRIDE: tl.constexpr, RELU: tl.constexpr, TIMES: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """Add what a kernel's taps give to sums, of TIMES pixels for each of GROUPS kernels.

    Args:
        sums: those of the first kernel first.
        map_NV: the pixel under the first tap for the first sum, which is that at ``row_N1`` and ``column_N1``.
        w_NV: the first kernel at that tap; ``w_line``, ``w_tap`` and ``w_group`` lead on from there.
        there_N1: which threads have something to do.
        apart: pixels between taps, and between those of the sums.
        height: of the map.
        width: of the map.
        step: numbers from a pixel to the next.
        lines: of TAPS each.
        groups: that there are; what is found for others is worth nothing.
    """
    for i in range(lines):
        row_there_N1 = there_N1 & ((row_N1 + i * apart).to(tl.uint32) < height.to(tl.uint32))
        at_NV = map_NV + i * (apart * width * step)
        seen = pixels_read(at_NV, row_there_N1, column_N1, apart, width, step, STRIDE * (TIMES - 1) + TAPS, RELU)
        for j in tl.static_range(TAPS):
            new = ()
            for g in tl.static_range(GROUPS):
                w_at_NV = w_NV + (i * w_line + j * w_tap + tl.minimum(g, groups - 1) * w_group)
                kernel_NV = tl.load(w_at_NV).to(tl.float32)
                for t in tl.static_range(TIMES):
                    new = new + (sums[g * TIMES + t] + seen[STRIDE * t + j] * kernel_NV,)
            sums = new
    return sums


@triton.jit(do_not_specialize=NUMBERS)
def forward_kernel(
    x, w, out, code, count, taps, units, lines, batch_lines, height, width, rows, columns, in_pitch, out_pitch,
    out_start, STRIDE: tl.constexpr, VEC: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, BLOCK: tl.constexpr, TIMES: tl.constexpr,
):  # fmt: skip
    """Convolve; axis 0 of the grid goes over vectors of the output of a group, axis 1 over parts of kinds."""
    side, apart, groups, before, taps_before, part = own_part(code, count, tl.program_id(1), GROUPS, False)
    v_N1 = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[:, None]
    span_N1 = divided(v_N1, units)
    channel_NV = (v_N1 - span_N1 * units) * VEC + tl.arange(0, VEC)[None, :]
    line_N1, column_N1 = column_of(span_N1, spans_of(columns, apart, TIMES), apart, TIMES)
    there_N1 = line_N1 < lines
    pixel_N1 = line_N1 * columns + column_N1
    image_N1 = divided(line_N1, rows)
    first_N1 = (line_N1 - image_N1 * rows) * STRIDE - side // 2 * apart
    left_N1 = column_N1 * STRIDE - side // 2 * apart
    x_NV = x + ((image_N1 * height + first_N1) * width + left_N1) * (in_pitch * VEC) + channel_NV
    if not SHARED:
        x_NV += before * units * VEC
    own_taps_N1 = divided(line_N1, batch_lines) * taps + taps_before + part * GROUPS
    w_NV = w + own_taps_N1 * units * VEC + channel_NV
    w_step = groups * units * VEC
    sums = zeros(GROUPS * TIMES, BLOCK, VEC)
    own_groups = groups - part * GROUPS
    for SIDE in tl.static_range(3, WIDEST + 1, 2):
        if side == SIDE:
            sums = convolved(
                sums, x_NV, w_NV, there_N1, first_N1, left_N1, apart, height, width, in_pitch * VEC, side,
                SIDE * w_step, w_step, units * VEC, own_groups, SIDE, STRIDE, RELU, TIMES, GROUPS,
            )  # fmt: skip
    to_NV = out + pixel_N1 * (out_pitch * VEC) + (out_start + (before + part * GROUPS) * units) * VEC + channel_NV
    for t in tl.static_range(TIMES):
        here_N1 = there_N1 & (column_N1 + t * apart < columns)
        for g in tl.static_range(GROUPS):
            if g < own_groups:
                to_g_NV = to_NV + (t * apart * out_pitch + g * units) * VEC
                tl.store(to_g_NV, sums[g * TIMES + t].to(out.dtype.element_ty), mask=here_N1)


@triton.jit
def taps_met(phase, side, dilation, STRIDE: tl.constexpr):
    """Return which taps of a line, from the last one back, meet pixels at that place of a stride.

    Returns:
        The first of them, how many there are, and how many pixels of the output lie between the one that meets it and
        the one at the same place. If an odd number of pixels lies between taps, it is every other one; if not, those
        of the other places meet none.
    """
    first, taps, before = side - 1, side, -(side // 2 * dilation)
    if STRIDE == 2:
        passed = (side // 2 + phase) % 2 * (dilation % 2)
        first -= passed
        taps = side * (1 - phase)
        if dilation % 2 == 1:
            taps = (side - passed + 1) // 2
        before = (phase * (dilation % 2) + (passed - side // 2) * dilation) // 2
    return first, taps, before


@triton.jit
def met_by_kind(
    sums, slope, w_N1, there_N1, line_N1, row_N1, column_N1, channel_NV, part_N1, side, dilation, groups, apart, units,
    rows, columns, step, STRIDE: tl.constexpr, VEC: tl.constexpr, WIDEST: tl.constexpr, SPLIT: tl.constexpr,
    TIMES: tl.constexpr,
):  # fmt: skip
    """Add what comes by the taps of the kernels of a kind that meet the pixels of a phase, of every SPLITth one."""
    first_line, lines, up = taps_met(tl.program_id(2) // STRIDE, side, dilation, STRIDE)
    first_tap, taps, left = taps_met(tl.program_id(2) % STRIDE, side, dilation, STRIDE)
    w_tap = -groups * units * VEC
    w_NV = w_N1 - (first_line * side + first_tap) * w_tap + channel_NV
    if STRIDE == 2:
        w_tap *= 1 + dilation % 2
    slope_NV = slope + ((line_N1 + up) * columns + column_N1 + left) * step + channel_NV
    for first in range(0, groups, SPLIT):
        group_N1 = first + part_N1
        has_N1 = there_N1 & (group_N1 < groups)
        own_N1 = tl.minimum(group_N1, groups - 1) * units * VEC
        for TAPS in tl.static_range(3 if STRIDE == 1 else 1, WIDEST + 1, 3 - STRIDE):
            if taps == TAPS:
                sums = convolved(
                    sums, slope_NV + own_N1, w_NV + own_N1, has_N1, row_N1 + up, column_N1 + left, apart, rows, columns,
                    step, lines, side * w_tap, w_tap, 0, 1, TAPS, 1, False, TIMES, 1,
                )  # fmt: skip
    return sums


@triton.jit
def summed(sum_NV, SPLIT: tl.constexpr, BLOCK: tl.constexpr, VEC: tl.constexpr):
    """Return for every thread the sum over those SPLIT threads of a program that have the same pixels."""
    if SPLIT == 1:
        return sum_NV
    of_all_MV = tl.sum(tl.reshape(sum_NV, (SPLIT, BLOCK // SPLIT, VEC)), axis=0)
    return tl.reshape(tl.broadcast_to(of_all_MV[None, :, :], (SPLIT, BLOCK // SPLIT, VEC)), (BLOCK, VEC))


@triton.jit(do_not_specialize=[*NUMBERS, "to_pitch", "dilation"])
def input_kernel(
    slope, w, x, out, code, count, taps, units, lines, batch_lines, height, width, rows, columns, in_pitch, out_pitch,
    out_start, to_pitch, dilation, STRIDE: tl.constexpr, VEC: tl.constexpr, RELU: tl.constexpr, SHARED: tl.constexpr,
    WIDEST: tl.constexpr, ONTO: tl.constexpr, SPLIT: tl.constexpr, BLOCK: tl.constexpr, TIMES: tl.constexpr,
):  # fmt: skip
    """Gather the gradient of the input, or add it to what is there if it goes ``ONTO`` that.

    Axis 1 of the grid goes over kinds, unless they share the input: then those of one ``dilation`` are taken. Axis 2
    goes over phases, the places of a pixel in a square of STRIDE x STRIDE pixels, of which there are as many as pixels
    of the output: the same taps meet them. SPLIT threads share the kernels of a channel.
    """
    if not SHARED:
        _, dilation, _ = kind(code, tl.program_id(1))
    apart = dilation
    if STRIDE == 2:
        apart = dilation // (2 - dilation % 2)
    n_N1 = tl.arange(0, BLOCK)[:, None]
    v_N1 = tl.program_id(0) * (BLOCK // SPLIT) + n_N1 % (BLOCK // SPLIT)
    span_N1 = divided(v_N1, units)
    channel_NV = (v_N1 - span_N1 * units) * VEC + tl.arange(0, VEC)[None, :]
    line_N1, column_N1 = column_of(span_N1, spans_of(columns, apart, TIMES), apart, TIMES)
    there_N1 = line_N1 < lines
    image_N1 = divided(line_N1, rows)
    row_N1 = line_N1 - image_N1 * rows
    sums = zeros(TIMES, BLOCK, VEC)
    w_N1 = w + divided(line_N1, batch_lines) * (taps * units * VEC)
    before, taps_before = 0, 0
    for place in range(count):
        side, its_dilation, groups = kind(code, place)
        its_own = place == tl.program_id(1)
        if SHARED:
            its_own = its_dilation == dilation
        if its_own:
            sums = met_by_kind(
                sums, slope + (out_start + before) * VEC, w_N1 + taps_before * units * VEC, there_N1, line_N1, row_N1,
                column_N1, channel_NV, n_N1 // (BLOCK // SPLIT), side, dilation, groups, apart, units, rows, columns,
                out_pitch * VEC, STRIDE, VEC, WIDEST, SPLIT, TIMES,
            )  # fmt: skip
        before += groups * units
        taps_before += groups * side * side
    row_N1 = row_N1 * STRIDE + tl.program_id(2) // STRIDE
    there_N1 = there_N1 & (row_N1 < height) & (n_N1 < BLOCK // SPLIT)
    if not SHARED:
        channel_NV += tl.program_id(1) * units * VEC
    for t in tl.static_range(TIMES):
        at_N1 = (column_N1 + t * apart) * STRIDE + tl.program_id(2) % STRIDE
        here_N1 = there_N1 & (at_N1 < width)
        pixel_N1 = (image_N1 * height + row_N1) * width + at_N1
        sum_NV = summed(sums[t], SPLIT, BLOCK, VEC)
        if RELU:
            x_NV = tl.load(x + pixel_N1 * (in_pitch * VEC) + channel_NV, mask=here_N1, other=0).to(tl.float32)
            sum_NV = tl.where(x_NV <= 0, 0.0, sum_NV)
        to_NV = out + pixel_N1 * (to_pitch * VEC) + channel_NV
        if ONTO:
            sum_NV += tl.load(to_NV, mask=here_N1, other=0).to(tl.float32)
        tl.store(to_NV, sum_NV.to(out.dtype.element_ty), mask=here_N1)

"""The kernels behind `block.gpu_kernels`, in Triton: what engine/c/training.c computes, for GPUs.

A program takes tiles [ROWS, COLUMNS] one after the other, each with all its time steps: pixels of one step, or windows
of a pool, by channels. The corners of a window come one after the other too. Sums over rows end up as one number a
program, which torch adds up in a fixed order: nothing is atomic, so nothing depends on who comes first.

Names in capitals are constants of compilation. Imports Triton; only `block.gpu_kernels` imports this module.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl

# What forward makes of the spikes of a window; without a pool a window is one pixel, with one corner.
SPIKES, MAXIMUM, SUM, FIRST = (tl.constexpr(number) for number in range(4))
"""FIRST: the number of the first corner that fires, for backward."""
NONE = tl.constexpr(255)
"""No corner fires."""


@triton.jit
def _columns(channels, COLUMNS: tl.constexpr):
    """The channels of this program, and which of them there are."""
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return columns, columns < channels


@triton.jit
def _load(base, at, here):
    return tl.load(base + at, mask=here, other=0.0).to(tl.float32)


# ---- where a tile lies within one step ----


@triton.jit
def _corner(window, corner, columns, here, height, width, channels, POOL: tl.constexpr):
    """Numbers of one corner of each window, and which of them are on the map."""
    if POOL:
        across, down = (width + 1) // 2, (height + 1) // 2
        x = 2 * (window % across) + corner % 2
        y = 2 * (window // across % down) + corner // 2
        window = (window // across // down * height + y) * width + x
        here = here & (x < width) & (y < height)
    return window * channels + columns, here


@triton.jit
def _pooled(window, columns, here, height, width, channels, POOL: tl.constexpr):
    """The same behind the pool, where only whole windows have a place."""
    if POOL:
        across, down = (width + 1) // 2, (height + 1) // 2
        x, y = window % across, window // across % down
        window = (window // across // down * (height // 2) + y) * (width // 2) + x
        here = here & (x < width // 2) & (y < height // 2)
    return window * channels + columns, here


# ---- neurons ----


@triton.jit
def _parameter(parameters, number: tl.constexpr, columns, inside, channels):
    """Row `number` of `block.kernels.PARAMETERS` as [1, COLUMNS]; 1 beyond the channels, since some are divisors."""
    return tl.load(parameters + number * channels + columns, mask=inside, other=1.0)[None, :]


@triton.jit
def _after_reset(total, edge, SOFT: tl.constexpr):
    return tl.where(total >= edge, total - edge if SOFT else 0.0, total)


@triton.jit
def _stored(total, edge, SOFT: tl.constexpr, LEVELS: tl.constexpr, OFFSET: tl.constexpr):
    """u of a step from its h; no LEVELS, no grid."""
    after = _after_reset(total, edge, SOFT)
    if LEVELS > 0:
        after = tl.floor(tl.minimum(tl.maximum(after + OFFSET, -LEVELS), LEVELS))
    return after


@triton.jit
def _sum_up(sums, extra, x_at, e_at, here, gain, shift, extra_gain, leak, stored, EXTRA: tl.constexpr):
    """h of a step from u of the one before."""
    total = _load(sums, x_at, here) * gain + shift + leak * stored
    if EXTRA:
        total += _load(extra, e_at, here) * extra_gain
    return total


# ---- forward ----


@triton.jit
def forward(
    sums, extra, parameters, spikes, counts,
    steps, windows, height, width, channels, whole_step, pooled_step, leak, threshold,
    FIXED: tl.constexpr, EXTRA: tl.constexpr, SOFT: tl.constexpr, LEVELS: tl.constexpr, OFFSET: tl.constexpr,
    MAKE: tl.constexpr, CORNERS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Spikes, or what MAKE makes of a window's; counts [programs, blocks of columns]: how many before the pool."""
    columns, inside = _columns(channels, COLUMNS)
    gain = _parameter(parameters, 0, columns, inside, channels)
    shift = _parameter(parameters, 1, columns, inside, channels)
    extra_gain = _parameter(parameters, 2, columns, inside, channels)
    edge = tl.div_rn(threshold, _parameter(parameters, 3, columns, inside, channels))
    columns, inside = columns[None, :], inside[None, :]
    number = tl.zeros([ROWS, COLUMNS], tl.int32)
    for first in range(tl.program_id(0) * ROWS, windows, tl.num_programs(0) * ROWS):
        window = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        within = (window < windows) & inside
        for corner in range(0, CORNERS):
            e_at, here = _corner(window, corner, columns, within, height, width, channels, CORNERS > 1)
            to, pooled = _pooled(window, columns, within, height, width, channels, CORNERS > 1)
            x_at = e_at
            stored = tl.zeros([ROWS, COLUMNS], tl.float32)
            for _ in range(0, steps):
                total = _sum_up(sums, extra, x_at, e_at, here, gain, shift, extra_gain, leak, stored, EXTRA)
                stored = _stored(total, edge, SOFT, LEVELS, OFFSET)
                fires = here & (total >= edge)
                number += fires.to(tl.int32)
                if MAKE == FIRST:
                    # Windows' results grow in memory, corner by corner, in the same threads.
                    before = tl.load(spikes + to, mask=pooled & (corner > 0), other=NONE).to(tl.int32)
                    made = tl.where(fires & (before == NONE), corner, before)
                else:
                    made = fires.to(tl.float32)
                    if MAKE == MAXIMUM:
                        made = tl.maximum(made, _load(spikes, to, pooled & (corner > 0)))
                    if MAKE == SUM:
                        made += _load(spikes, to, pooled & (corner > 0))
                tl.store(spikes + to, made.to(spikes.dtype.element_ty), mask=pooled)
                to += pooled_step
                e_at += whole_step
                if not FIXED:
                    x_at += whole_step
    counted = tl.sum(tl.sum(number, 1), 0)
    tl.store(counts + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), counted)


# ---- backward ----


@triton.jit
def _potential(
    sums, extra, at, whole_step, step, here, gain, shift, extra_gain, leak, edge,
    FIXED: tl.constexpr, EXTRA: tl.constexpr, SOFT: tl.constexpr, LEVELS: tl.constexpr, OFFSET: tl.constexpr,
):  # fmt: skip
    """h of a step, from a membrane at rest.

    Beginning anew for every step is quick for the few there are: what it reads lies in the first cache by then.
    """
    stored = tl.zeros(at.shape, tl.float32)
    total = stored
    x_at, e_at = at, at
    for _ in range(0, step + 1):
        total = _sum_up(sums, extra, x_at, e_at, here, gain, shift, extra_gain, leak, stored, EXTRA)
        stored = _stored(total, edge, SOFT, LEVELS, OFFSET)
        e_at += whole_step
        if not FIXED:
            x_at += whole_step
    return total


@triton.jit
def _step_back(total, of_spike, of_stored, edge, step, threshold, SOFT: tl.constexpr, LEVELS: tl.constexpr):
    """From d loss / d s[t] and d loss / d u[t] to d loss / d h[t], which is d loss / d i[t]; the spike's a triangle."""
    slope = tl.maximum(1.0 - tl.abs(total - edge) * step, 0.0)
    if LEVELS > 0:
        of_stored = tl.where(tl.abs(_after_reset(total, edge, SOFT)) <= LEVELS, of_stored, 0.0)
    of_reset = threshold if SOFT else total * step
    through = of_stored if SOFT else tl.where(total >= edge, 0.0, of_stored)
    return slope * (of_spike - of_stored * of_reset) + through


@triton.jit
def backward(
    sums, extra, parameters, gradient, per_spike, first_corners, flow, partial,
    steps, windows, height, width, channels, whole_step, pooled_step, last, last_pooled, leak, threshold,
    FIXED: tl.constexpr, EXTRA: tl.constexpr, SOFT: tl.constexpr, LEVELS: tl.constexpr, OFFSET: tl.constexpr,
    MAKE: tl.constexpr, CORNERS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Flow; partial [programs, 3, channels]: sums of flow, flow (x - mean), flow (e - extra_mean).

    last, last_pooled: where the last step begins. first_corners: of a maximum, what forward makes as FIRST.
    """
    columns, inside = _columns(channels, COLUMNS)
    into = partial + tl.program_id(0) * 3 * channels + columns
    gain = _parameter(parameters, 0, columns, inside, channels)
    shift = _parameter(parameters, 1, columns, inside, channels)
    extra_gain = _parameter(parameters, 2, columns, inside, channels)
    step = _parameter(parameters, 3, columns, inside, channels)
    mean = _parameter(parameters, 4, columns, inside, channels)
    extra_mean = _parameter(parameters, 5, columns, inside, channels)
    edge = tl.div_rn(threshold, step)
    of_count = tl.load(per_spike)
    of_flow = tl.zeros([ROWS, COLUMNS], tl.float32)
    of_sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    of_extra = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(tl.program_id(0) * ROWS, windows, tl.num_programs(0) * ROWS):
        window = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        within = (window < windows) & inside[None, :]
        for corner in range(0, CORNERS):
            begin, here = _corner(window, corner, columns[None, :], within, height, width, channels, CORNERS > 1)
            to, pooled = _pooled(window, columns[None, :], within, height, width, channels, CORNERS > 1)
            at = begin + last
            to += last_pooled
            of_stored = tl.zeros([ROWS, COLUMNS], tl.float32)
            of_all = tl.zeros([ROWS, COLUMNS], tl.float32)
            for back in range(0, steps):
                total = _potential(
                    sums, extra, begin, whole_step, steps - 1 - back, here, gain, shift, extra_gain, leak, edge,
                    FIXED, EXTRA, SOFT, LEVELS, OFFSET,
                )  # fmt: skip
                of_spike = _load(gradient, to, pooled)
                if MAKE == MAXIMUM:
                    # All goes to the first spike, or to the first corner where there is none, as with maxima elsewhere.
                    chosen = tl.load(first_corners + to, mask=pooled, other=0).to(tl.int32)
                    of_spike = tl.where(tl.where(chosen == NONE, 0, chosen) == corner, of_spike, 0.0)
                now = _step_back(total, of_spike + of_count, of_stored, edge, step, threshold, SOFT, LEVELS)
                now = tl.where(here, now, 0.0)
                of_stored = leak * now
                if EXTRA:
                    of_extra += now * (_load(extra, at, here) - extra_mean)
                if FIXED:
                    of_all += now
                else:
                    tl.store(flow + at, now, mask=here)
                    of_flow += now
                    of_sums += now * (_load(sums, at, here) - mean)
                at -= whole_step
                to -= pooled_step
            if FIXED:
                tl.store(flow + begin, of_all, mask=here)
                of_flow += of_all
                of_sums += of_all * (_load(sums, begin, here) - mean)
    tl.store(into, tl.sum(of_flow, 0), mask=inside)
    tl.store(into + channels, tl.sum(of_sums, 0), mask=inside)
    tl.store(into + 2 * channels, tl.sum(of_extra, 0), mask=inside)


# ---- by columns: statistics, and the flow through them ----


@triton.jit
def moments(sums, partial, rows, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """partial [programs, 3, channels]: how many rows a program has seen, their mean, their squared deviations."""
    columns, inside = _columns(channels, COLUMNS)
    count = tl.zeros([COLUMNS], tl.float32)
    mean = tl.zeros([COLUMNS], tl.float32)
    squares = tl.zeros([COLUMNS], tl.float32)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        here = (row < rows) & inside[None, :]
        value = _load(sums, row * channels + columns[None, :], here)
        fresh = tl.sum((row < rows).to(tl.float32), 0)
        middle = tl.sum(value, 0) / fresh
        apart = tl.where(here, value - middle[None, :], 0.0)
        between = middle - mean
        # Two sets of numbers become one (Chan, Golub, LeVeque).
        both = count + fresh
        mean += between * fresh / both
        squares += tl.sum(apart * apart, 0) + between * between * count * fresh / both
        count = both
    into = partial + tl.program_id(0) * 3 * channels + columns
    tl.store(into, count, mask=inside)
    tl.store(into + channels, mean, mask=inside)
    tl.store(into + 2 * channels, squares, mask=inside)


@triton.jit
def affine(flow, value, coefficients, into, rows, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """into = a flow + (b value + c), coefficients [3, channels]: the flow through a batch norm."""
    columns, inside = _columns(channels, COLUMNS)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    here = (row < rows) & inside[None, :]
    at = row * channels + columns[None, :]
    a = tl.load(coefficients + columns, mask=inside)[None, :]
    b = tl.load(coefficients + channels + columns, mask=inside)[None, :]
    c = tl.load(coefficients + 2 * channels + columns, mask=inside)[None, :]
    tl.store(into + at, a * _load(flow, at, here) + (b * _load(value, at, here) + c), mask=here)


# ---- spikes as bits: bit i of all bytes is number i ----


@triton.jit
def pack(value, bits, count, BYTES: tl.constexpr):
    """Bits of numbers that are 0 or 1."""
    byte = tl.program_id(0).to(tl.int64) * BYTES + tl.arange(0, BYTES)
    bit = tl.arange(0, 8)[None, :]
    at = byte[:, None] * 8 + bit
    number = _load(value, at, at < count).to(tl.int32)
    tl.store(bits + byte, tl.sum(number << bit, 1).to(tl.uint8), mask=byte * 8 < count)


@triton.jit
def unpack(bits, into, count, BYTES: tl.constexpr):
    """Numbers of bits."""
    byte = tl.program_id(0).to(tl.int64) * BYTES + tl.arange(0, BYTES)
    bit = tl.arange(0, 8)[None, :]
    at = byte[:, None] * 8 + bit
    eight = tl.load(bits + byte, mask=byte * 8 < count, other=0).to(tl.int32)[:, None]
    tl.store(into + at, (eight >> bit & 1).to(tl.float32), mask=at < count)

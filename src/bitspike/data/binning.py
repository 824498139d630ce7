"""From events to frames of counts: `[T, 2, H, W]`, uint8, integers throughout.

Channel 0 counts off events (polarity 0), channel 1 on events (polarity 1). With / meaning floor division:

    time bin   by "time":   b = (t - start) * T / (stop - start)   start <= t < stop; default window: first
                                                                   event to last event plus one microsecond
               by "count":  b = i * T / N                          i: position of the event in order of time
                                                                   (equal times keep their order), N: number
                                                                   of events
    row, column             y * H_out / H,   x * W_out / W         summing what falls together;
                                                                   H_out <= H, W_out <= W
    count                   min(events in the cell, bound)

Nothing else is lost: the counts sum to the events given, less those outside the window, less those clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.events import EVENT

DEFAULT_BOUND = 15


@dataclass(frozen=True)
class Binning:
    """How recordings become frames.

    time_steps: T, the number of frames.
    bound:      counts are clipped to it; 1 to 255.
    size:       (H, W) of the frames, at most the sensor's; None: the sensor's own.
    by:         "time" for bins of equal duration, "count" for bins of equal numbers of events.
    """

    time_steps: int
    bound: int = DEFAULT_BOUND
    size: tuple[int, int] | None = None
    by: str = "time"

    def __post_init__(self) -> None:
        if not _whole(self.time_steps) or not 1 <= self.time_steps <= 10_000:
            raise ValueError(f"time_steps is {self.time_steps!r}, but must be a whole number from 1 to 10000")
        if not _whole(self.bound) or not 1 <= self.bound <= 255:
            raise ValueError(f"bound is {self.bound!r}, but must be a whole number from 1 to 255")
        if self.by not in ("time", "count"):
            raise ValueError(f"by is {self.by!r}, but must be 'time' or 'count'")
        if self.size is not None and (len(self.size) != 2 or not all(_whole(s) and s > 0 for s in self.size)):
            raise ValueError(f"size is {self.size!r}, but must be (height, width), both above 0")


@dataclass(frozen=True, eq=False)
class BinnedEvents:
    """Frames uint8 `[T, 2, H, W]`, and how many events went in, were clipped, lay outside."""

    frames: NDArray[np.uint8]
    counted: int
    clipped: int
    outside: int = 0


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def bin_events(
    events: NDArray[Any],
    sensor: tuple[int, int],
    binning: Binning,
    *,
    window: tuple[int, int] | None = None,
    where: str = "events",
) -> BinnedEvents:
    """Return the frames of one recording (an `EVENT` array) from a sensor of (height, width).

    window: (start, stop) in microseconds; events outside, stop included, are left out.
    """
    height, width = output_size(sensor, binning.size, where)
    if events.dtype != EVENT:
        raise TypeError(f"{where}: events have dtype {events.dtype}; make them with make_events(x, y, t, p)")
    if events.size and (int(events["x"].max()) >= sensor[1] or int(events["y"].max()) >= sensor[0]):
        raise ValueError(
            f"{where}: an event lies at x={int(events['x'].max())}, y={int(events['y'].max())} at most, "
            f"outside the sensor of {sensor[1]} x {sensor[0]} (width x height); give the right sensor size"
        )
    given = len(events)
    if window is not None:
        if window[0] >= window[1]:
            raise ValueError(f"{where}: the window {window} is empty; its start must lie before its stop")
        events = events[(events["t"] >= window[0]) & (events["t"] < window[1])]
    bins = _time_bins(events, binning, window)
    rows = events["y"].astype(np.int64) * height // sensor[0]
    columns = events["x"].astype(np.int64) * width // sensor[1]
    cell = ((bins * 2 + events["p"]) * height + rows) * width + columns
    counts = np.bincount(cell, minlength=binning.time_steps * 2 * height * width)
    frames, clipped = clip_counts(counts.reshape(binning.time_steps, 2, height, width), binning.bound)
    return BinnedEvents(frames, len(events) - clipped, clipped, given - len(events))


def _time_bins(events: NDArray[Any], binning: Binning, window: tuple[int, int] | None) -> NDArray[np.int64]:
    """Return the frame number of each event."""
    if len(events) == 0:
        return np.zeros(0, dtype=np.int64)
    times = events["t"]
    if binning.by == "count":
        position = np.empty(len(events), dtype=np.int64)
        position[np.argsort(times, kind="stable")] = np.arange(len(events))
        return position * binning.time_steps // len(events)
    start, stop = window if window is not None else (int(times.min()), int(times.max()) + 1)
    if stop - start > 1 << 48:
        raise ValueError(f"events span {stop - start} microseconds, which is no recording; check the time column")
    bins: NDArray[np.int64] = (times - start) * binning.time_steps // (stop - start)
    return bins


def output_size(sensor: tuple[int, int], size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """Return (H, W) of the frames; making a sensor larger is refused, it would only add empty pixels."""
    if size is None:
        return sensor
    if size[0] > sensor[0] or size[1] > sensor[1]:
        raise ValueError(f"{where}: size {size} is larger than the sensor {sensor}; summing only makes it smaller")
    return size


def clip_counts(counts: NDArray[Any], bound: int) -> tuple[NDArray[np.uint8], int]:
    """Return counts clipped to `bound` as uint8, and how many were lost."""
    clipped = np.minimum(counts, bound)
    return clipped.astype(np.uint8), int(counts.sum(dtype=np.int64) - clipped.sum(dtype=np.int64))


def rebin_frames(frames: NDArray[Any], binning: Binning, *, where: str = "frames") -> BinnedEvents:
    """Return `T` frames out of `F` frames of counts `[F, C, H, W]`, F >= T, by summing.

    Frame f goes to frame f * T / F (floor), row and column as for events; then counts are clipped. With T a
    divisor of F every new frame sums F / T old ones; otherwise some sum one more than others.
    """
    if frames.ndim != 4 or frames.dtype.kind not in "iub":
        raise ValueError(f"{where}: frames are {frames.dtype} {list(frames.shape)}, but must be integers [F, 2, H, W]")
    count, channels, *sensor = frames.shape
    if binning.time_steps > count:
        raise ValueError(f"{where}: {count} frames cannot be summed into {binning.time_steps}; use fewer time steps")
    if binning.by != "time":
        raise ValueError(f"{where}: by={binning.by!r} needs single events, but these are frames; use by='time'")
    if frames.size and int(frames.min()) < 0:
        raise ValueError(f"{where}: frames hold negative counts ({int(frames.min())})")
    height, width = output_size((sensor[0], sensor[1]), binning.size, where)
    summed = frames.astype(np.int64)
    for axis, new in ((0, binning.time_steps), (2, height), (3, width)):
        old = summed.shape[axis]
        if new != old:
            # Entries of one target are neighbours, and each target has some: sum runs between first entries.
            first = np.searchsorted(np.arange(old) * new // old, np.arange(new))
            summed = np.add.reduceat(summed, first, axis=axis)
    result, clipped = clip_counts(summed.reshape(binning.time_steps, channels, height, width), binning.bound)
    return BinnedEvents(result, int(result.sum(dtype=np.int64)), clipped)

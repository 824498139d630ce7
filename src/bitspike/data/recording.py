"""One recording, whatever its format: read by file extension and binned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.aedat import decode_aedat
from bitspike.data.binning import BinnedEvents, Binning, bin_events, output_size, rebin_frames
from bitspike.data.dataset import Dataset
from bitspike.data.events import EVENT, decode_nmnist, read_npy

EXTENSIONS = (".aedat", ".bin", ".bs2", ".npy")


def read_recording(path: Path, *, columns: str = "xytp") -> NDArray[Any]:
    """Return the events of one file (an `EVENT` array), or the frames `[F, 2, H, W]` of a `.npy`.

    `.bin`, `.bs2`: N-MNIST's 5-byte events; `.aedat`: AEDAT 2.0 or 3.1; `.npy`: see `events.read_npy`.
    """
    extension = path.suffix.lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f"{path}: recordings of type {extension!r} are not supported; allowed: {', '.join(EXTENSIONS)}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such recording")
    if extension == ".npy":
        return read_npy(path, columns)
    data = path.read_bytes()
    return decode_aedat(data, str(path)) if extension == ".aedat" else decode_nmnist(data, str(path))


def bin_recording(recording: NDArray[Any], sensor: tuple[int, int], binning: Binning, *, where: str) -> BinnedEvents:
    """Return the frames of events or of a frame array; frames must have the sensor's size."""
    if recording.dtype == EVENT:
        return bin_events(recording, sensor, binning, where=where)
    if recording.shape[2:] != sensor:
        raise ValueError(f"{where}: frames of {list(recording.shape[2:])}, but the sensor is {list(sensor)}")
    return rebin_frames(recording, binning, where=where)


def natural_order(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders `a2` before `a10`."""
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


class FrameStack:
    """Collects the frames of many recordings into one `Dataset`, its memory allocated once."""

    def __init__(self, count: int, sensor: tuple[int, int], binning: Binning, where: str) -> None:
        height, width = output_size(sensor, binning.size, where)
        self.inputs = np.zeros((count, binning.time_steps, 2, height, width), dtype=np.uint8)
        self.labels = np.zeros(count, dtype=np.int64)
        self.bound = binning.bound
        self.filled = self.clipped = 0

    def add(self, binned: BinnedEvents, label: int) -> None:
        """Put the frames of the next recording and its label."""
        self.inputs[self.filled] = binned.frames
        self.labels[self.filled] = label
        self.clipped += binned.clipped
        self.filled += 1

    def dataset(self, name: str, split: str, class_names: Sequence[str]) -> Dataset:
        """Return what was collected."""
        inputs, labels = self.inputs[: self.filled], self.labels[: self.filled]
        names = tuple(class_names)
        return Dataset(name, split, inputs, labels, len(names), names, bound=self.bound, clipped=self.clipped)

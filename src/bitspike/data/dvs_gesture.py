"""DVS-Gesture from its original folder: AEDAT 3.1 recordings of many gestures each, cut by their label files.

`trials_to_train.txt` and `trials_to_test.txt` name the recordings; `X.aedat` goes with `X_labels.csv`, whose
lines after the first are class (1..11), start and end in microseconds. A gesture is the events with start <=
t < end, binned over exactly that window. Published counts: 1,176 train and 288 test gestures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bitspike.data.aedat import decode_aedat
from bitspike.data.binning import Binning, bin_events
from bitspike.data.dataset import Dataset, check_split
from bitspike.data.recording import FrameStack

SENSOR = (128, 128)
CLASS_NAMES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm "
    "counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other"
)  # fmt: skip


def load_dvs_gesture(folder: Path, split: str, binning: Binning) -> Dataset:
    """Return a split of DVS-Gesture as counts `[N, T, 2, H, W]`; `folder` is the unpacked archive or its parent."""
    check_split(split)
    inner = folder / "DvsGesture"
    base = inner if inner.is_dir() else folder
    listing = base / f"trials_to_{split}.txt"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing}: missing; unpack DvsGesture.tar.gz here, with its lists of trials")
    names = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    gestures = {name: read_gesture_labels(base / f"{Path(name).stem}_labels.csv") for name in names}
    stack = FrameStack(sum(map(len, gestures.values())), SENSOR, binning, str(base))
    for name, labels in gestures.items():
        events = _read_events(base / name)
        for label, start, stop in labels:
            where = f"{base / name} from {start} to {stop}"
            stack.add(bin_events(events, SENSOR, binning, window=(start, stop), where=where), label)
    return stack.dataset("dvs-gesture", split, CLASS_NAMES)


def _read_events(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing, though the list of trials names it; unpack the archive again")
    return decode_aedat(path.read_bytes(), str(path))


def read_gesture_labels(path: Path) -> list[tuple[int, int, int]]:
    """Return (class from 0, start, stop) of each gesture in a label file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; each recording needs its label file")
    result = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split(",")
        if number == 1 or not line.strip():
            continue
        try:
            label, start, stop = (int(field) for field in fields)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is {line!r}, but must be class,start,end in integers") from error
        if not 1 <= label <= len(CLASS_NAMES) or start >= stop:
            raise ValueError(f"{path}: line {number} is {line!r}: classes are 1..11, and start lies before end")
        result.append((label - 1, start, stop))
    return result

"""Folders of recordings, one folder per class: N-MNIST as published, DVS-CIFAR10, and the like."""

from __future__ import annotations

import os
from pathlib import Path

from bitspike.data.binning import Binning
from bitspike.data.dataset import Dataset, check_split
from bitspike.data.recording import EXTENSIONS, FrameStack, bin_recording, natural_order, read_recording


def load_event_folder(
    folder: str | os.PathLike[str],
    split: str,
    *,
    sensor: tuple[int, int],
    binning: Binning,
    columns: str = "xytp",
    name: str | None = None,
) -> Dataset:
    """Return a split of recordings (`.bin`, `.bs2`, `.aedat`, `.npy`) as counts `[N, T, 2, H, W]`.

    Layout: `<folder>/<split>/<class>/<recording>` (Train and Test may be capitalized); or, without split
    folders, `<folder>/<class>/<recording>`, where the last tenth of each class in order of name (numbers by
    value) is test and the rest is train, as is usual for DVS-CIFAR10; test then needs 10 recordings of every class.
    Classes are numbered in order of their folder's name.

    sensor:  (height, width) of the sensor.
    columns: order of the columns of `.npy` files `[N, 4]`.
    """
    check_split(split)
    base = Path(folder)
    if not base.is_dir():
        raise FileNotFoundError(f"{base}: no such folder; it should hold one folder of recordings per class")
    split_folders = {path.name.lower(): path for path in base.iterdir() if path.is_dir()}
    has_splits = "train" in split_folders
    if has_splits and split not in split_folders:
        raise FileNotFoundError(f"{base}: has a folder for train, but none for {split}")
    classes = _class_folders(split_folders["train"] if has_splits else base)
    place = split_folders[split] if has_splits else base
    if has_splits and (foreign := set(_class_folders(place)) - set(classes)):
        raise ValueError(f"{place}: classes {sorted(foreign)} do not occur in train; class numbers would not match")
    if not has_splits and split == "test":
        _refuse_few(base, classes)
    files = [
        (path, label)
        for label, class_name in enumerate(classes)
        for path in _recordings(place / class_name, None if has_splits else split)
    ]
    if not files:
        raise FileNotFoundError(f"{place}: holds no recordings ({', '.join(EXTENSIONS)}) in one folder per class")
    stack = FrameStack(len(files), sensor, binning, str(base))
    for path, label in files:
        stack.add(bin_recording(read_recording(path, columns=columns), sensor, binning, where=str(path)), label)
    return stack.dataset(name or base.name, split, classes)


def _refuse_few(base: Path, classes: list[str]) -> None:
    """Raise for classes of which a tenth is not one recording: the test split would be without them."""
    counts = {name: len(_recordings(base / name, None)) for name in classes}
    if few := [f"{name} ({count})" for name, count in counts.items() if count < 10]:
        raise ValueError(
            f"{base}: the last tenth of each class is the test split, so 10 recordings are needed, but there are fewer "
            f"of {', '.join(few)}; give more, or folders train/ and test/"
        )


def _class_folders(folder: Path) -> list[str]:
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(names, key=natural_order)


def _recordings(folder: Path, tenth_of: str | None) -> list[Path]:
    """Return the recordings of a class in order; with `tenth_of`, the part of that split."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    files = sorted(found, key=lambda path: natural_order(path.name))
    if tenth_of is None:
        return files
    first_test = len(files) - len(files) // 10
    return files[first_test:] if tenth_of == "test" else files[:first_test]

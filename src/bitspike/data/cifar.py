"""CIFAR-10 and CIFAR-100, original "python version": batches (plain, `.gz`, `.xz`) or the tar archive.

Batches are looked for in `cifar10/cifar-10-batches-py/`, in `cifar10/` itself, and in `cifar-10-batches-py/`
beside it; then the archive `cifar-10-python.tar.gz`, in `cifar10/` or beside it. CIFAR-100 likewise. They are
pickles, and are read by `restricted_pickle`, which runs nothing in them, whether or not their checksum holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.checksum import Checksum, digest, verify
from bitspike.data.dataset import Dataset
from bitspike.data.packed import find_packed, read_tar_files
from bitspike.data.restricted_pickle import load_plain_pickle
from bitspike.data.sources import Download, FileState, SourceFile, inspect_source, read_source, unchecked_state


@dataclass(frozen=True)
class _Layout:
    inner: str
    archive: str
    archive_md5: str
    splits: dict[str, tuple[str, ...]]
    meta: str
    label_key: str
    names_key: str
    checksums: dict[str, Checksum]
    classes: int
    mean: tuple[float, float, float]
    std: float


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

LAYOUTS = {
    "cifar10": _Layout(
        inner="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        splits={"train": _BATCHES, "test": ("test_batch",)},
        meta="batches.meta",
        label_key="labels",
        names_key="label_names",
        checksums={
            "data_batch_1": Checksum("md5", "c99cafc152244af753f735de768cd75f"),
            "data_batch_2": Checksum("md5", "d4bba439e000b95fd0a9bffe97cbabec"),
            "data_batch_3": Checksum("md5", "54ebc095f3ab1f0389bbae665268c751"),
            "data_batch_4": Checksum("md5", "634d18415352ddfa80567beed471001a"),
            "data_batch_5": Checksum("md5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            "test_batch": Checksum("md5", "40351d587109b95175f43aff81a1287e"),
            "batches.meta": Checksum("md5", "5ff9c542aee3614f3951f8cda6e48888"),
        },
        classes=10,
        mean=(0.49139967861519607, 0.48215840839460783, 0.44653091444546567),
        std=0.2508240620919313,
    ),
    "cifar100": _Layout(
        inner="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        splits={"train": ("train",), "test": ("test",)},
        meta="meta",
        label_key="fine_labels",
        names_key="fine_label_names",
        checksums={
            "train": Checksum("md5", "16019d7e3df5f24257cddd939b257f8d"),
            "test": Checksum("md5", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
            "meta": Checksum("md5", "7973b15100ade9c7d40fb424638fde48"),
        },
        classes=100,
        # As commonly published for the train split: means, and deviations .2673 .2564 .2762 joined into one.
        mean=(0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
        std=0.266762933759071,
    ),
}


def load_cifar(name: str, folder: Path, split: str, *, verify: bool = True) -> Dataset:
    """Return a split of "cifar10" or "cifar100": images uint8 `[N, 3, 32, 32]`; fine labels for CIFAR-100."""
    layout = LAYOUTS[name]
    wanted = (*layout.splits[split], layout.meta)
    contents = _read_files(layout, folder, wanted, check=verify)
    parsed = [_batch(contents[file], layout, f"{name} file {file}") for file in layout.splits[split]]
    names = load_plain_pickle(contents[layout.meta], f"{name} file {layout.meta}")
    class_names = _value(names, layout.names_key, f"{name} file {layout.meta}")
    if isinstance(class_names, list):
        class_names = [text.decode("latin-1") if isinstance(text, bytes) else text for text in class_names]
    if not isinstance(class_names, list) or not all(isinstance(text, str) for text in class_names):
        raise ValueError(f"{name} file {layout.meta}: holds no list {layout.names_key!r}; is it the original file?")
    inputs = np.concatenate([images for images, _ in parsed])
    labels = np.concatenate([numbers for _, numbers in parsed])
    return Dataset(name, split, inputs, labels, layout.classes, tuple(class_names), layout.mean, layout.std)


def _folders(layout: _Layout, folder: Path) -> tuple[Path, ...]:
    return (folder / layout.inner, folder, folder.parent / layout.inner)


def _find_archive(layout: _Layout, folder: Path) -> Path | None:
    for place in (folder, folder.parent):
        for name in (layout.archive, layout.archive.removesuffix(".gz")):
            if (place / name).is_file():
                return place / name
    return None


def _place(layout: _Layout, folder: Path, names: Sequence[str]) -> Path | None:
    """Return the folder to read batches from: one that holds all; else, where no archive is, one that holds some."""
    folders = _folders(layout, folder)
    whole = [place for place in folders if all(find_packed(place, name) for name in names)]
    begun = [place for place in folders if any(find_packed(place, name) for name in names)]
    return next(iter(whole or ([] if _find_archive(layout, folder) else begun)), None)


def _read_files(layout: _Layout, folder: Path, names: Sequence[str], *, check: bool) -> dict[str, bytes]:
    """Return the unpacked files: from the first folder that holds all of them, else from the archive."""
    place, archive = _place(layout, folder, names), _find_archive(layout, folder)
    if place is not None:
        # Two threads: unpacking and hashing release the interpreter lock.
        with ThreadPoolExecutor(max_workers=2) as pool:
            read = pool.map(partial(_read_one, layout, place, check), names)
            return dict(zip(names, read, strict=True))
    if archive is None:
        raise FileNotFoundError(f"{folder}: neither {layout.inner}/ nor {layout.archive} is there; fetch it again")
    contents = read_tar_files(archive, names)
    if check:
        for name, data in contents.items():
            verify(data, layout.checksums[name], f"{archive}: member {name}")
    return contents


def _read_one(layout: _Layout, place: Path, check: bool, name: str) -> bytes:
    return read_source(place, _source(layout, name), check=check)[0]


def _source(layout: _Layout, name: str) -> SourceFile:
    return SourceFile(name, layout.checksums[name])


def _value(batch: Any, key: str, where: str) -> Any:
    """Return the value under `key`, written as text or (by Python 3 from the original) as bytes."""
    if not isinstance(batch, dict):
        return None
    if key not in batch and key.encode() not in batch:
        keys = ", ".join(repr(found) for found in list(batch)[:10]) or "none"
        raise ValueError(f"{where}: the key {key!r} is missing (keys: {keys}); is it the original file?")
    return batch[key] if key in batch else batch[key.encode()]


def _batch(data: bytes, layout: _Layout, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images `[N, 3, 32, 32]` and labels of one batch, its structure checked."""
    batch = load_plain_pickle(data, where)
    pixels = _value(batch, "data", where)
    labels = _value(batch, layout.label_key, where)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
        raise ValueError(f"{where}: 'data' is no uint8 array [N, 3072]; is it an original batch?")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"{where}: {layout.label_key!r} is no list of integers; is it an original batch?")
    if len(labels) != len(pixels):
        raise ValueError(f"{where}: {len(pixels)} images but {len(labels)} labels; the file is damaged")
    if labels and not 0 <= min(labels) <= max(labels) < layout.classes:
        raise ValueError(f"{where}: labels run from {min(labels)} to {max(labels)}, allowed: 0..{layout.classes - 1}")
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def inspect_cifar(name: str, folder: Path, *, check: bool) -> list[FileState]:
    """Return the state of each batch; batches inside the archive are shown with the archive's path."""
    layout = LAYOUTS[name]
    archive = _find_archive(layout, folder)
    if (place := _place(layout, folder, list(layout.checksums))) is not None:
        return [inspect_source(place, _source(layout, file), check=check) for file in layout.checksums]
    if archive is None:
        return [FileState(file, None, None, "missing") for file in layout.checksums]
    size = archive.stat().st_size
    state, reason = unchecked_state(size)
    states = dict.fromkeys(layout.checksums, state)
    if check:
        try:
            contents = read_tar_files(archive, list(layout.checksums))
        except (ValueError, OSError) as error:
            states, reason = dict.fromkeys(layout.checksums, "unreadable"), str(error)
        else:
            for file, data in contents.items():
                expected = layout.checksums[file]
                states[file] = "ok" if digest(data, expected.algorithm) == expected.hexdigest else "wrong"
    return [FileState(file, str(archive), size, state, reason) for file, state in states.items()]


def cifar_downloads(name: str) -> tuple[Download, ...]:
    """Return what to fetch and from where."""
    layout = LAYOUTS[name]
    mirrors = ("https://www.cs.toronto.edu/~kriz/",)
    return (Download(f"{name}/{layout.archive}", mirrors, Checksum("md5", layout.archive_md5)),)

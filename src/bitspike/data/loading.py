"""The verbs over data sets by name: list, load, describe, fetch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bitspike.data.binning import DEFAULT_BOUND, Binning
from bitspike.data.checksum import file_digest
from bitspike.data.dataset import Dataset, check_split
from bitspike.data.download import Progress
from bitspike.data.download import download as download_file
from bitspike.data.registry import ENTRIES, Entry, Options, entry_of
from bitspike.data.roots import data_roots, download_root, missing_message
from bitspike.data.sources import Download

_Path = str | os.PathLike[str]


def dataset_names() -> list[str]:
    """Return the names that `load` knows."""
    return list(ENTRIES)


def dataset_kind(name: str) -> str:
    """Return "images" or "events" without touching any file."""
    return entry_of(name).kind


def load(
    name: str,
    split: str,
    *,
    root: _Path | None = None,
    download: bool = False,
    verify: bool = True,
    time_steps: int | None = None,
    bound: int | None = None,
    size: tuple[int, int] | None = None,
    by: str | None = None,
) -> Dataset:
    """Return the "train" or "test" split of a named data set, whole in memory.

    root:     folder that holds the data sets' folders; default: see `roots.data_roots`.
    download: fetch what is not there or damaged (else nothing is ever fetched).
    verify:   hold the files against their published checksums; False for files of your own.
    time_steps, bound, by: how events become frames (see `binning.Binning`); event data only.
    size:     (H, W) of event frames or of pictures; only where the files do not fix it.
    """
    entry = entry_of(name)
    check_split(split)
    options = Options(verify, _make_binning(entry, time_steps, bound, size, by), size)
    folder = _find_folder(entry, root)
    if download and entry.downloads and not _complete(entry, folder):
        _fetch(entry, root, check=verify)
        folder = download_root(root) / name
    if folder is None:
        looked = [place / name for place in data_roots(root)]
        raise FileNotFoundError(missing_message(name, looked, entry.advice()))
    try:
        return entry.read(folder, split, options)
    except (ValueError, OSError):
        # Without verify the files may be the user's own, which a download must never replace.
        if not (download and entry.downloads and verify and _damaged(entry, folder)):
            raise
    _fetch(entry, root)
    return entry.read(download_root(root) / name, split, options)


def _make_binning(
    entry: Entry, time_steps: int | None, bound: int | None, size: tuple[int, int] | None, by: str | None
) -> Binning | None:
    """Return the binning of event data; options that a data set cannot follow are errors, not ignored."""
    if size is not None and not entry.resizable:
        raise ValueError(f"{entry.name}: its samples are {list(entry.shape)}; size={size} cannot be had")
    if entry.time_steps is not None:
        return Binning(
            entry.time_steps if time_steps is None else time_steps,
            DEFAULT_BOUND if bound is None else bound,
            size,
            "time" if by is None else by,
        )
    given = {"time_steps": time_steps, "bound": bound, "by": by}
    if wrong := [f"{option}={value!r}" for option, value in given.items() if value is not None]:
        raise ValueError(
            f"{entry.name}: holds still images, to which {', '.join(wrong)} does not apply; "
            "time steps of images belong to the network"
        )
    return None


def _complete(entry: Entry, folder: Path | None) -> bool:
    if folder is None or entry.inspect is None:
        return folder is not None
    return all(state.path and state.checksum != "damaged" for state in entry.inspect(folder, check=False))


def _damaged(entry: Entry, folder: Path) -> list[str]:
    """Return the files that are there but not as published; all are read."""
    states = entry.inspect(folder, check=True) if entry.inspect is not None else []
    return [state.path for state in states if state.path and state.checksum != "ok"]


def _find_folder(entry: Entry, root: _Path | None) -> Path | None:
    """Return the first folder that holds any part of the data set (one without files is in every folder)."""
    for place in data_roots(root):
        folder = place / entry.name
        if entry.inspect is None:
            if folder.is_dir() and any(folder.iterdir()):
                return folder
        else:
            states = entry.inspect(folder, check=False)
            if not states or any(state.path is not None for state in states):
                return folder
    return None


def dataset_info(name: str, root: _Path | None = None, *, verify: bool = False) -> dict[str, Any]:
    """Return what is known of a data set and what is there of it, as plain data for JSON.

    Keys: name, kind, classes, shape (C, H, W), time_steps (default, None for images), train, test (samples),
    present (True: complete), where (folder or None), looked (all folders looked in), files (each with file,
    path, bytes, checksum, and reason where it is damaged; checksum is "ok", "wrong", "unreadable" only with
    `verify`, which reads them; "damaged" without it for an empty file),
    checksums (True: published ones exist), mirrors (addresses to fetch from), advice (how to get it).
    """
    entry = entry_of(name)
    folder = _find_folder(entry, root)
    looked = [str(place / name) for place in data_roots(root)]
    files = entry.inspect(folder or Path(looked[0]), check=verify) if entry.inspect else []
    present = _complete(entry, folder)
    if name == "digits":
        present, folder = _has_scikit_learn(), None
    return {
        "name": name,
        "kind": entry.kind,
        "classes": entry.classes,
        "shape": list(entry.shape),
        "time_steps": entry.time_steps,
        "train": entry.samples[0],
        "test": entry.samples[1],
        "present": present,
        "where": str(folder) if folder is not None else None,
        "looked": looked if name != "digits" else [],
        "files": [state.to_dict() for state in files],
        "checksums": bool(files),
        "mirrors": [base + item.name for item in entry.downloads for base in item.mirrors],
        "advice": entry.advice(),
    }


def _has_scikit_learn() -> bool:
    return find_spec("sklearn") is not None


def fetch(
    name: str,
    root: _Path | None = None,
    *,
    mirrors: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download a data set's files that are not there yet or damaged and return the paths of all of them.

    They go below `root`, else `$BITSPIKE_DATA`, else the platform's cache folder. Each is held against its
    published checksum and takes its name only then; a damaged file stays until its successor is whole.
    mirrors: base addresses to use in place of the public ones.
    """
    entry = entry_of(name)
    if not entry.downloads:
        raise ValueError(f"data set {name!r} has no public file to fetch; {entry.advice()}")
    return _fetch(entry, root, mirrors=mirrors, progress=progress)


def _fetch(
    entry: Entry,
    root: _Path | None,
    *,
    check: bool = True,
    mirrors: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch what is missing or empty and, with `check`, what is not as published."""
    target = download_root(root)
    paths = []
    for item in entry.downloads:
        path = target / item.path
        if not _usable(entry, item, path, check):
            download_file(item, target, mirrors=mirrors, progress=progress)
        paths.append(path)
    if check:
        _refuse_hidden(entry, target / entry.name, paths)
    return paths


def _usable(entry: Entry, item: Download, path: Path, check: bool) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    try:
        if not check or file_digest(path, item.checksum.algorithm) == item.checksum.hexdigest:
            return True
    except OSError:
        return False
    # Another packing of the right content is as good.
    states = entry.inspect(path.parent, check=True) if entry.inspect is not None else []
    here = [state.checksum for state in states if state.path == str(path)]
    return bool(here) and set(here) == {"ok"}


def _refuse_hidden(entry: Entry, folder: Path, paths: Sequence[Path]) -> None:
    """Raise where a damaged file that was not fetched would be read in place of a good one that was."""
    states = entry.inspect(folder, check=False) if entry.inspect is not None else []
    fetched = {str(path) for path in paths}
    if any(state.path not in fetched for state in states):
        hiding = sorted({path for path in _damaged(entry, folder) if path not in fetched})
        if hiding:
            raise ValueError(
                f"data set {entry.name!r} was fetched, but damaged files are read in its place: "
                f"{', '.join(hiding)}; remove them"
            )

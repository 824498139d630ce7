"""The table of data sets: what each is, how it is read, where it comes from. `loading.py` has the verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bitspike.data import ev_objects, nmnist_subset
from bitspike.data.binning import Binning
from bitspike.data.cifar import cifar_downloads, inspect_cifar, load_cifar
from bitspike.data.dataset import Dataset
from bitspike.data.digits import load_digits
from bitspike.data.dvs_gesture import load_dvs_gesture
from bitspike.data.event_folder import load_event_folder
from bitspike.data.image_folder import load_image_folder
from bitspike.data.mnist import inspect_mnist, load_mnist, mnist_downloads
from bitspike.data.sources import Download, FileState

# Commonly published for TinyImageNet's train split: means, and deviations .2302 .2265 .2262 joined into one.
_TINY_STATISTICS = ((0.4802, 0.4481, 0.3975), 0.2276)


@dataclass(frozen=True)
class Options:
    """What a loader may need beyond folder and split."""

    verify: bool
    binning: Binning | None
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Entry:
    """One data set: what it is, how it is read, how its files are inspected and fetched."""

    name: str
    kind: str
    classes: int
    shape: tuple[int, int, int]
    samples: tuple[int, int]  # train, test
    read: Callable[[Path, str, Options], Dataset]
    inspect: Callable[..., list[FileState]] | None = None  # None: a folder of many files without published checksums
    downloads: tuple[Download, ...] = ()
    time_steps: int | None = None  # default of event data
    resizable: bool = False
    how: str = ""  # how to get it, where there is no download

    def advice(self) -> str:
        """Return how to get the data set."""
        return self.how or f"get it with `bitspike data fetch {self.name}`"


def _frames_of(options: Options) -> Binning:
    if options.binning is None:
        raise ValueError("event data needs time steps")
    return options.binning


def _digits() -> Entry:
    return Entry(
        name="digits",
        kind="images",
        classes=10,
        shape=(1, 8, 8),
        samples=(1442, 355),
        read=lambda folder, split, options: load_digits(split),
        inspect=lambda folder, check: [],
        how="it comes with scikit-learn: pip install bitspike[train]",
    )


def _mnist(name: str) -> Entry:
    return Entry(
        name=name,
        kind="images",
        classes=10,
        shape=(1, 28, 28),
        samples=(60_000, 10_000),
        read=lambda folder, split, options: load_mnist(name, folder, split, verify=options.verify),
        inspect=partial(inspect_mnist, name),
        downloads=mnist_downloads(name),
    )


def _cifar(name: str, classes: int) -> Entry:
    return Entry(
        name=name,
        kind="images",
        classes=classes,
        shape=(3, 32, 32),
        samples=(50_000, 10_000),
        read=lambda folder, split, options: load_cifar(name, folder, split, verify=options.verify),
        inspect=partial(inspect_cifar, name),
        downloads=cifar_downloads(name),
    )


def _tiny_imagenet() -> Entry:
    name = "tiny-imagenet"
    return Entry(
        name=name,
        kind="images",
        classes=200,
        shape=(3, 64, 64),
        samples=(100_000, 10_000),
        read=lambda folder, split, options: load_image_folder(
            folder, split, size=options.size, statistics=_TINY_STATISTICS, name=name
        ),
        resizable=True,
        how="unpack tiny-imagenet-200.zip so that tiny-imagenet/train and tiny-imagenet/val exist",
    )


def _nmnist_subset() -> Entry:
    return Entry(
        name="nmnist-subset",
        kind="events",
        classes=10,
        shape=(2, *nmnist_subset.SENSOR),
        samples=(1000, 100),
        read=lambda folder, split, options: nmnist_subset.load_nmnist_subset(
            folder, split, _frames_of(options), verify=options.verify
        ),
        inspect=nmnist_subset.SOURCE.inspect,
        time_steps=10,
        resizable=True,
        how="put the SLAYER project's NMNISTsmall.zip (or its folder, or a .tar.xz of it) into nmnist-subset/",
    )


def _ev_objects() -> Entry:
    return Entry(
        name="ev-objects",
        kind="events",
        classes=ev_objects.CLASSES,
        shape=(2, 39, 1),
        samples=(576, 144),
        read=lambda folder, split, options: ev_objects.load_ev_objects(
            folder, split, _frames_of(options), verify=options.verify
        ),
        inspect=ev_objects.SOURCE.inspect,
        downloads=ev_objects.DOWNLOADS,
        time_steps=25,
    )


def _event_folder(name: str, sensor: tuple[int, int], samples: tuple[int, int], how: str) -> Entry:
    return Entry(
        name=name,
        kind="events",
        classes=10,
        shape=(2, *sensor),
        samples=samples,
        read=lambda folder, split, options: load_event_folder(
            folder, split, sensor=sensor, binning=_frames_of(options), name=name
        ),
        time_steps=10,
        resizable=True,
        how=how,
    )


def _dvs_gesture() -> Entry:
    return Entry(
        name="dvs-gesture",
        kind="events",
        classes=11,
        shape=(2, 128, 128),
        samples=(1176, 288),
        read=lambda folder, split, options: load_dvs_gesture(folder, split, _frames_of(options)),
        time_steps=16,
        resizable=True,
        how="unpack DvsGesture.tar.gz so that dvs-gesture/DvsGesture exists",
    )


ENTRIES = {
    entry.name: entry
    for entry in (
        _digits(),
        _mnist("mnist"),
        _mnist("fashion-mnist"),
        _cifar("cifar10", 10),
        _cifar("cifar100", 100),
        _nmnist_subset(),
        _ev_objects(),
        _tiny_imagenet(),
        _event_folder(
            "nmnist",
            (34, 34),
            (60_000, 10_000),
            "unpack N-MNIST so that nmnist/Train/0 and nmnist/Test/0 exist",
        ),
        _event_folder(
            "dvs-cifar10",
            (128, 128),
            (9000, 1000),
            "unpack DVS-CIFAR10 so that dvs-cifar10/airplane etc. exist",
        ),
        _dvs_gesture(),
    )
}


def entry_of(name: str) -> Entry:
    """Return the entry of a data set by name."""
    if name not in ENTRIES:
        raise ValueError(f"data set {name!r} is not known: use one of {', '.join(ENTRIES)}")
    return ENTRIES[name]

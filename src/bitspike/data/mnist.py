"""MNIST and Fashion-MNIST: four IDX files each, plain, `.gz` or `.xz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitspike.data.checksum import Checksum
from bitspike.data.dataset import Dataset
from bitspike.data.idx import parse_idx
from bitspike.data.sources import Download, FileState, SourceFile, inspect_source, read_source

_STEMS = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}

# Mean and deviation of the train images, measured (tests/data/test_real_data.py measures them again).
STATISTICS = {
    "mnist": ((0.13066047627384286,), 0.3081078038564627),
    "fashion-mnist": ((0.2860405969887955,), 0.3530242445149226),
}

# sha256 of the unpacked files; taken from files whose published md5 (below) hold.
_SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

# The md5 published with the packed files.
_PACKED_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}

_MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
}


def _source(name: str, file: str) -> SourceFile:
    return SourceFile(file, Checksum("sha256", _SHA256[name][file]))


def load_mnist(name: str, folder: Path, split: str, *, verify: bool = True) -> Dataset:
    """Return a split of "mnist" or "fashion-mnist" from `folder`: images uint8 `[N, 1, 28, 28]`."""
    stem = _STEMS[split]
    image_data, image_path = read_source(folder, _source(name, f"{stem}-{_IMAGES}"), check=verify)
    label_data, label_path = read_source(folder, _source(name, f"{stem}-{_LABELS}"), check=verify)
    images = parse_idx(image_data, 3, str(image_path))
    labels = parse_idx(label_data, 1, str(label_path)).astype(np.int64)
    if len(images) != len(labels):
        raise ValueError(
            f"{folder}: {len(images)} {split} images but {len(labels)} labels; the files do not belong together"
        )
    mean, std = STATISTICS[name]
    return Dataset(name, split, images[:, None], labels, 10, CLASS_NAMES[name], mean, std)


def inspect_mnist(name: str, folder: Path, *, check: bool) -> list[FileState]:
    """Return the state of the four files."""
    return [inspect_source(folder, _source(name, file), check=check) for file in _SHA256[name]]


def mnist_downloads(name: str) -> tuple[Download, ...]:
    """Return what to fetch and from where."""
    return tuple(
        Download(f"{name}/{file}.gz", _MIRRORS[name], Checksum("md5", md5)) for file, md5 in _PACKED_MD5[name].items()
    )

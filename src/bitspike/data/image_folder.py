"""Folders of pictures, read by Pillow: TinyImageNet's layout, and one folder per class.

TinyImageNet:  train/<class>/images/*.JPEG, val/images/*.JPEG with val/val_annotations.txt (file, tab, class,
               ...)
generic:       train/<class>/*.png, test/<class>/*.png     (val or validation where there is no labelled test)

The split "test" is the labelled one: for TinyImageNet that is val, since its test pictures carry no labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.dataset import Dataset, check_split, measure_statistics

EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm")
_ANNOTATIONS = "val_annotations.txt"


def load_image_folder(
    folder: str | os.PathLike[str],
    split: str,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    statistics: tuple[tuple[float, ...], float] | None = None,
    name: str | None = None,
) -> Dataset:
    """Return a split of a picture folder as uint8 `[N, C, H, W]`, ordered by class, then file name.

    size:       (H, W); pictures of another size are resized by Pillow's bilinear filter, without keeping
                proportions.
                None: all pictures must have the size of the first.
    channels:   3 for colour, 1 for grey.
    statistics: (mean per colour, std); default: measured on the train split, which is read for it.
    """
    check_split(split)
    base = Path(folder)
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}, but must be 1 (grey) or 3 (colour)")
    if not (base / "train").is_dir():
        raise FileNotFoundError(f"{base / 'train'}: no such folder; it should hold one folder of pictures per class")
    classes = [path.name for path in _class_folders(base / "train")]
    for class_folder in _class_folders(base / "train"):
        if next(_pictures(class_folder), None) is None:
            raise FileNotFoundError(
                f"{class_folder}: holds no pictures ({', '.join(EXTENSIONS)}), but every folder there is a class; "
                "remove it, or fill it"
            )
    images, labels = _read_split(base, split, classes, size, channels)
    if statistics is None:
        train = images if split == "train" else _read_split(base, "train", classes, images.shape[2:], channels)[0]
        mean, std = measure_statistics(train)
        statistics = mean, max(std, 1 / 255)
    return Dataset(name or base.name, split, images, labels, len(classes), tuple(classes), *statistics)


def _read_split(
    base: Path, split: str, classes: list[str], size: Any, channels: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    place = base / "train" if split == "train" else _test_folder(base)
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    annotations = place / _ANNOTATIONS
    pairs = _annotated(annotations) if split == "test" and annotations.is_file() else _by_class(place)
    if not pairs:
        raise FileNotFoundError(f"{place}: holds no pictures ({', '.join(EXTENSIONS)}) in one folder per class")
    if foreign := sorted({class_name for _, class_name in pairs} - set(classes)):
        raise ValueError(f"{place}: classes {foreign[:5]} do not occur in train; class numbers would not match")
    labels = np.array([numbers[class_name] for _, class_name in pairs], dtype=np.int64)
    return _read_pictures([path for path, _ in pairs], size, channels), labels


def _test_folder(base: Path) -> Path:
    """Return the folder of the labelled test pictures."""
    if (base / "val" / _ANNOTATIONS).is_file():
        return base / "val"
    for name in ("test", "val", "validation"):
        if (base / name).is_dir():
            return base / name
    raise FileNotFoundError(f"{base}: has neither test/, val/ nor validation/")


def _by_class(place: Path) -> list[tuple[Path, str]]:
    """Return each picture with its class, the name of the folder below `place` it lies in, at any depth."""
    return [
        (path, class_folder.name) for class_folder in _class_folders(place) for path in sorted(_pictures(class_folder))
    ]


def _class_folders(place: Path) -> list[Path]:
    """Return the folders in a place that stand for classes; hidden ones are some program's own."""
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures below a folder, at any depth, but for hidden ones."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in EXTENSIONS and not hidden:
            yield path


def _annotated(annotations: Path) -> list[tuple[Path, str]]:
    """Return each picture with its class from TinyImageNet's annotation file, by class and then file name."""
    pairs = []
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise ValueError(f"{annotations}: line {number} is {line!r}, but must be file, tab, class")
        pairs.append((annotations.parent / "images" / Path(fields[0]).name, fields[1].strip()))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0].name))


def _read_pictures(paths: list[Path], size: Any, channels: int) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("pictures are read by Pillow, which is not installed: pip install bitspike[train]") from error
    first = _read_picture(Image, paths[0], size, channels)
    pictures = np.empty((len(paths), *first.shape), dtype=np.uint8)
    for number, path in enumerate(paths):
        picture = _read_picture(Image, path, size, channels)
        if picture.shape != first.shape:
            raise ValueError(
                f"{path}: {list(picture.shape[1:])} pixels, but {paths[0].name} has {list(first.shape[1:])}; "
                "give size=(height, width) to resize"
            )
        pictures[number] = picture
    return pictures


def _read_picture(pillow: Any, path: Path, size: Any, channels: int) -> NDArray[np.uint8]:
    """Return one picture `[C, H, W]`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture, though it is listed")
    try:
        with pillow.open(path) as opened:
            picture = opened.convert("RGB" if channels == 3 else "L")
        if size is not None and picture.size != (size[1], size[0]):
            picture = picture.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise ValueError(f"{path}: no readable picture ({error}); remove or replace the file") from error
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)

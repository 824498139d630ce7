"""Ev-Objects: event-based touch, 36 objects held by a gripper, from the archive of the TactileSGNet paper.

A member holds [39 taxels, 2 polarities, 250 time bins] in 0/1. As event frames: taxel k becomes row k of a
picture of 39 x 1 pixels, the polarity index the channel as it stands, and the 250 bins are summed into T
frames, bin b into frame floor(b * T / 250); then counts are clipped to the bound. The default T = 25 sums 10
bins, so that nothing clips.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.archives import MemberArchive
from bitspike.data.binning import Binning, rebin_frames
from bitspike.data.checksum import Checksum
from bitspike.data.dataset import Dataset
from bitspike.data.recording import FrameStack
from bitspike.data.sources import Download

SHAPE = (39, 2, 250)
CLASSES = 36
SOURCE = MemberArchive(
    names=("Ev-Objects.zip", "Ev-Objects"),
    suffixes=(".npy",),
    levels=2,
    checksum=Checksum("sha256", "f68597cad7425cdae3f40789e39956716658a4de69ff2279cf64fabfce45d318"),
)
DOWNLOADS = (
    Download(
        "ev-objects/Ev-Objects.zip",
        ("https://raw.githubusercontent.com/clear-nus/TactileSGNet/master/",),
        Checksum("sha256", "bd8e828064a85c4fc6567789283198ff0b92384ef58aeb2366fa36a963ded867"),
    ),
)
_MEMBER = re.compile(r"(train|test)/sample_(\d+)_label_(\d+)\.npy")


def load_ev_objects(folder: Path, split: str, binning: Binning, *, verify: bool = True) -> Dataset:
    """Return a split as counts `[N, T, 2, 39, 1]`, in order of sample number."""
    members, path = SOURCE.read(folder, check=verify)
    chosen = []
    for name, data in members.items():
        match = _MEMBER.fullmatch(name)
        if match is None or int(match[3]) >= CLASSES:
            raise ValueError(f"{path}: member {name} is not named (train|test)/sample_I_label_K.npy with K below 36")
        if match[1] == split:
            chosen.append((int(match[2]), int(match[3]), data))
    stack = FrameStack(len(chosen), (SHAPE[0], 1), binning, str(path))
    for number, label, data in sorted(chosen, key=lambda item: item[:2]):
        where = f"{path}: sample {number}"
        stack.add(rebin_frames(_frames(data, where), binning, where=where), label)
    return stack.dataset("ev-objects", split, tuple(f"object {number}" for number in range(CLASSES)))


def _frames(data: bytes, where: str) -> NDArray[Any]:
    """Return one sample as frames of 0/1, `[250, 2, 39, 1]`."""
    try:
        sample: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{where}: no readable .npy array ({error})") from error
    if sample.shape != SHAPE or not ((sample == 0) | (sample == 1)).all():
        raise ValueError(f"{where}: {sample.dtype} {list(sample.shape)}, but must hold 0 and 1 in {list(SHAPE)}")
    return sample.astype(np.uint8).transpose(2, 1, 0)[..., None]

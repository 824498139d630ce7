"""The first 1,000 train and 100 test recordings of N-MNIST, as the SLAYER project ships them (NMNISTsmall)."""

from __future__ import annotations

from pathlib import Path

from bitspike.data.archives import MemberArchive
from bitspike.data.binning import Binning, bin_events
from bitspike.data.checksum import Checksum
from bitspike.data.dataset import Dataset
from bitspike.data.events import decode_nmnist
from bitspike.data.recording import FrameStack

SENSOR = (34, 34)
SOURCE = MemberArchive(
    names=("NMNISTsmall.tar.xz", "NMNISTsmall.tar.gz", "NMNISTsmall.tar", "NMNISTsmall.zip", "NMNISTsmall"),
    suffixes=(".bs2", "train1K.txt", "test100.txt"),
    levels=1,
    checksum=Checksum("sha256", "e9b640d7948345aadc86d8fc932194b35c44c039ba54809c5b3d07681de1fa60"),
)
_LISTS = {"train": "train1K.txt", "test": "test100.txt"}


def load_nmnist_subset(folder: Path, split: str, binning: Binning, *, verify: bool = True) -> Dataset:
    """Return a split as counts `[N, T, 2, H, W]`, in its list's order; each recording binned over its own span."""
    members, path = SOURCE.read(folder, check=verify)
    entries = read_list(members.get(_LISTS[split]), f"{path}: {_LISTS[split]}")
    stack = FrameStack(len(entries), SENSOR, binning, str(path))
    for number, label in entries:
        where = f"{path}: {number}.bs2"
        if f"{number}.bs2" not in members:
            raise ValueError(f"{where} is missing, though the list names it; fetch the archive again")
        events = decode_nmnist(members[f"{number}.bs2"], where)
        stack.add(bin_events(events, SENSOR, binning, where=where), label)
    return stack.dataset("nmnist-subset", split, tuple("0123456789"))


def read_list(data: bytes | None, where: str) -> list[tuple[int, int]]:
    """Return (recording number, class) of each line; lines beginning with # are comments."""
    if data is None:
        raise ValueError(f"{where} is missing; fetch the archive again")
    result = []
    for line in data.decode("latin-1").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) > 9:
            raise ValueError(f"{where}: the line {line!r} is not a number and a class from 0 to 9")
        result.append((int(fields[0]), int(fields[1])))
    return result

"""Checksums: which file, what was expected, what was found, what to do.

Checksums of data sets are taken over the *unpacked* content of a file, so the same published value holds
whether the file lies there plain, as `.gz` or as `.xz`. Downloads are checked as they come over the wire
(`download.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checksum:
    """One published checksum: the algorithm ("md5" or "sha256") and its lower-case hexadecimal digest."""

    algorithm: str
    hexdigest: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.hexdigest}"


def new_hash(algorithm: str) -> Any:
    """Return a fresh hash object; md5 is asked for as a checksum, which also works on hardened Pythons."""
    if algorithm not in ("md5", "sha256"):
        raise ValueError(f"checksum algorithm {algorithm!r} is not known: use 'md5' or 'sha256'")
    return hashlib.new(algorithm, usedforsecurity=False)


def digest(data: bytes | memoryview, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of `data`."""
    hasher = new_hash(algorithm)
    hasher.update(data)
    return str(hasher.hexdigest())


def file_digest(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file as it lies there, packed or not."""
    hasher = new_hash(algorithm)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return str(hasher.hexdigest())


def digest_members(members: Iterable[tuple[str, bytes]]) -> str:
    """Return one sha256 over many named contents, whatever archive they came from.

    Members are taken in sorted order of name; each contributes `name`, a zero byte, its length in decimal,
    a zero byte, and its bytes.
    """
    hasher = new_hash("sha256")
    for name, data in sorted(members):
        hasher.update(f"{name}\0{len(data)}\0".encode())
        hasher.update(data)
    return str(hasher.hexdigest())


def check_digest(got: str, expected: Checksum, where: str) -> None:
    """Raise `ValueError` unless `got` is the expected digest of `where`."""
    if got != expected.hexdigest:
        raise ValueError(
            f"{where}: wrong checksum, expected {expected} but got {got}; the file is damaged or not the "
            f"published one: fetch it again, or pass verify=False if it is your own"
        )


def verify(data: bytes | memoryview, expected: Checksum, where: str) -> None:
    """Raise `ValueError` unless `data` (the unpacked content of `where`) has the expected checksum."""
    check_digest(digest(data, expected.algorithm), expected, where)

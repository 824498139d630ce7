"""A data set that is one archive (or the folder made of it), with one checksum over its members.

The checksum covers names and contents of the members, not the packing: a repacked archive and the unpacked
folder pass it as the original does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bitspike.data.checksum import Checksum, check_digest, digest_members
from bitspike.data.packed import iterate_members
from bitspike.data.sources import FileState, unchecked_state


@dataclass(frozen=True)
class MemberArchive:
    """Where the members of a data set may lie, first choice first, and how they are recognized."""

    names: tuple[str, ...]
    suffixes: tuple[str, ...]
    levels: int  # how many parts of a member's path name it, counted from its end
    checksum: Checksum

    def find(self, folder: Path) -> Path | None:
        """Return the archive or folder in `folder`, or None."""
        return next((folder / name for name in self.names if (folder / name).exists()), None)

    def read(self, folder: Path, *, check: bool) -> tuple[dict[str, bytes], Path]:
        """Return the members by their short name, and where they came from."""
        path = self.find(folder)
        if path is None:
            raise FileNotFoundError(f"{folder}: holds none of {', '.join(self.names)}")
        members = {
            "/".join(PurePosixPath(name).parts[-self.levels :]): data
            for name, data in iterate_members(path, lambda name: name.endswith(self.suffixes))
        }
        if check:
            check_digest(digest_members(members.items()), self.checksum, str(path))
        return members, path

    def inspect(self, folder: Path, *, check: bool) -> list[FileState]:
        """Return the state of the archive; with `check`, its members are read."""
        path = self.find(folder)
        if path is None:
            return [FileState(self.names[0], None, None, "missing")]
        size = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
        state, reason = unchecked_state(size)
        if check:
            try:
                members, _ = self.read(folder, check=False)
                state = "ok" if digest_members(members.items()) == self.checksum.hexdigest else "wrong"
            except (ValueError, OSError) as error:
                state, reason = "unreadable", str(error)
        return [FileState(path.name, str(path), size, state, reason)]

"""Explicit downloads: one file at a time, checked, and put in place in one step."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO

from bitspike.data.checksum import check_digest, new_hash
from bitspike.data.sources import Download

Progress = Callable[[str, int, int | None], None]
_SCHEMES = ("https", "http", "file")
_BLOCK = 1 << 18
_TIMEOUT_SECONDS = 30.0


def download(
    item: Download, root: Path, *, mirrors: Sequence[str] | None = None, progress: Progress | None = None
) -> Path:
    """Fetch one file into its place below `root` and return its path; mirrors are tried in turn.

    The bytes go to a temporary file in the same folder, which takes the final name only when its checksum
    holds; on any failure it is removed, and a file that was there before stays as it was.
    progress: called with file name, bytes so far and bytes in all (None where the server does not say).
    """
    target = root / item.path
    failures = []
    for base in mirrors if mirrors is not None else item.mirrors:
        address = base.rstrip("/") + "/" + item.name
        if urllib.parse.urlsplit(address).scheme not in _SCHEMES:
            raise ValueError(f"mirror {base!r} is no address to fetch from; allowed are {', '.join(_SCHEMES)}")
        try:
            _fetch_into(address, item, target, progress)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            failures.append(f"{address} ({error})")
        except OSError as error:
            raise OSError(f"could not write {target} ({error}); make room there or choose another root") from error
        else:
            return target
    kept = f"; the file that was there before is kept as it was: {target}" if target.exists() else ""
    raise OSError(f"could not fetch {item.name}: tried {'; '.join(failures) or 'no mirror'}{kept}")


def _fetch_into(address: str, item: Download, target: Path, progress: Progress | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() else None
        handle, temporary = tempfile.mkstemp(prefix=f".{item.name}.", suffix=".part", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as output:
                got = _copy(response, output, item, total, progress)
                output.flush()
                os.fsync(output.fileno())
            check_digest(got, item.checksum, address)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _copy(response: IO[bytes], output: IO[bytes], item: Download, total: int | None, progress: Progress | None) -> str:
    """Copy everything and return its digest; less than announced is an error."""
    hasher = new_hash(item.checksum.algorithm)
    done = 0
    while block := response.read(_BLOCK):
        hasher.update(block)
        output.write(block)
        done += len(block)
        if progress is not None:
            progress(item.name, done, total)
    if total is not None and done < total:
        raise ValueError(f"the connection ended after {done} of {total} bytes")
    return str(hasher.hexdigest())

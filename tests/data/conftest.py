import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import settings

from bitspike.data.checksum import Checksum
from bitspike.data.roots import DATA_VARIABLE, data_roots

# A busy machine is no failure: examples are limited in number, not in time.
settings.register_profile("data", deadline=None)
settings.load_profile("data")


@pytest.fixture(autouse=True)
def no_ambient_data(request, monkeypatch, tmp_path):
    """Keep the machine's own data folders and cache out of every test that does not ask for them."""
    if request.node.get_closest_marker("data") is None:
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "unused-data-root"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "unused-cache"))


@pytest.fixture
def real_folder():
    """Return a finder of real data folders that skips, saying where it looked."""

    def find(name: str) -> Path:
        places = [root / name for root in data_roots()]
        for place in places:
            if place.is_dir():
                return place
        looked = ", ".join(map(str, places))
        pytest.skip(f"no real {name} data: looked in {looked} ({DATA_VARIABLE}={os.environ.get(DATA_VARIABLE)})")

    return find


@pytest.fixture
def make_tar():
    """Return a writer of tar archives from a dict of names and contents; the mode follows the name."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        import io

        suffix = path.suffix.removeprefix(".")
        with tarfile.open(path, f"w:{suffix if suffix in ('gz', 'xz') else ''}") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def md5_of():
    """Return the md5 `Checksum` of some bytes."""
    from bitspike.data.checksum import digest

    return lambda data: Checksum("md5", digest(data, "md5"))

"""A folder belongs to one run; what a killed process held is free again."""

import errno
import fcntl
import subprocess
import sys

import pytest

from bitspike.locking import FileLock, FolderInUse, own_folder

HOLDER = """
import sys
from pathlib import Path
from bitspike.locking import own_folder
with own_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_run_a_folder_until_its_process_is_killed(tmp_path):
    folder = tmp_path / "deep" / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(FolderInUse, match=r"another process trains in .*run; wait for it, or choose another folder"),
            own_folder(folder),
        ):
            pass
        holder.kill()
    with own_folder(folder):
        assert not FileLock(folder).acquire(wait=False)
    assert FileLock(folder).acquire(wait=False)
    assert list(folder.iterdir()) == []


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(KeyError), own_folder(tmp_path):
        raise KeyError
    with own_folder(tmp_path):
        pass


def test_where_no_folder_can_be_locked_nothing_is_held(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with own_folder(tmp_path), own_folder(tmp_path), own_folder(None):
        assert list(tmp_path.iterdir()) == []

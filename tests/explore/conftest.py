"""A PostgreSQL of Debian's packages, begun for the tests that need one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from needed_tools import need_module, need_tool


@pytest.fixture(scope="session")
def postgresql(request):
    """The URL of a server of its own, user bitspike, password secret; stopped in the end."""
    need_module("psycopg")
    initdb, pg_ctl = (need_tool(name, "/usr/lib/postgresql/*/bin") for name in ("initdb", "pg_ctl"))
    folder = Path(tempfile.mkdtemp(prefix="bitspike-pg-", dir="/tmp"))  # another user's eyes reach no other place
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    (folder / "password").write_text("secret")
    user: dict = {}
    if os.getuid() == 0:  # it refuses to be run by root
        owner = pwd.getpwnam("postgres")
        for path in (folder, folder / "password"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(*command: object) -> None:
        with (folder / "log").open("ab") as log:
            done = subprocess.run(
                [str(part) for part in command], check=False, cwd=folder, stdout=log, stderr=log, **user
            )
        assert done.returncode == 0, (folder / "log").read_text()

    data = folder / "data"
    call(initdb, "-D", data, "-U", "bitspike", "-A", "scram-sha-256", "--pwfile", folder / "password", "--no-sync")
    call(pg_ctl, "-D", data, "-o", f"-p {port} -k {folder} -h 127.0.0.1 -F", "-l", folder / "server.log", "-w", "start")
    request.addfinalizer(lambda: call(pg_ctl, "-D", data, "-m", "immediate", "stop"))
    return f"postgresql://bitspike:secret@127.0.0.1:{port}/postgres"

"""What all tests share: one thread a process, and what happens where a tool or a data set is missing."""

import os
import shutil

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bitspike[train]'")
    from bitspike.allocation import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()


def need_tool(name: str) -> str:
    """The path of a command; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set."""
    path = shutil.which(name)
    if path is None:
        message = f"the command {name} is not installed"
        if os.environ.get("BITSPIKE_REQUIRE_TOOLS"):
            pytest.fail(message)
        pytest.skip(message)
    return path

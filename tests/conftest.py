"""What all tests share: one thread a process."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bitspike[train]'")
    from bitspike.allocation import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()

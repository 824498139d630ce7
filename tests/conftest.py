"""What all tests share: one thread a process, and kernels for GPUs interpreted where there is none."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not any(Path(driver).exists() for driver in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
    # Triton settles it where it is imported, which torch does by itself at times.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bitspike[train]'")
    from bitspike.allocation import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()

"""Keep the memory of freed tensors inside the process, where glibc would hand it back after every step.

Each step of training or evaluation frees and asks anew for the same large tensors. By default glibc maps each of them
afresh, and the kernel clears every page again: a third of a small network's training time on a CPU, and most of an
evaluation's with large batches (docs/FINDINGS.md).
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory for reuse; False where it is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    done = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_TOP_PAD, 64 << 20)]
    return all(done)

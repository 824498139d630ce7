"""The kernels for GPUs on the CPU: Triton interprets them in numpy, where `conftest` has told it to."""

import contextlib
import importlib.util
import os

import pytest

from bitspike.block import gpu_kernels, native

INSTALLED = importlib.util.find_spec("triton") is not None
INTERPRETS = INSTALLED and os.environ.get("TRITON_INTERPRET") == "1"
need_interpreter = pytest.mark.skipif(
    not INTERPRETS,
    reason="Triton compiles where there is a GPU; TRITON_INTERPRET=1 makes it interpret"
    if INSTALLED
    else "Triton is not installed: pip install triton (Linux, x86-64)",
)


@contextlib.contextmanager
def as_on_a_gpu():
    """Layers in training take the kernels for GPUs, unless they are to be plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels_of", lambda device: gpu_kernels if native._ALLOWED.get() else None)
        yield

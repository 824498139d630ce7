"""Finding and loading the engine's shared library; everything about it that ctypes needs to know."""

from __future__ import annotations

import ctypes
import operator
import os
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, SupportsIndex

ABI_VERSION = 2
KERNELS = ("auto", "planes", "dense", "lanes")
MOST_THREADS = 256
_NAMES = ("_engine.so", "_engine.dylib", "_engine.dll")


class Record(ctypes.Structure):
    """What a run notes besides the logits: arrays of pointers by node, each may be null."""

    _fields_ = [
        ("values", POINTER(c_void_p)),
        ("membranes", POINTER(c_void_p)),
        ("spikes", c_void_p),
    ]


class Layer(ctypes.Structure):
    """`bs_layer` of training.h: the shape, the neurons and the memory of one layer."""

    _fields_ = [
        *((name, c_int64) for name in ("steps", "samples", "height", "width", "channels")),
        *((name, c_int32) for name in ("half_sums", "half_spikes", "fixed", "pool", "soft", "levels")),
        *((name, c_float) for name in ("offset", "leak", "threshold", "per_spike")),
        *((name, c_void_p) for name in ("sums", "extra", "gain", "shift", "extra_gain", "step")),
        *((name, c_void_p) for name in ("mean", "extra_mean", "spikes", "gradient", "flow")),
    ]


_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bs_abi_version": (c_int, ()),
    "bs_build_count": (c_int, ()),
    "bs_build_name": (c_char_p, (c_int,)),
    "bs_build_usable": (c_int, (c_int,)),
    "bs_net_new": (c_void_p, (c_char_p, c_size_t, c_int, c_int, c_char_p, c_size_t)),
    "bs_net_free": (None, (c_void_p,)),
    "bs_net_bytes": (c_size_t, (c_void_p,)),
    "bs_session_new": (c_void_p, (c_void_p, c_int, c_int, c_char_p, c_size_t)),
    "bs_session_free": (None, (c_void_p,)),
    "bs_session_bytes": (c_size_t, (c_void_p,)),
    "bs_session_profile": (None, (c_void_p,)),
    "bs_session_times": (None, (c_void_p, c_void_p)),
    "bs_predict": (None, (c_void_p, c_void_p, c_int, c_void_p, c_void_p)),
    "bs_step": (None, (c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_void_p)),
    "bs_state_bytes": (c_size_t, (c_void_p,)),
    "bs_state_membrane": (None, (c_void_p, c_void_p, c_int, c_void_p, c_int)),
    "bs_state_total": (None, (c_void_p, c_void_p, POINTER(c_int64), POINTER(c_int64), c_int)),
    "bs_train_build_count": (c_int, ()),
    "bs_train_build_name": (c_char_p, (c_int,)),
    "bs_train_build_usable": (c_int, (c_int,)),
    "bs_train_moments": (c_int, (c_int, c_void_p, c_int, c_int64, c_int64, c_void_p, c_void_p)),
    "bs_train_forward": (c_int64, (c_int, POINTER(Layer), c_int64, c_int64)),
    "bs_train_backward": (c_int, (c_int, POINTER(Layer), c_int64, c_int64, c_void_p)),
    "bs_train_affine": (None, (c_int, *[c_void_p] * 2, c_int, c_int64, c_int64, *[c_void_p] * 4)),
    "bs_train_pack": (c_int, (c_int, c_void_p, c_int, c_int64, c_void_p)),
    "bs_train_unpack": (None, (c_int, c_void_p, c_int, c_int64, c_void_p)),
}


class UnusableLibrary(OSError):
    """There is a library, but it cannot be loaded or belongs to another version of the package."""


class UnusableNetwork(ValueError):
    """A network that the engine cannot run: one beyond its limits, or one whose graph is not right."""


def library_path() -> Path | None:
    """The engine's shared library: beside this module, or where BITSPIKE_ENGINE_LIBRARY says."""
    given = os.environ.get("BITSPIKE_ENGINE_LIBRARY")
    if given:
        return Path(given)
    here = Path(__file__).parent
    return next((here / name for name in _NAMES if (here / name).is_file()), None)


@cache
def library() -> ctypes.CDLL | None:
    """The loaded library, None where no engine was built; ctypes lets go of the interpreter's lock while it runs."""
    path = library_path()
    if path is None:
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise UnusableLibrary(f"the engine {path} cannot be loaded: {error}") from None
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise UnusableLibrary(f"{path} is not an engine of this bitspike: it has no {name}") from None
        function.restype, function.argtypes = result, arguments
    if loaded.bs_abi_version() != ABI_VERSION:
        raise UnusableLibrary(f"the engine {path} is of another version of bitspike; install bitspike again")
    return loaded


@cache
def builds() -> tuple[str, ...]:
    """Names of the builds that this processor can run, best first; none where no engine was built."""
    found = library()
    if found is None:
        return ()
    usable = (number for number in range(found.bs_build_count()) if found.bs_build_usable(number))
    return tuple(found.bs_build_name(number).decode() for number in usable)


def loaded_library() -> Any:
    """The library, which has to be there."""
    found = library()
    if found is None:
        raise RuntimeError("no engine was built with this installation; install a C compiler and bitspike again")
    return found


def build_number(name: str | None) -> int:
    """The number of a build by its name, the best one for None."""
    found = loaded_library()
    usable = builds()
    wanted = usable[0] if name is None else name
    if wanted not in usable:
        raise ValueError(f"the engine has no build {wanted!r} that runs here; it has {', '.join(usable)}")
    names = [found.bs_build_name(number).decode() for number in range(found.bs_build_count())]
    return names.index(wanted)


def check_kernel(kernel: str) -> None:
    """Refuse a name that is none of a kernel."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; allowed: {', '.join(KERNELS)}")


def thread_count(threads: SupportsIndex) -> int:
    """A number of threads as a plain one."""
    try:
        count = operator.index(threads)
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"threads is {threads}; allowed: 1 to {MOST_THREADS}, a whole number")
    return count

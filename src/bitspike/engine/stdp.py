"""The native kernels of the unsupervised network behind ctypes; `bitspike.stdp.native` stands on it."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_uint32, c_void_p
from functools import cache
from typing import Any

from bitspike.engine.library import UnusableLibrary, library

FLOAT, BYTES, WIDE = range(3)
"""`kind` of a net: weights are float, uint8 or uint16."""


class Net(ctypes.Structure):
    """`bs_stdp` of stdp.h: constants, and the addresses of what is learned."""

    _fields_ = [
        *((name, c_int64) for name in ("numerator", "theta_decay")),
        *(
            (f"float_{name}", c_float)
            for name in ("leak", "reset", "threshold", "inhibition", "theta_plus", "theta_leak")
        ),
        *((name, c_float) for name in ("rate_pre", "rate_post", "norm")),
        ("seed", c_uint32),
        *(
            (name, c_int32)
            for name in ("kind", "inputs", "neurons", "steps", "delay", "refractory", "strongest", "rounding")
        ),
        *((name, c_int32) for name in ("levels", "target", "limit", "scale_most", "scale_shift", "leak")),
        *((name, c_int32) for name in ("highest", "lowest", "reset", "inhibition", "threshold", "theta_shift")),
        *((name, c_int32) for name in ("theta_plus", "theta_most", "update_shift", "up", "down")),
        *((name, c_void_p) for name in ("rates", "float_trace", "trace", "weights", "theta", "scale", "unsettled")),
    ]


class Images(ctypes.Structure):
    """`bs_stdp_images` of stdp.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("pixels", "trains", "numbers")),
        ("count", c_int64),
        ("learn", c_int32),
        ("winners", c_void_p),
    ]


_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bs_stdp_build_count": (c_int, ()),
    "bs_stdp_build_name": (c_char_p, (c_int,)),
    "bs_stdp_build_usable": (c_int, (c_int,)),
    "bs_stdp_run": (c_int, (c_int, POINTER(Net), POINTER(Images))),
}


@cache
def _kernels() -> Any:
    """The library with these functions, None where no engine was built."""
    found = library()
    if found is None:
        return None
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(found, name)
        except AttributeError:
            raise UnusableLibrary(
                f"the engine has no {name}: it is of another version; install bitspike again"
            ) from None
        function.restype, function.argtypes = result, arguments
    return found


@cache
def builds() -> tuple[str, ...]:
    """Names of the builds of these kernels that this processor can run, best first; none without the library."""
    found = _kernels()
    if found is None:
        return ()
    usable = (number for number in range(found.bs_stdp_build_count()) if found.bs_stdp_build_usable(number))
    return tuple(found.bs_stdp_build_name(number).decode() for number in usable)


def run(build: str, net: Net, images: Images) -> None:
    """Present images; ctypes lets go of the interpreter's lock meanwhile."""
    found = _kernels()
    names = [] if found is None else [found.bs_stdp_build_name(n).decode() for n in range(found.bs_stdp_build_count())]
    if build not in builds():
        raise ValueError(f"there is no build {build!r} that runs here; there is {', '.join(builds()) or 'none'}")
    if found.bs_stdp_run(names.index(build), ctypes.byref(net), ctypes.byref(images)):
        raise MemoryError("there is not enough memory to present images to this network")

"""What this machine and this installation offer; every question is answered, whatever is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    # name to install, needed for, what it brings
    ("numpy", "core", "arrays"),
    ("safetensors", "core", "model files"),
    ("rich", "core", "tables and progress"),
    ("cyclopts", "core", "the command line"),
    ("torch", "train", "training; running networks where no engine was built"),
    ("scikit-learn", "train", "the digits data set"),
    ("pillow", "train", "folders of pictures"),
    ("matplotlib", "report", "pictures of figures, such as measure --plot"),
)
_X86_FLAGS = (
    "sse2",
    "sse4_2",
    "popcnt",
    "avx",
    "avx2",
    "bmi2",
    "avx512f",
    "avx512bw",
    "avx512_vpopcntdq",
    "avx512_vnni",
)
_ARM_FLAGS = ("asimd", "asimddp", "neon", "sve", "sve2", "i8mm")


def bitspike_version() -> str:
    """The version of this package and where its code lies."""
    import bitspike

    return f"{bitspike.__version__} in {Path(bitspike.__file__).parent}"


def python() -> str:
    """Version and path of the interpreter."""
    return f"{platform.python_version()} ({sys.executable})"


def platform_name() -> str:
    """Operating system and machine."""
    return platform.platform()


def packages() -> list[dict[str, Any]]:
    """The packages that bitspike uses: name, version or None, needed (core or an extra), brings, remedy."""
    return [
        {
            "name": name,
            "version": _version(name),
            "needed": needed,
            "brings": brings,
            "remedy": f"pip install {name}" if needed == "core" else f"pip install 'bitspike[{needed}]'",
        }
        for name, needed, brings in _PACKAGES
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def compiler() -> str | None:
    """The first C compiler found and its version; $CC goes first."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        try:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        return f"{told.partition(chr(10))[0]} ({path})"
    return None


def instruction_sets() -> list[str]:
    """Those of the processor that matter to integer kernels, as Linux names them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [platform.machine()]
    flags: set[str] = set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            flags |= set(value.split())
    return [flag for flag in (*_X86_FLAGS, *_ARM_FLAGS) if flag in flags] or [platform.machine()]


def threads() -> dict[str, int | None]:
    """Processors this process may use, and threads that torch takes."""
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    torch = _torch()
    return {"usable": usable, "torch": None if torch is None else torch.get_num_threads()}


def gpus() -> list[str]:
    """Names of the GPUs that torch can use."""
    torch = _torch()
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _torch() -> Any:
    """Torch, or None where it is missing or does not load."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None


def engine_builds() -> tuple[str, ...]:
    """Instruction sets for which the engine was built and that this processor has, best first; none without engine."""
    return _engine()[0]


def engine() -> str:
    """What runs integer networks here."""
    built, trouble = _engine()
    forced = os.environ.get("BITSPIKE_ENGINE", "")
    if forced and forced not in ("reference", *built):
        return f"none: BITSPIKE_ENGINE asks for {forced}; allowed here: {', '.join((*built, 'reference'))}"
    if built and forced != "reference":
        runs = forced or built[0]
        others = [name for name in built if name != runs]
        return runs + (f" (also built: {', '.join(others)})" if others else "")
    why = "BITSPIKE_ENGINE asks for it" if built else trouble
    if _torch() is not None:
        return f"reference (torch), slow: {why}"
    return f"none: {why}, and torch, on which the reference runs, is missing"


def _engine() -> tuple[tuple[str, ...], str]:
    """The usable builds, and why there are none."""
    try:
        from bitspike.engine import builds

        return builds(), "no engine was built"
    except (ImportError, OSError) as error:
        return (), " ".join(str(error).split())


def data_folders() -> list[str]:
    """Where data sets are looked for."""
    try:
        from bitspike.data import data_roots
    except ImportError:
        return []
    return [str(place) for place in data_roots()]


def datasets() -> list[dict[str, Any]]:
    """Name and presence of every data set."""
    try:
        from bitspike.data import dataset_info, dataset_names
    except ImportError:
        return []
    return [{"name": name, "present": dataset_info(name)["present"]} for name in dataset_names()]

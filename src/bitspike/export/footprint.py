"""What a linked network takes on a device, read from the linker's map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

_START = "Linker script and memory map"
_SECTION = re.compile(r"^ (\.[\w.$-]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Footprint:
    """Bytes on the device. What starts the program up, and its stack, are not the network's and left out."""

    constants: int  # weights, tables, descriptors
    code: int  # the core's, the network's functions, and what the compiler's library adds
    memory: int  # the static arena

    @property
    def flash(self) -> int:
        """Constants and code."""
        return self.constants + self.code


def read_footprint(text: str, name: str) -> Footprint:
    """The footprint of the network of that name, from the map of `make footprint` (GNU ld)."""
    _, found, body = text.partition(_START)
    sections = [(match[1], int(match[2], 16), match[3]) for match in _SECTION.finditer(body)]
    if not found or not any(PurePath(file).name == f"{name}.o" for _, _, file in sections):
        raise ValueError(f"the text is no linker map of the network {name}; `make footprint` writes one for each board")
    constants = code = memory = 0
    for section, size, file in sections:
        own = PurePath(file).name == f"{name}.o"
        core = PurePath(file).name in ("bitspike_core.o", "bitspike_sum.o") or file.endswith(")")
        if not (own or core):
            continue
        if section.startswith((".bss", ".data")):
            memory += size
        elif own and section.startswith(".rodata"):
            constants += size
        elif section.startswith((".text", ".rodata")):
            code += size
    return Footprint(constants, code, memory)

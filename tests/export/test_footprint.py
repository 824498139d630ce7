"""Sizes: what the export says is what the linker finds, for every board."""

import pytest
from board_output import make

from bitspike.export.footprint import Footprint, read_footprint
from needed_tools import need_tool


@pytest.mark.parametrize("reuse_input", [0, 1])
def test_the_report_is_what_the_linker_finds(image_export, reuse_input):
    need_tool("make")
    need_tool("arm-none-eabi-gcc")
    _, _, report = image_export
    make(report.folder, "clean")
    make(report.folder, "footprint", f"REUSE_INPUT={reuse_input}")
    for board in ("m0", "m3", "m4", "m7"):
        with open(f"{report.folder}/footprint-{board}.map", encoding="utf-8") as file:
            found = read_footprint(file.read(), report.name)
        assert found.constants == report.constant_bytes
        assert found.memory == (report.ram_bytes_reuse if reuse_input else report.ram_bytes)
        assert 2000 < found.code < 8000
        assert found.flash == found.constants + found.code
    make(report.folder, "clean")


MAP = """\
Discarded input sections
 .text.net_logits 0x00000000       0x10 build/net.o

Linker script and memory map

 .text.reset    0x00000040       0xbc build/firmware/start.o
 .text.net_init
                0x00000100       0x14 build/net.o
 .text.step     0x00000114       0x20 build/bitspike_core.o
 .rodata.place  0x00000134       0x0c build/bitspike_sum.o
 .text          0x00000140       0x08 /usr/lib/libgcc.a(_udivsi3.o)
 .rodata.weights
                0x00000150       0x40 build/net.o
 .bss.arena     0x20000000       0x64 build/net.o
 .bss.frame     0x20000064       0x10 build/firmware/footprint.o
"""


def test_what_counts_is_the_network_and_its_code():
    found = read_footprint(MAP, "net")
    assert found == Footprint(constants=0x40, code=0x14 + 0x20 + 0x0C + 0x08, memory=0x64)
    assert found.flash == 136


@pytest.mark.parametrize("text", ["", MAP.replace("Linker script", "Another"), MAP.replace("net.o", "other.o")])
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="no linker map of the network net; `make footprint` writes one"):
        read_footprint(text, "net")

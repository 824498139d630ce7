"""The exported C responds and learns as the definition says, compiled strictly."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from stdp_samples import images, small

import bitspike.export
from bitspike.stdp import StdpBits, StdpNetwork
from bitspike.stdp.export import export_stdp
from needed_tools import need_tool

STRICT = [
    "-std=c99",
    "-O1",
    "-Wall",
    "-Wextra",
    "-pedantic",
    "-Werror",
    "-fsanitize=undefined",
    "-fno-sanitize-recover",
]
compiler = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(compiler is None, reason="there is no C compiler")


def trained(**changes) -> StdpNetwork:
    network = StdpNetwork(small(**changes))
    pixels = images(40, 49)
    network.learn(pixels)
    network.assign_labels(pixels, np.arange(40) % 3, 3)
    return network


def compiled_and_run(folder, *flags: str) -> subprocess.CompletedProcess:
    sources = [str(folder / name) for name in ("stdp_selftest.c", "bitspike_stdp.c", "stdp_network.c")]
    program = str(folder / "selftest")
    subprocess.run([compiler, *STRICT, *flags, "-o", program, *sources], check=True, capture_output=True, text=True)
    return subprocess.run([program], capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.parametrize(
    "changes",
    [
        {"bits": StdpBits(4)},
        {"bits": StdpBits(3, membrane=12, threshold=12, trace=6, scale=12, ceiling=0.7)},
        {"bits": StdpBits(1), "topology": "direct"},
        {"bits": StdpBits(5, rounding="nearest"), "winner": "lowest"},
        {"bits": StdpBits(8, rounding="truncation")},
        {"bits": StdpBits(11), "seed": 2**32 - 1},
        {"bits": StdpBits(16, slack=1.0), "steps": 33, "refractory": 0.0, "inhibitory_refractory": 0.0},
    ],
    ids=lambda changes: f"{changes['bits'].weight} bits {changes['bits'].rounding}",
)
def test_the_c_equals_the_definition(changes, tmp_path):
    network = trained(**changes)
    before = network.state.copy()
    export_stdp(network, tmp_path, images(8, 49, seed=3))
    np.testing.assert_array_equal(network.state.weights, before.weights)  # exporting teaches nothing
    done = compiled_and_run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stdout + done.stderr
    done = compiled_and_run(tmp_path, "-DSTDP_LEARN=0")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stdout + done.stderr


CPP = """\
#include "bitspike_stdp.h"

int main()
{
    static const uint8_t pixels[STDP_INPUTS] = {};
    static uint16_t counts[STDP_NEURONS];
    stdp_init();
    stdp_present(pixels, STDP_IMAGES, 0, counts);
    return stdp_class(counts) < STDP_CLASSES && stdp_weight(0, 0) <= stdp_weights[0] ? 0 : 1;
}
"""


@needs_compiler
def test_the_headers_serve_a_program_in_cpp(tmp_path):
    cpp = need_tool("g++")
    export_stdp(trained(bits=StdpBits(4)), tmp_path, images(2, 49))
    (tmp_path / "app.cpp").write_text(CPP)
    names = ("bitspike_stdp", "stdp_network")
    subprocess.run([compiler, "-std=c99", "-c", *(f"{name}.c" for name in names)], cwd=tmp_path, check=True)
    flags = ["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o", "app"]
    subprocess.run([cpp, *flags, "app.cpp", *(f"{name}.o" for name in names)], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "app"], check=True)


BOARD_PRINTF = """
#include "firmware.h"
int printf(const char *text, ...);
int printf(const char *text, ...) { firmware_print(text); return 0; }
"""


@pytest.mark.parametrize(("cpu", "machine", "script"), [
    ("cortex-m0", "microbit", "microbit"), ("cortex-m3", "mps2-an385", "mps2"), ("cortex-m7", "mps2-an500", "mps2"),
])  # fmt: skip
@pytest.mark.parametrize("learning", [0, 1])
def test_boards_respond_and_learn_as_the_definition_says(cpu, machine, script, learning, tmp_path):
    arm, qemu = need_tool("arm-none-eabi-gcc"), need_tool("qemu-system-arm")
    export_stdp(trained(bits=StdpBits(3, ceiling=0.7)), tmp_path, images(3, 49, seed=3))
    (tmp_path / "board_printf.c").write_text(BOARD_PRINTF)
    firmware = Path(bitspike.export.__file__).parent / "c" / "firmware"
    own = ["stdp_selftest.c", "bitspike_stdp.c", "stdp_network.c", "board_printf.c"]
    sources = [str(tmp_path / name) for name in own] + [
        str(firmware / f"{name}.c") for name in ("start", "semihosting")
    ]
    flags = ["-std=c99", "-Os", "-Wall", "-Wextra", "-Werror", "-fno-builtin-printf", f"-DSTDP_LEARN={learning}"]
    board = [f"-mcpu={cpu}", "-mthumb", "-nostartfiles", "-T", f"{firmware}/{script}.ld"]
    where = [f"-I{firmware}", f"-L{firmware}"]
    image = str(tmp_path / "firmware.elf")
    subprocess.run([arm, *board, *where, *flags, "-o", image, *sources], check=True, capture_output=True, text=True)
    quiet = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting"]
    done = subprocess.run(
        [qemu, "-M", machine, *quiet, "-kernel", image], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).startswith("equal\n")


@needs_compiler
def test_a_difference_is_noticed(tmp_path):
    export_stdp(trained(bits=StdpBits(4)), tmp_path, images(3, 49))
    header = tmp_path / "stdp_network.h"
    header.write_text(header.read_text().replace("#define STDP_THRESHOLD ", "#define STDP_THRESHOLD 9999999 + "))
    assert compiled_and_run(tmp_path).returncode == 1


@needs_compiler
def test_make_test(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    found = export_stdp(trained(bits=StdpBits(4)), tmp_path / "out", images(2, 49))
    done = subprocess.run(["make", "-C", str(found.folder), "test"], capture_output=True, text=True, check=True)
    assert "equal" in done.stdout
    assert found.learning_bytes > found.responding_bytes


def test_bad_exports_are_named(tmp_path):
    with pytest.raises(ValueError, match="the network is a float one"):
        export_stdp(trained(), tmp_path / "a", images(2, 49))
    with pytest.raises(ValueError, match="no classes yet"):
        export_stdp(StdpNetwork(small(bits=StdpBits(4))), tmp_path / "a", images(2, 49))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        export_stdp(trained(bits=StdpBits(4)), tmp_path / "b", images(2, 49), overwrite=True)

"""`export_c`: the folder it writes builds without a warning, proves itself, and takes nothing it should not."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from board_output import expected_lines, make
from compiled_reference import need_compiler

from bitspike import IntegerNet, lower
from bitspike.export import c_name, export_c, random_samples
from bitspike.export.toolchain import SOURCES, STRICT
from needed_tools import need_tool
from networks import EventNet, ImageNet, PooledNet, events, images

NETWORK = ("tiny.c", "bitspike_core.c", "bitspike_sum.c")


@pytest.mark.parametrize("reuse_input", [0, 1])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_self_test_builds_and_prints_what_the_reference_computes(image_export, tmp_path, compiler, reuse_input):
    need_tool("make")
    net, samples, report = image_export
    folder = shutil.copytree(report.folder, tmp_path / "c")
    printed = make(folder, "test", f"CC={need_tool(compiler)}", f"REUSE_INPUT={reuse_input}")
    assert printed.splitlines() == expected_lines(net, samples)


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7"])
@pytest.mark.parametrize("optimize", ["-Os", "-O3"])
def test_it_builds_for_microcontrollers(image_export, tmp_path, cpu, optimize):
    compiler = need_tool("arm-none-eabi-gcc")
    folder = Path(image_export[2].folder)
    for reuse_input in (0, 1):
        flags = [*STRICT, f"-mcpu={cpu}", "-mthumb", optimize, f"-DBITSPIKE_REUSE_INPUT={reuse_input}"]
        subprocess.run([compiler, *flags, "-c", *(folder / name for name in NETWORK)], cwd=tmp_path, check=True)


def test_the_network_s_code_needs_no_library(image_export, tmp_path):
    """No malloc, no stdio, no floating point: whatever is not the network's own is a compiler's helper for integers."""
    compiler, reader = need_tool("arm-none-eabi-gcc"), need_tool("arm-none-eabi-nm")
    folder = Path(image_export[2].folder)
    flags = [*STRICT, "-mcpu=cortex-m0", "-mthumb", "-Os", "-r", "-nostdlib", "-o", "all.o"]
    subprocess.run([compiler, *flags, *(folder / name for name in NETWORK)], cwd=tmp_path, check=True)
    done = subprocess.run([reader, "-u", "all.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    wanted = {line.split()[-1] for line in done.stdout.splitlines()}
    assert wanted <= {"__aeabi_uidiv", "__aeabi_uidivmod", "__aeabi_idivmod", "memset", "memcpy", "__ctzsi2"}
    code = "\n".join((folder / name).read_text() for name in (*NETWORK, "bitspike_bits.h", "bitspike_core.h", "tiny.h"))
    plain = re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
    assert not re.search(r"\b(float|double|malloc|int64_t|long long)\b", plain)
    assert set(re.findall(r"#include <(.+)>", plain)) == {"stdint.h", "stddef.h"}


def test_without_builtins_it_computes_the_same(image_export, tmp_path):
    net, samples, report = image_export
    folder = shutil.copytree(report.folder, tmp_path / "c")
    printed = make(folder, "test", f"CC={need_compiler()}", "CFLAGS=-O1 -DBITSPIKE_NO_BUILTINS")
    assert printed.splitlines() == expected_lines(net, samples)


@pytest.mark.parametrize(
    ("make_net", "reuse_input"), [(lambda: ImageNet("4w8u", time_steps=2), 1), (EventNet, 0), (PooledNet, 1)]
)
def test_sanitizers_find_nothing(tmp_path, make_net, reuse_input):
    need_tool("gcc")
    net = lower(make_net().eval())
    samples = images(2).numpy() if net.graph.input.kind == "image" else events(3, 2).numpy()
    export_c(net, tmp_path, name="tiny", samples=samples)
    flags = "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    printed = make(tmp_path, "test", "CC=gcc", flags, f"REUSE_INPUT={reuse_input}")
    assert printed.splitlines()[-1] == "self-test passed"


def test_the_example_reads_raw_bytes(tmp_path):
    for net, samples in (
        (lower(ImageNet("1w2u").eval()), images(1).numpy()),
        (lower(EventNet().eval()), events(3, 1).numpy()),
    ):
        report = export_c(net, tmp_path / "c", name="tiny", overwrite=True)
        make(report.folder, "clean", "example")
        logits = net.predict(samples)[0]
        (tmp_path / "sample.raw").write_bytes(samples.tobytes())
        done = subprocess.run(
            [f"{report.folder}/example", tmp_path / "sample.raw"], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines() == [
            f"class {logits.argmax()}",
            f"logits {' '.join(map(str, logits))}",
            f"memory {report.ram_bytes} bytes",
        ]
        (tmp_path / "short.raw").write_bytes(samples.tobytes()[:-1])
        done = subprocess.run(
            [f"{report.folder}/example", tmp_path / "short.raw"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "too short: a frame has" in done.stderr


CPP = """\
#include "tiny.h"
#include "selftest.h"

int main()
{
    static const uint8_t frame[TINY_FRAME_BYTES] = {};
    tiny_init();
    int steps = 0;
    while (tiny_step(frame)) { steps++; }
    return steps == TINY_TIME_STEPS && tiny_logits() && tiny_argmax() < tiny_net.classes ? 0 : 1;
}
"""


def test_the_headers_serve_a_program_in_cpp(image_export, tmp_path):
    cpp, compiler = need_tool("g++"), need_compiler()
    folder = Path(image_export[2].folder)
    (tmp_path / "app.cpp").write_text(CPP)
    subprocess.run([compiler, *STRICT, "-c", *(folder / name for name in NETWORK)], cwd=tmp_path, check=True)
    objects = [Path(name).with_suffix(".o") for name in NETWORK]
    flags = ["-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{folder}", "-o", "app"]
    subprocess.run([cpp, *flags, "app.cpp", *objects], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "app"], check=True)


def test_mixed_choices_of_memory_do_not_link(image_export, tmp_path):
    compiler = need_compiler()
    folder = Path(image_export[2].folder)
    for name, reuse_input in (("tiny", 0), ("bitspike_core", 1), ("bitspike_sum", 1)):
        flags = [*STRICT, f"-DBITSPIKE_REUSE_INPUT={reuse_input}", "-c", "-o", tmp_path / f"{name}.o"]
        subprocess.run([compiler, *flags, folder / f"{name}.c"], check=True)
    objects = [tmp_path / Path(name).with_suffix(".o") for name in NETWORK]
    command = [compiler, f"-I{folder}", folder / "example.c", *objects, "-o", tmp_path / "example"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "bitspike_step" in done.stderr


def test_the_report_names_all_files_and_their_sizes(image_export):
    net, samples, report = image_export
    folder = Path(report.folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(report.files) <= found
    assert (report.name, report.self_test_samples) == ("tiny", len(samples))
    # 2 * 5 * 9 bytes, then in words: 5 * 5 * 9 weights of 2 bits and 45 * 4 of 8 bits.
    assert [node.operator.weight.bits for node in net.graph.spiking] == [8, 2]
    assert report.weight_bytes == 90 + 4 * (-(-450 // 32) + 45)
    assert report.weight_bytes < report.constant_bytes
    assert report.ram_bytes_reuse > report.ram_bytes
    assert report.to_dict()["ram_bytes"] == report.ram_bytes
    text = (folder / "tiny.h").read_text()
    assert f"#define tiny_ARENA_WORDS {report.ram_bytes // 4}".replace("tiny", "TINY") in text


def test_without_samples_random_ones_are_taken_and_always_the_same(tmp_path):
    net = lower(EventNet(time_steps=None, bias=False).eval())
    one, two = (export_c(net, tmp_path / name) for name in ("one", "two"))
    assert one.self_test_samples == 2
    texts = [(Path(report.folder) / "network_selftest.c").read_bytes() for report in (one, two)]
    assert texts[0] == texts[1]
    samples = random_samples(net.graph, 3)
    assert (samples.shape, samples.dtype, samples.max()) == ((4, 3, 2, 4, 4), np.uint8, 3)
    assert make(one.folder, "test").splitlines()[-1] == "self-test passed"


def test_folders_with_other_things_are_left_alone(tmp_path):
    net = lower(EventNet().eval())
    (tmp_path / "Makefile").write_text("mine")
    with pytest.raises(ValueError, match="holds files that are no earlier export; give a new or empty folder"):
        export_c(net, tmp_path, overwrite=True)
    with pytest.raises(FileExistsError, match="Makefile is a file; give a folder"):
        export_c(net, tmp_path / "Makefile")
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
    export_c(net, tmp_path / "c")
    (tmp_path / "c" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds an earlier export; give another folder, or ask to overwrite it"):
        export_c(net, tmp_path / "c")
    export_c(net, tmp_path / "c", overwrite=True)
    assert (tmp_path / "c" / "notes.txt").read_text() == "mine"


def test_a_network_of_another_name_takes_the_place_of_an_earlier_one(tmp_path):
    net = lower(EventNet().eval())
    first = export_c(net, tmp_path, name="one")
    mine = {"notes_selftest.c": "/* mine */", "notes.c": "/* mine */", "other.h": "/* mine */", "one.txt": "mine"}
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    second = export_c(net, tmp_path, name="two", overwrite=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(first.files) - set(second.files) == {"one.c", "one.h", "one_selftest.c"}
    assert left == {*second.files, *mine}
    again = export_c(net, tmp_path, name="two", overwrite=True)
    assert all((tmp_path / name).is_file() for name in again.files)


@pytest.mark.parametrize(
    "name", ["", "3d", "a-b", "é", "bitspike_net", "selftest", "Example", "Firmware", "stdint", "x" * 61, "a b", 'x"']
)
def test_names_that_are_no_prefix_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="becomes the prefix of C functions and files"):
        export_c(lower(EventNet().eval()), tmp_path / "c", name=name)
    assert not (tmp_path / "c").exists()
    assert re.fullmatch(r"[a-z][a-z0-9_]*", c_name(name))


def test_names_become_usable():
    assert [c_name(text) for text in ("qsnn-mnist-1w2u", "8bit", "host", "", "net")] == [
        "qsnn_mnist_1w2u",
        "net_8bit",
        "net_host",
        "net",
        "net",
    ]


def test_wrong_samples_are_refused_before_anything_is_written(tmp_path):
    net = lower(ImageNet("1w2u").eval())
    for samples, message in (
        (np.zeros((1, 2, 6, 5), np.uint8), "the network takes"),
        (np.zeros((0, 2, 6, 6), np.uint8), "samples are none; give at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            export_c(net, tmp_path / "c", samples=samples)
    assert not (tmp_path / "c").exists()


def test_a_graph_that_cannot_be_run_is_refused(tmp_path):
    net = lower(ImageNet("1w2u").eval())
    broken = IntegerNet(type(net.graph)(net.graph.nodes[:2] + net.graph.nodes[3:]))
    with pytest.raises(ValueError, match=r"pool: it reads 'second', which is no node before it"):
        export_c(broken, tmp_path / "c")


def test_strange_names_of_nodes_stay_out_of_the_code(tmp_path):
    from dataclasses import replace

    net = lower(EventNet().eval())
    odd = 'conv*/ "\\\\ é'
    nodes = [replace(node, name=odd) if node.name == "conv" else node for node in net.graph.nodes]
    nodes = [replace(node, source=odd) if getattr(node, "source", "") == "conv" else node for node in nodes]
    report = export_c(IntegerNet(type(net.graph)(tuple(nodes))), tmp_path / "c")
    assert make(report.folder, "test").splitlines()[-1] == "self-test passed"


def test_the_package_ships_its_c_sources():
    assert {"bitspike_core.c", "bitspike_sum.c", "watch.c", "Makefile.in"} <= {path.name for path in SOURCES.iterdir()}

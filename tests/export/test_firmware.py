"""The self-test as firmware on emulated boards: the spikes and logits of the reference, within the boards' memory."""

import re
import shutil

import pytest
from board_output import expected_lines, make, stack_bytes

from needed_tools import need_tool

RAM = {"m0": 16 * 1024, "m3": 4 << 20, "m4": 4 << 20, "m7": 4 << 20}


@pytest.fixture(scope="module", autouse=True)
def tools():
    for name in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
        need_tool(name)


@pytest.mark.parametrize(
    ("model", "board"),
    [
        ("qsnn-digits-1w2u", "m0"),
        ("qsnn-mnist-1w2u", "m0"),
        ("qsnn-mnist-1w2u", "m3"),
        ("qsnn-mnist-1w2u", "m4"),
        ("qsnn-mnist-1w2u", "m7"),
    ],
)
def test_boards_compute_what_the_reference_computes(model_exports, model, board):
    net, samples, report = model_exports[model]
    printed = make(report.folder, f"run-{board}")
    assert [line for line in printed.splitlines() if not line.startswith("stack")] == expected_lines(net, samples)
    assert report.ram_bytes + stack_bytes(printed) < RAM[board]


def test_kept_sums_give_the_same_spikes(model_exports, tmp_path):
    net, samples, report = model_exports["qsnn-mnist-1w2u"]
    folder = shutil.copytree(report.folder, tmp_path / "c", ignore=shutil.ignore_patterns("build", "*.elf", "*.map"))
    printed = make(folder, "run-m4", "REUSE_INPUT=1")
    assert printed.splitlines()[:-1] == expected_lines(net, samples)


def test_a_board_that_computes_something_else_fails(model_exports, tmp_path):
    _, _, report = model_exports["qsnn-digits-1w2u"]
    folder = shutil.copytree(report.folder, tmp_path / "c", ignore=shutil.ignore_patterns("build", "*.elf", "*.map"))
    network = folder / "network.c"
    text = network.read_text()
    first = re.search(r"layer_0_threshold\[\d+\] = \{\s+(-?\d+)", text)
    network.write_text(text[: first.start(1)] + "2147483647" + text[first.end(1) :])
    with pytest.raises(AssertionError, match=r"layer conv1 spikes \d+ hash \w+ WRONG, expected spikes[\s\S]*FAILED"):
        make(folder, "run-m0")


def test_too_little_memory_is_refused_by_the_linker(model_exports, tmp_path):
    _, _, report = model_exports["qsnn-mnist-1w2u"]
    folder = shutil.copytree(report.folder, tmp_path / "c", ignore=shutil.ignore_patterns("build", "*.elf", "*.map"))
    with pytest.raises(AssertionError, match=r"will not fit in region|no room"):
        make(folder, "firmware-m0.elf", "REUSE_INPUT=1")

"""Where weights and values lie in the exported C, worked out by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings

from bitspike import IntegerNet, lower
from bitspike.export.plan import make_plan
from bitspike.export.vectors import spike_hash
from bitspike.export.weights import byte_rows, pack_rows, to_words
from bitspike.export.write import export_c
from strategies import RandomNet, plans

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")


def test_the_mnist_network_s_memory_by_hand():
    plan = make_plan(IntegerNet.load(ROOT / "models" / "qsnn-mnist-1w2u.bsp").graph)
    membranes = (28 * 28 * 32 + 14 * 14 * 64) * 2 // 32
    state = 1 + 10 + membranes
    # Scratch: the first layer's 32 sums; the readout counts in bits(255 * 3136) = 20 planes of one word.
    counters = 32
    # Values: the spikes of both convolutions never live together; the first with its pooled map is the most.
    values = 28 * 28 + 14 * 14
    assert plan.state_words == state == 2363
    assert plan.arena_words == state + counters + values == 3375
    # The first layer's sums: 9 8-bit weights (up to 127) of pixels within -33 and 222.
    bits = plan.layers[0].sum.kept_bits
    assert 12 <= bits <= (127 * 9 * 222).bit_length() + 1
    assert plan.arena_words_reuse == plan.arena_words + 28 * 28 * bits  # 32 channels: a word a bit


def test_weights_lie_in_the_order_in_which_they_are_read():
    codes = np.zeros((2, 3, 1, 2), np.int8)  # [C_out, C_in, kh, kw]
    codes[1, 0, 0, 1] = 1
    (word,) = pack_rows(codes, "signed", 2)
    q = 0b10  # 0 + 2 on the grid of 2 bits
    rows = [[q, q], [q, q], [q, q], [q, q + 1], [q, q], [q, q]]  # (column, input): outputs
    bits = [(value >> plane) & 1 for row in rows for plane in range(2) for value in row]
    assert int(word) == sum(bit << place for place, bit in enumerate(bits))
    assert pack_rows(np.array([[[[1]]], [[[-1]]], [[[1]]]]), "binary", 1).tolist() == [0b101]
    assert pack_rows(np.array([[[[3]]], [[[-1]]]]), "odd", 2).tolist() == [0b0111]  # q = 3, 1: plane 0 11, plane 1 01


def test_wide_weights_of_wide_values_are_bytes():
    sums = make_plan(IntegerNet.load(ROOT / "models" / "qsnn-mnist-1w2u.bsp").graph).sums
    assert [total.as_bytes for total in sums] == [True, False, False]  # the readout is 8-bit too, but reads spikes
    codes = np.arange(-6, 6).reshape(2, 3, 1, 2)  # [C_out, C_in, kh, kw]
    assert byte_rows(codes).tolist() == [-6, 0, -4, 2, -2, 4, -5, 1, -3, 3, -1, 5]


def test_bits_become_words_lowest_first():
    assert to_words(np.array([1, 0, 1], np.uint8)).tolist() == [5]
    assert to_words(np.eye(1, 33, 32, dtype=np.uint8)[0]).tolist() == [0, 1]


def test_the_hash_by_hand():
    spikes = np.zeros((2, 2, 1, 2), np.int32)  # [T, C, H, W]
    spikes[0, 1, 0, 0] = spikes[1, 0, 0, 1] = 1  # column 0 channel 1: bit 1; column 1 channel 0: bit 2
    first = ((2166136261 ^ 2) * 16777619) % 2**32
    assert spike_hash(spikes) == ((first ^ 4) * 16777619) % 2**32


@settings(max_examples=40)
@given(plans())
def test_what_lives_at_the_same_time_does_not_share_words(plan):
    try:
        made = make_plan(lower(RandomNet(plan).eval()).graph)
    except ValueError:
        assume(False)
    spans = [(layer.membrane_at, layer.membrane_words) for layer in made.layers]
    spans = [(0, 1 + len(made.graph.readout.bias)), *spans]
    assert [start for start, _ in spans[1:]] == [start + size for start, size in spans[:-1]]
    assert made.state_words == spans[-1][0] + spans[-1][1]
    last = {}
    for at, step in enumerate(made.steps):
        for number in step.reads:
            last[number] = at
    for at, step in enumerate(made.steps):
        if step.makes is None:
            continue
        mine = made.maps[step.makes]
        assert mine.at >= made.scratch_at + max(total.scratch_words for total in made.sums)
        assert mine.at + mine.words <= made.arena_words
        for earlier in made.steps[:at]:
            other = made.maps[earlier.makes]
            if last.get(earlier.makes, -1) >= at:
                assert mine.at + mine.words <= other.at or other.at + other.words <= mine.at
    ends = [value.at + value.words for value in made.maps if not value.is_frame]
    assert made.arena_words == max([made.skip_scratch_at, *ends])


def test_the_documented_sizes_are_the_measured_ones(tmp_path):
    rows = json.loads((ROOT / "results" / "c_export.json").read_text())["rows"]
    text = (ROOT / "docs" / "reference" / "c-export.md").read_text()
    for case in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == case]
        fitting = next(row for row in of_case if row["fits"])
        flash = [f"{row['flash']:,}" if row["fits"] else "–" for row in of_case]
        cells = [f"{fitting[key]:,}" for key in ("weights", "constants")] + flash
        cells += [f"{fitting[key]:,}" for key in ("ram", "ram_reuse")]
        assert f"| `{case}` | {' | '.join(cells)} |" in text
        if (ROOT / "models" / f"{case}.bsp").is_file():
            report = export_c(IntegerNet.load(ROOT / "models" / f"{case}.bsp"), tmp_path / case)
            assert (fitting["constants"], fitting["ram"]) == (report.constant_bytes, report.ram_bytes)
    assert re.search(r"\| `qsnn-digits-1w2u` \|", text)

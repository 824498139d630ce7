"""`bitspike measure`: by name and by file, with and without samples."""

import sys

import numpy as np
import pytest

from bitspike import create_model, lower
from bitspike.cli.measure import _measure_integers
from bitspike.data import Dataset
from bitspike.measuring import measure
from networks import EventNet


def test_a_name_in_other_bits(cli):
    found = cli("measure", "small8", "--spec", "1w2u", "--json").json
    table = measure(create_model("small8", spec="1w2u"))
    assert found["totals"]["memory"] == table.memory.to_dict()
    assert found["totals"]["float_memory"] == table.float_memory.to_dict()
    assert found["memory_ratio"] == pytest.approx(table.float_memory.total / table.memory.total)
    assert found["totals"]["energy"] is None
    assert found["activity"] == []
    assert [row["weight_bits"] for row in found["layers"]] == [8, 1, 8]


def test_settings_and_batch(cli):
    one = cli("measure", "small8", "--spec", "1w2u", "--set", "classes=3", "--set", "time_steps=2", "--json").json
    four = cli("measure", "small8", "--spec", "1w2u", "--set", "classes=3", "--batch", "4", "--json").json
    assert one["time_steps"] == 2
    assert one["layers"][-1]["weights"] == 3 * 128
    assert four["totals"]["memory"]["membrane_all"] == 4 * one["totals"]["memory"]["membrane_all"]
    assert four["totals"]["memory"]["model"] == one["totals"]["memory"]["model"]


def test_a_model_file_with_samples(cli, trained):
    done = cli("measure", trained["small"], "--samples", "40", "--json")
    found = done.json
    assert done.code == 0
    assert found["data"] == "digits"
    assert found["samples"] == 40
    assert [row["name"] for row in found["activity"]] == ["conv1", "conv2"]
    assert all(0 < row["firing_rate"] < 1 and 0 < row["weight_entropy"] < 0.6932 for row in found["activity"])
    assert found["totals"]["operations"]["synaptic"] > 0
    assert found["totals"]["energy"]["joules"] > 0
    assert any("pJ per addition" in line for line in found["totals"]["energy"]["assumptions"])


def test_the_tables_hold_both_conventions_and_the_assumptions(cli, trained):
    shown = cli("measure", trained["small"], "--data", "digits", "--samples", "10").out
    for text in ("total, all layers resident", "total, largest layer resident", "in 32-bit floats", "energy assumes"):
        assert text in shown
    assert "rates and activity: 10 samples of digits test" in shown


def test_notes_tell_what_the_numbers_cannot(cli, trained):
    notes = cli("measure", trained["float"], "--json").json["notes"]
    assert any("no integer form" in note for note in notes)
    slow = cli("measure", "small8", "--spec", "1w2u", "--json").json["notes"]
    assert any("never leak" in note for note in slow)
    assert any("random" in note for note in cli("measure", "small8", "--data", "digits", "--json").json["notes"])


def test_two_models_side_by_side(cli, trained):
    done = cli("measure", trained["float"], "--compare", trained["small"], "--samples", "20", "--json")
    rows = done.json["compare"]["activity"]
    assert [row["name"] for row in rows] == ["conv1", "conv2"]
    assert [row["before"] for row in rows] == done.json["activity"]
    assert rows[0]["after"] != rows[0]["before"]
    assert done.json["compare"]["totals"]["memory"]["total"] < done.json["totals"]["memory"]["total"]
    shown = cli("measure", trained["float"], "--compare", trained["small"], "--samples", "20").out
    assert "->" in shown


def test_event_networks_are_measured_on_their_own_binning(cli, trained, event_root):
    found = cli("measure", trained["events"], "--samples", "6", "--data-root", event_root, "--json").json
    assert found["time_steps"] == 3
    assert found["samples"] == 6
    assert found["layers"][0]["input_rate"] is not None


def test_open_time_is_that_of_the_samples(cli, tmp_path):
    net = lower(EventNet(time_steps=None, bias=False))
    net.save(tmp_path / "open.bsp")
    found = cli("measure", "open.bsp")
    assert "one step of any number" in found.out
    assert "operations for one time step" in found.out
    assert cli("measure", "open.bsp", "--json").json["time_steps"] is None
    data = Dataset("made", "test", np.ones((4, 5, 2, 4, 4), np.uint8), np.zeros(4, np.int64), 3, bound=3)
    table = _measure_integers(net, "open", data, 1).table
    assert (table.time_steps, table.operations.time_steps) == (5, 5)


def test_a_file_is_complete_and_takes_no_settings(cli, trained):
    done = cli("measure", trained["small"], "--set", "classes=3")
    assert done.code == 2
    assert "is a file and complete" in done.err


def test_an_integer_network_costs_what_its_model_costs(cli, trained, written):
    for name in ("small", "events"):
        model = cli("measure", trained[name], "--batch", "3", "--json").json
        file = cli("measure", written[name], "--batch", "3", "--json").json
        assert file["totals"] == model["totals"]
        # QP-SNN's estimate needs the latent weights, which a file of integers does not hold.
        estimates = [row.pop("utilization_estimate") for row in model["layers"]]
        assert all(0 < estimate <= 1 for estimate in estimates)
        assert [row.pop("utilization_estimate") for row in file["layers"]] == [None] * len(estimates)
        assert file["layers"] == model["layers"]
        assert any("taken to have had a batch norm" in note for note in file["notes"])


def test_an_integer_network_fires_as_its_model_does(cli, trained, written):
    model = cli("measure", trained["small"], "--samples", "40", "--json").json
    file = cli("measure", written["small"], "--samples", "40", "--json").json
    assert file["totals"] == model["totals"]
    assert file["activity"] == model["activity"]
    both = cli("measure", trained["small"], "--compare", written["small"], "--samples", "40", "--json").json
    assert both["compare"]["totals"] == model["totals"]


def test_an_integer_network_is_complete(cli, written):
    done = cli("measure", written["small"], "--spec", "1w4u")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is an integer network and complete" in done.err


def test_utilization_of_every_layer(cli, trained):
    done = cli("measure", "small8", "--spec", "1w2u", "--json").json
    first, second, readout = done["layers"]
    assert (second["levels"], second["levels_used"], second["utilization"]) == (2, 2, 1.0)
    assert first["levels"] == readout["levels"] == 255
    assert first["utilization"] == first["levels_used"] / 255
    shown = cli("measure", "small8", "--spec", "1w2u").out
    assert "bit-width utilization of the weights" in shown
    assert "2 of 2" in shown
    assert max(map(len, shown.splitlines())) <= 120
    plain = cli("measure", "small8", "--json").json["layers"]
    assert [row["utilization"] for row in plain] == [None] * 3
    assert "bit-width utilization" not in cli("measure", "small8").out
    both = cli("measure", trained["small"], "--compare", trained["small"], "--samples", "5").out
    assert "other" in both


def test_a_plot_of_the_levels_in_use(cli, trained, tmp_path):
    pytest.importorskip("matplotlib")
    for name, start in (("levels.png", b"\x89PNG"), ("levels.svg", b"<?xml")):
        done = cli("measure", "small8", "--spec", "4w4u", "--plot", tmp_path / name, "--json")
        assert done.code == 0
        assert done.json["plot"] == str(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    drawn = (tmp_path / "levels.svg").stat().st_size
    both = cli(
        "measure", trained["small"], "--compare", trained["small"], "--samples", "5", "--plot", tmp_path / "b.svg"
    )
    assert both.code == 0
    assert (tmp_path / "b.svg").stat().st_size > drawn
    done = cli("measure", "small8", "--plot", tmp_path / "none.png")
    assert (done.code, "no layer on a grid" in done.err) == (2, True)


def test_a_plot_that_cannot_be_is_refused_before_anything_is_measured(cli, tmp_path, monkeypatch):
    done = cli("measure", "small8", "--plot", tmp_path / "levels.txt")
    assert (done.code, "ends in .png, .svg, .pdf" in done.err) == (2, True)
    done = cli("measure", "small8", "--plot", tmp_path / "no" / "levels.png")
    assert (done.code, "there is no folder" in done.err) == (2, True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cli("measure", "small8", "--plot", tmp_path / "levels.png")
    assert done.code != 0
    assert "--plot needs matplotlib, which is not installed: pip install 'bitspike[report]'" in done.err
    assert done.err.count("\n") == 1

"""QP-SNN's networks as they are after pruning ours: every printed size and count, to the last digit."""

import json

import pytest

import pruned_sizes
from bitspike import create_model
from bitspike.cost import qpsnn_model_size
from bitspike.measuring import describe
from bitspike.prune import PRESETS, prunable_channels, prune_
from bitspike.train import ModelHeader, load_model, save_model
from pruned_sizes import EVENTS, TABLE_1


def orders_of(net):
    return {name: range(channels) for name, channels in prunable_channels(net).items()}


@pytest.mark.parametrize(("preset", "options", "printed"), TABLE_1)
def test_table_1(preset, options, printed, tmp_path):
    model = PRESETS[preset].model
    net = create_model(model, **options)
    report = prune_(net, ratios=preset, orders=orders_of(net))
    assert report.layers[-1].ratio == 0
    save_model(net, tmp_path / "model.safetensors", ModelHeader(model, options))
    rows = describe(load_model(tmp_path / "model.safetensors")[0])
    sizes = [f"{qpsnn_model_size(rows, bits) / 1e6:.2f}" for bits in (8, 4, 2)]
    assert " ".join(sizes) == printed
    assert report.parameters_after == sum(row.parameters for row in rows)
    named = preset.rsplit("-", 1)[1]
    if named.endswith("M") and named != "0.25M":  # that one is named without its batch norms
        decimals = len(named.removesuffix("M").partition(".")[2])
        assert f"{report.parameters_after / 1e6:.{decimals}f}M" == named


def test_every_preset_is_checked():
    assert {preset for preset, _, _ in TABLE_1} == set(PRESETS)


def test_rows_hold_what_is_printed_counted_and_saved(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        "sys.argv", ["pruned_sizes.py", "--json", "--only", "vggsnn-0.25M", "--out", str(tmp_path / "r.json")]
    )
    assert pruned_sizes.main() == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "r.json").read_text())
    assert [(row["bits"], round(row["counted_bytes"] / 1e6, 2)) for row in result["rows"]] == [
        (8, 0.4),
        (4, 0.29),
        (2, 0.24),
    ]
    for row in result["rows"]:
        assert (row["case"], row["classes"]) == ("qpsnn-vggsnn-0.25M", EVENTS.get("classes", 10))
        assert row["printed_megabytes"] == round(row["counted_bytes"] / 1e6, 2)
        hidden = row["parameters"] * row["bits"] / 8
        assert hidden < row["file_bytes"] < row["counted_bytes"]  # our ends have 8 bits instead of 32

"""Numbers in words, plain tables, and what `print` shows of a report."""

import pytest
import torch

from bitspike import calibrate_, certify, create_model, import_torch, lower, measure, prune_, quantize_, wording
from bitspike.data import load
from bitspike.explore.exploration import Exploration, Row
from bitspike.explore.selection import Baseline
from bitspike.runtime import evaluate_integers
from bitspike.train import evaluate, read_recipe, train_recipe


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.percent(0.98765), "98.77 %"),
        (wording.percent(1.0, 1), "100.0 %"),
        (wording.percent(None), ""),
        (wording.size(999), "999 B"),
        (wording.size(1000), "1.00 kB"),
        (wording.size(30_696), "30.7 kB"),
        (wording.size(999_600), "1.00 MB"),
        (wording.size(1_627_402), "1.63 MB"),
        (wording.size(50_801_192), "50.8 MB"),
        (wording.amount(9216), "9,216"),
        (wording.amount(12_569_226), "12.6 M"),
        (wording.amount(4.57e9), "4.57 G"),
        (wording.amount(None), ""),
        (wording.seconds(0.123), "0.1 s"),
        (wording.seconds(41.4), "41 s"),
        (wording.seconds(119.7), "2 min 0 s"),
        (wording.seconds(7380), "2 h 3 min"),
        (wording.joules(1.24e-7), "124 nJ"),
        (wording.joules(3e-3), "3 mJ"),
        (wording.joules(0.0), "0 pJ"),
        (wording.ratio(30_696, 2634), "11.7x"),
        (wording.ratio(1, 0), ""),
        (wording.shape([3, 32, 32]), "3x32x32"),
    ],
)
def test_numbers_in_words(written, expected):
    assert written == expected


def test_columns_align_and_end_without_blanks():
    shown = wording.columns(("layer", "bytes", ""), [("conv", "12", "x"), ("fc", "1,024", "")], left=(0, 2))
    assert shown == "layer  bytes\nconv      12  x\nfc     1,024"
    assert wording.columns(("a", "b"), []) == "a  b"


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return create_model("small8", spec="1w2u", time_steps=2).eval()


def test_a_cost_table_prints_its_layers_and_totals(net):
    costs = measure(net)
    first, names, *layers, totals = str(costs).splitlines()
    assert first == "small8, T = 2, one image"
    assert names.split()[:4] == ["layer", "kind", "bits", "weights"]
    assert [line.split()[0] for line in layers] == [row.name for row in costs.rows]
    assert totals.startswith(f"{costs.parameters:,} parameters; {wording.size(costs.memory.total)} with all")
    assert "joule" not in totals  # no firing rates, no energy
    assert f"in 32-bit floats {wording.size(costs.float_memory.total)}" in totals


def test_a_cost_table_with_rates_prints_the_energy(net):
    digits = torch.from_numpy(load("digits", "test").inputs[:8])
    costs = measure(net, [digits])
    assert str(costs).endswith(f"synaptic operations; about {wording.joules(costs.energy.joules)}")


def test_an_evaluation_says_its_form(net):
    digits = load("digits", "test").subset(slice(0, 20))
    for found in (evaluate(net, digits), evaluate_integers(lower(net), digits)):
        assert found.form == found.to_dict()["form"] == "integer"
        first, _, *layers = str(found).splitlines()
        assert first.startswith(f"{wording.percent(found.accuracy)} as integers: {found.correct} of 20 samples in ")
        assert [line.split()[0] for line in layers] == list(found.firing_rates)
    wide = evaluate(create_model("small8", spec="32w32u"), digits)
    assert wide.form == "float"
    assert "in floating point" in str(wide)
    half = create_model("small8", spec="1w2u")
    quantize_(half, {"bits": "1w2u", "override": {"conv2": {"weight": {"bits": 32}}}})
    assert evaluate(half, digits).form == "float"  # one layer in floating point


def test_what_changes_a_network_prints_layer_by_layer():
    net = create_model("small8", spec="32w32u", time_steps=2)
    digits = load("digits", "train")
    report = quantize_(net, "1w2u")
    assert [line.split() for line in str(report).splitlines()][1::2] == [
        ["conv1", "8", "twos_complement,", "abs_max", "2"],
        ["readout", "8", "twos_complement,", "abs_max"],
    ]
    assert [line.split()[0] for line in str(report).splitlines()[1:]] == [item.name for item in report.layers]
    pruned = prune_(net, digits, ratios=0.5, batches=1)
    *_, totals = str(pruned).splitlines()
    assert totals.startswith(f"parameters {pruned.parameters_before:,} -> {pruned.parameters_after:,}, memory ")
    found = calibrate_(net, "4w4u", [torch.from_numpy(digits.inputs[:64])])
    assert str(found).startswith(str(found.layers))


def test_a_certificate_prints_its_verdict(net):
    found = certify(lower(net), load("digits", "test"), count=4, compiled=False)
    assert str(found).splitlines()[-1] == "certified: 4 samples of digits test, no difference in any number"
    assert "not compared: " in str(found)


def test_an_exploration_prints_the_front():
    rows = (
        Row(0, "complete", {"weight.bits": 4}, {"accuracy": 0.9, "memory": 500}),
        Row(1, "complete", {"weight.bits": 2}, {"accuracy": 0.8, "memory": 800}),
        Row(2, "failed", {"weight.bits": 1}, {"error": "no"}),
    )
    found = Exploration(("accuracy", "memory"), Baseline(0.91, 2000, 100), rows, {})
    first, _, start, only = str(found).splitlines()
    assert first == "3 candidates: 2 complete, 0 stopped, 1 failed; no other one beats these"
    assert start.split() == ["float", "network", "91.00", "%", "2.00", "kB", "1.0x"]
    assert only.split() == ["0", "weight.bits=4", "90.00", "%", "-1.00", "500", "B", "4.0x"]


def test_a_training_result_prints_its_accuracies(tmp_path):
    recipe = read_recipe("qsnn-digits-1w2u", ["train.epochs=1"])
    result = train_recipe(recipe, show_progress=False, out=tmp_path)
    tested = wording.percent(result.results["test_accuracy"])
    assert str(result).startswith("small8: ")
    assert str(result).endswith(f"{tested} of the test split, in {tmp_path / 'model.safetensors'}")


def test_an_import_prints_what_was_compared():
    snn = pytest.importorskip("snntorch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif, self.out = torch.nn.Linear(16, 8), snn.Leaky(beta=0.5), torch.nn.Linear(8, 3)

        def forward(self, x):
            mem, steps = self.lif.init_leaky(), []
            for step in x:
                spikes, mem = self.lif(self.fc(step.flatten(1)), mem)
                steps.append(self.out(spikes))
            return torch.stack(steps)

    torch.manual_seed(0)
    report = import_torch(Net(), [1, 4, 4], 2).imported
    assert str(report).splitlines()[1].split()[:2] == [report.layers[0].name, report.layers[0].sources[0]]
    assert report.totals() in str(report)

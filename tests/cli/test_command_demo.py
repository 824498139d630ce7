"""`bitspike demo`, with fewer epochs."""

import pytest

from bitspike import lower
from bitspike.data import load
from bitspike.train import load_model


@pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")
def test_the_demo_end_to_end(cli, tmp_path):
    done = cli("demo", "--epochs", "3", "--json")
    found = done.json
    assert done.code == 0
    small, plain = found["quantized"], found["float"]
    assert small["equal_to_eval"] is True
    assert small["form"] == "integer"
    assert plain["form"] == "float"
    assert small["accuracy"] > 0.5
    assert found["memory_ratio"] == plain["memory"]["total"] / small["memory"]["total"] > 8
    assert small["parameters"] == plain["parameters"]
    assert list(small["firing_rates"]) == list(plain["firing_rates"]) == ["conv1", "conv2"]

    net, _ = load_model(tmp_path / small["model_file"])
    data = load("digits", "test")
    assert int((lower(net).predict(data.inputs).argmax(1) == data.labels).sum()) == small["correct"]

    again = cli("demo", "--epochs", "3")
    assert again.code == 0
    assert "trained already" in again.err
    assert "as integers" in again.out
    assert "are the same in every logit" in again.out
    (line,) = [text for text in again.out.splitlines() if " evaluate " in text]
    evaluated = cli(*line.split(" evaluate ")[1].join(["evaluate ", " --json"]).split())
    assert evaluated.code == 0
    assert evaluated.json["accuracy"] == small["accuracy"]


def test_integers_that_disagree_fail_the_demo(cli, monkeypatch):
    from bitspike.runtime import IntegerNet

    real = IntegerNet.predict
    monkeypatch.setattr(IntegerNet, "predict", lambda self, samples: real(self, samples) + 1)
    done = cli("demo", "--epochs", "1", "--json", "--quiet")
    assert done.code == 1
    assert done.json["quantized"]["equal_to_eval"] is False
    assert done.err == ""

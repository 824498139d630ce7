"""`bitspike certify`, and what `evaluate` says of certificates."""

import json
import subprocess
import sys

import pytest

from bitspike import IntegerNet
from bitspike.engine import Engine, builds
from bitspike.runtime import participants
from bitspike.runtime.state import fingerprint


@pytest.fixture
def file(written, tmp_path):
    """A copy that may be changed."""
    path = tmp_path / "x.bsp"
    path.write_bytes(written["small"].read_bytes())
    return path


class SpoiledEngine(Engine):
    """An engine whose dense kernel gives one wrong spike: sample 3, step 1, channel 2, y 1, x 0."""

    def run(self, samples, **options):
        found = super().run(samples, **options)
        if self.kernel == "dense" and "conv2" in found.values:
            found.values["conv2"][1, 3, 2, 1, 0] ^= 1
        return found


def test_the_certificate_is_written_into_the_file(cli, file):
    before = IntegerNet.load(file)
    done = cli("certify", file, "--samples", "20", "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    after = IntegerNet.load(file)
    assert (found["certified"], found["difference"], found["file"]) == (True, None, str(file))
    assert found["certificate"] == after.about.certificate
    assert (found["data"], found["split"], after.about.certificate["samples"]) == ("digits", "test", 20)
    assert after.about.certificate["sha256"]["network"] == fingerprint(before.graph) == fingerprint(after.graph)
    assert (after.about.provenance, after.about.results) == (before.about.provenance, before.about.results)
    runners = {each["runner"] for each in found["certificate"]["compared"]}
    assert runners >= {"reference", *(f"engine {name}" for name in builds())}


def test_events_are_certified(cli, written, event_root, tmp_path):
    done = cli("certify", written["events"], "--data-root", event_root, "--out", "certified.bsp", "--json")
    assert done.code == 0
    assert done.json["certificate"]["samples"] == 10
    assert IntegerNet.load(written["events"]).about.certificate is None
    assert IntegerNet.load(tmp_path / "certified.bsp").about.certificate == done.json["certificate"]


def test_a_model_file_is_lowered_only_where_asked(cli, trained, written, tmp_path):
    if not builds():
        pytest.skip("no engine was built with this installation")
    done = cli("certify", trained["small"], "--samples", "3", "--no-c")
    assert done.code == 0
    assert "nothing was written, since only a .bsp holds a certificate" in done.out
    assert "not compared: compiled C: left out as asked" in done.out
    assert list(tmp_path.iterdir()) == []
    done = cli("certify", trained["small"].parent, "--samples", "3", "--no-c", "--out", "new.bsp", "--json")
    assert (done.code, done.json["file"]) == (0, "new.bsp")
    made, lowered = IntegerNet.load("new.bsp"), IntegerNet.load(written["small"])
    assert fingerprint(made.graph) == fingerprint(lowered.graph)
    assert made.about.provenance == lowered.about.provenance
    assert made.about.certificate == done.json["certificate"]


def test_what_was_compared_is_shown(cli, file):
    done = cli("certify", file, "--samples", "3")
    text = " ".join(done.out.split())
    assert done.code == 0
    assert "certified: 3 samples of digits test, no difference in any number" in text
    assert "compared with the reference" in text
    assert "layer by" in text  # a narrow terminal breaks the cell
    assert text.endswith(f"certificate written into {file}")


@pytest.mark.skipif(not builds(), reason="no engine was built with this installation")
def test_a_difference_fails_and_is_named(cli, file, monkeypatch):
    monkeypatch.setattr(participants, "Engine", SpoiledEngine)
    before = file.read_bytes()
    shown = cli("certify", file, "--samples", "5", "--no-c")
    told = cli("certify", file, "--samples", "5", "--no-c", "--json")
    assert (shown.code, told.code) == (1, 1)
    assert file.read_bytes() == before
    found = told.json["difference"]
    assert found == {
        "runner": f"engine {builds()[0]}",
        "kernel": "dense",
        "order": "layers",
        "what": "spike",
        "layer": "conv2",
        "step": 1,
        # Five samples spread over the test split, and it is the fourth.
        "sample": found["sample"],
        "neuron": [2, 1, 0],
        "expected": found["expected"],
        "found": 1 - found["expected"],
    }
    assert found["sample"] > 4
    assert (told.json["certified"], told.json["certificate"], told.json["file"]) == (False, None, None)
    line = (
        f"NOT certified, nothing was written. engine {builds()[0]}, kernel dense, in the order of layers: layer conv2, "
        f"step 1, sample {found['sample']}, channel 2, y 1, x 0: the spike is {found['found']}, the reference has "
        f"{found['expected']}"
    )
    assert shown.out.strip() == line


@pytest.mark.skipif(not builds(), reason="no engine was built with this installation")
def test_the_process_ends_with_that_exit_code(file, environment):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_command_certify import SpoiledEngine, participants\n"
        "participants.Engine = SpoiledEngine\n"
        "from bitspike.cli import main\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    folder = __file__.rpartition("/")[0]
    words = [sys.executable, "-c", code, folder, "certify", str(file), "--samples", "5", "--no-c", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["difference"]["kernel"] == "dense"


def test_evaluate_tells_of_the_certificate(cli, file):
    assert cli("evaluate", file, "--limit", "3", "--json").json["certified"] is None
    made = cli("certify", file, "--samples", "3", "--json").json["certificate"]
    told = cli("evaluate", file, "--limit", "3")
    assert told.out.splitlines()[-1] == f"certified on 3 samples of digits test, {made['date'][:10]}"
    assert cli("evaluate", file, "--limit", "3", "--json").json["certified"] is True


def test_evaluate_warns_of_another_network_s_certificate(cli, written, file, event_root):
    from bitspike.integer.file import replace_certificate

    cli("certify", written["events"], "--data-root", event_root, "--out", "other.bsp")
    replace_certificate(file, IntegerNet.load("other.bsp").about.certificate)
    done = cli("evaluate", file, "--limit", "3")
    assert done.code == 0
    assert "warning: its certificate is of another network; certify this one (bitspike certify)" in done.out
    assert cli("evaluate", file, "--limit", "3", "--json").json["certified"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("certify", "FILE", "--samples", "0"), "--samples is 0; give 1 or more"),
        (("certify", "FILE", "--out", "x.safetensors"), "the name of an integer network ends with .bsp"),
        (("certify", "none.bsp"), "there is no file none.bsp"),
        (("certify", "FLOAT"), "has weights of 32 bits and so no integer form"),
        (("certify", "EVENTS", "--data", "digits"), "digits holds images, the network takes events"),
    ],
)
def test_what_cannot_be_certified_is_one_sentence(cli, trained, written, file, words, message):
    files = {"FILE": file, "FLOAT": trained["float"], "EVENTS": written["events"]}
    done = cli(*(files.get(word, word) for word in words))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err

"""What goes wrong is one sentence on standard error, an exit code, and with --json an object."""

import errno
import subprocess
import sys

import pytest

from bitspike.cli.running import explain


class ArrayMemoryError(MemoryError):
    """As numpy's own, which is private."""


CASES = [
    ("evalute", "Unknown command"),
    ("models --jsn", "Unknown option: --jsn"),
    ("evaluate", "MODEL"),
    ("evaluate a.safetensors --form complex", 'Choose from: "integer", "real", "float"'),
    ("evaluate a.safetensors --batch many", "--batch"),
    ("evaluate a.safetensors --batch 0", "--batch is 0; give 1 or more"),
    ("evaluate a.safetensors --limit -1", "--limit is -1; give 1 or more"),
    ("evaluate a.safetensors", "there is no file a.safetensors"),
    ("evaluat a", "...; see `bitspike --help`"),
    ("train qsnn-mnist-1w2", 'did you mean "qsnn-mnist-1w2u"?'),
    ("train stdp-mnis", 'did you mean "stdp-mnist"?'),
    ("train", "train --list"),
    ("train other.toml", "there is no recipe file other.toml"),
    ("train qsnn-digits-1w2u --set train.epoch=3", 'did you mean "epochs"?'),
    ("train qsnn-digits-1w2u --set epochs", "section.field=value"),
    ("train qsnn-digits-1w2u --epochs 0", "--epochs is 0; give 1 or more"),
    ("train qsnn-digits-1w2u --device tpu", 'device is "tpu"'),
    ("train qsnn-digits-1w2u --set quant=3x", "3x"),
    ("train qsnn-digits-1w2u --set model.name=small9", "did you mean 'small8'"),
    ("measure resnet91", "did you mean 'resnet19'"),
    ("measure resnet19 --spec 9w2u", "weight.bits is 9"),
    ("measure small8 --set clases=3", "has no option 'clases'"),
    ("measure small8 --samples 5", "--data"),
    ("measure small8 --data mnits", "did you mean"),
    ("models vit*", 'no model matches "vit*"'),
    ("data fashon-mnist", "did you mean fashion-mnist"),
    ("data fetch nmnist-subset", "no public file to fetch"),
]


@pytest.mark.parametrize(("line", "sentence"), CASES)
def test_wrong_input_is_told_in_one_line_and_exits_2(cli, line, sentence):
    done = cli(*line.split())
    assert done.code == 2
    assert sentence in done.err
    (message,) = [text for text in done.err.splitlines() if text.startswith("bitspike: ")]
    assert done.out == ""

    as_json = cli(*line.split(), "--json")
    assert as_json.code == 2
    assert as_json.json == {"error": message.removeprefix("bitspike: ")}


def test_damaged_and_foreign_files(cli, tmp_path, trained):
    whole = trained["small"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:1000])
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("cut", "text"):
        done = cli("evaluate", f"{name}.safetensors")
        assert done.code == 2
        assert f"{name}.safetensors is not a readable bitspike model" in done.err


def test_the_traceback_is_there_on_demand(cli, monkeypatch):
    monkeypatch.setenv("BITSPIKE_DEBUG", "1")
    done = cli("models", "nothing*", "--json")
    assert "Traceback" in done.err
    assert "error" in done.json
    monkeypatch.setenv("BITSPIKE_DEBUG", "0")
    assert "Traceback" not in cli("models", "nothing*").err


WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'torch':
            raise ModuleNotFoundError("No module named 'torch'", name='torch')
sys.meta_path.insert(0, Hidden())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'torch' else real(name, package)
from bitspike.cli import main
print([main(line.split()) for line in sys.argv[1:]])
"""


def test_without_torch_commands_say_what_to_install_and_doctor_still_works(environment):
    lines = ["models", "evaluate a.safetensors", "data digits", "doctor"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *lines], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[1, 1, 0, 0]"
    told = done.stderr.splitlines()
    assert len(told) == 2
    assert all("pip install 'bitspike[train]'" in line for line in told)
    # Without the reference, the engine's kernels are compared with each other, where there is an engine.
    shown = " ".join(done.stdout.split())
    assert "no reference: torch is missing" in shown or "neither torch nor an engine" in shown


def test_a_reader_that_leaves_early_is_no_error(environment):
    line = f"{sys.executable} -m bitspike train --list | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        (ValueError("a\n  b"), "a b", 2),
        (TypeError("inputs are float"), "inputs are float", 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.toml"), "x.toml: No such file; give an existing file", 2),
        (
            PermissionError(errno.EACCES, "Permission denied", "/out"),
            "/out: Permission denied; choose another place",
            1,
        ),
        (OSError(errno.ENOSPC, "No space left on device", "m"), "free some space", 1),
        (OSError("could not fetch train.gz"), "could not fetch train.gz", 1),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL.Image"), "pip install 'bitspike[train]'", 1),
        (
            ModuleNotFoundError("No module named 'bitspike.x'", name="bitspike.x"),
            "is not complete, bitspike.x is missing; install",
            1,
        ),
        (ImportError("torch does not load"), "torch does not load", 1),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "smaller batches", 1),
        (MemoryError(), "not enough memory; take smaller batches", 1),
        (MemoryError("20000 steps in 16 threads need more than 8 bytes; take fewer"), "8 bytes; take fewer", 1),
        (ArrayMemoryError("Unable to allocate 8 MiB"), "Unable to allocate 8 MiB; take smaller batches", 1),
        (KeyError("conv7"), "internal error, KeyError", 1),
    ],
)
def test_errors_in_words(error, sentence, code):
    told, exit_code = explain(error)
    assert sentence in told
    assert "\n" not in told
    assert exit_code == code

"""Files are whole or absent, also on a full disk."""

import os
import subprocess
import sys
import textwrap

import pytest

from bitspike.atomic import atomic_write, refuse_unwritable, temporary_name


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "deep" / "file"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_a_link_stays_a_link_to_what_was_written(tmp_path):
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    link.symlink_to(real)
    assert temporary_name(link) == real.with_name(".file.part")
    for text in (b"one", b"two"):  # first where the link leads to nothing yet
        atomic_write(link, text)
        assert link.is_symlink()
        assert real.read_bytes() == text
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["file", "link", "real"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    path.chmod(mode)
    atomic_write(path, b"two")
    assert path.stat().st_mode & 0o777 == mode
    temporary_name(path).write_bytes(b"half")  # as a killed run leaves it
    temporary_name(path).chmod(0o444)
    atomic_write(path, b"three")
    assert path.read_bytes() == b"three"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"could not write .*inner.*: [^;]*; choose another folder") as error:
        atomic_write(tmp_path / "file" / "inner", b"x")
    assert "\n" not in str(error.value)
    assert error.value.errno is not None


def test_a_folder_is_tried_before_it_is_needed(tmp_path):
    refuse_unwritable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="choose another folder"):
        refuse_unwritable(tmp_path / "file")


def test_a_failed_rename_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_write(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left on device; the previous file is unharmed"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


FULL_DISK = textwrap.dedent(
    """
    import resource, signal, sys
    import torch
    from pathlib import Path
    from torch import nn
    from bitspike.train.checkpoint import Progress, Run, save_state
    from bitspike.train.model_file import ModelHeader, save_model
    from bitspike.train.config import TrainConfig
    from bitspike.train.optimizer import build_optimizer

    folder = Path(sys.argv[1])
    net = nn.Linear(100, 100)
    run = Run(net, build_optimizer(net, TrainConfig()), None, Progress())
    save_state(folder / "state.safetensors", run, {"recipe": 1})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for save in (
        lambda: save_state(folder / "state.safetensors", run, {"recipe": 2}),
        lambda: save_model(net, folder / "model.safetensors", ModelHeader("linear")),
    ):
        try:
            save()
        except OSError as error:
            print(error)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_full_disk_keeps_the_previous_checkpoint_and_says_one_sentence(tmp_path):
    from bitspike.train.checkpoint import KIND, VERSION
    from bitspike.train.container import read_container

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert "state.safetensors" in lines[0]
    assert "File too large; the previous file is unharmed" in lines[0]
    assert "model.safetensors" in lines[1]
    assert "unharmed" not in lines[1]
    assert [item.name for item in tmp_path.iterdir()] == ["state.safetensors"]
    _, header = read_container(tmp_path / "state.safetensors", KIND, VERSION)
    assert header["identity"] == {"recipe": 1}

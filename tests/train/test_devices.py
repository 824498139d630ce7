"""Training on a GPU, as far as it can be seen without one: what is refused, and that nothing waits for the device."""

import contextlib

import pytest
import torch
from train_samples import make_images

from bitspike.block import gpu_kernels
from bitspike.train import checkpoint, random_state
from bitspike.train.config import Recipe
from bitspike.train.from_recipe import build_net
from bitspike.train.loop import TrainingLoop
from bitspike.train.run import choose_device, train
from interpreted_triton import as_on_a_gpu, need_interpreter


def fit(table, data, **options):
    recipe = Recipe.from_dict(table)
    return train(build_net(recipe, data), data, recipe, show_progress=False, device="cpu", **options)


@pytest.mark.parametrize(
    ("count", "device", "seen"),
    [(0, "cuda", "no GPU"), (0, "cuda:0", "no GPU"), (1, "cuda:1", "one GPU"), (2, "cuda:7", "2 GPUs")],
)
def test_a_gpu_that_is_not_there_is_refused_before_training(monkeypatch, table, images, count, device, seen):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=rf'device is "{device}", but torch sees {seen} here; give auto or cpu'):
        choose_device(device)
    with pytest.raises(ValueError, match=f"torch sees {seen} here"):
        recipe = Recipe.from_dict(table)
        train(build_net(recipe, images), images, recipe, show_progress=False, device=device)


def test_a_gpu_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


def test_too_little_memory_suggests_what_fits(monkeypatch, table, images):
    def too_much(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(TrainingLoop, "_step", too_much)
    with pytest.raises(
        ValueError, match=r"memory of cpu is too small for train\.batch = 16; set train\.batch = 8 or"
    ) as told:
        fit(table, images)
    assert 'train.precision = "auto"' in str(told.value)
    assert isinstance(told.value.__cause__, torch.cuda.OutOfMemoryError)


def stop_in_the_second_epoch(monkeypatch, table, images, folder):
    class Stop(Exception):
        pass

    def stop(record):
        if record["epoch"] == 1:
            raise Stop

    with pytest.raises(Stop):
        fit(table, images, out=folder, save_every=0.0, on_epoch=stop)


def test_a_run_that_began_on_a_gpu_goes_on_without_one(monkeypatch, table, images, tmp_path):
    def with_a_gpu():
        return random_state.random_tensors() | {"cuda0": torch.arange(16, dtype=torch.uint8)}

    with monkeypatch.context() as there:
        there.setattr(checkpoint, "random_tensors", with_a_gpu)
        there.setattr(checkpoint, "versions", lambda: {"torch": "2.13.0+cu130"})
        stop_in_the_second_epoch(there, table, images, tmp_path)
    resumed = fit(table, images, out=tmp_path)
    whole = fit(table, images)
    assert resumed.resumed
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name]), name


def test_a_run_that_began_without_a_gpu_goes_on_with_one(monkeypatch, table, images, tmp_path):
    stop_in_the_second_epoch(monkeypatch, table, images, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.zeros(16, dtype=torch.uint8)])
    assert fit(table, images, out=tmp_path).resumed  # its GPU's generator stays as the seed has set it


READING = ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__float__", "__int__", "__index__")


@need_interpreter
def test_a_step_reads_nothing_back(monkeypatch, table):
    """Whatever reads a number waits on a GPU for all the work queued; the loop does so every sixteen steps only."""
    watched = False

    @contextlib.contextmanager
    def watching(now):
        nonlocal watched
        before, watched = watched, now
        try:
            yield
        finally:
            watched = before

    def refuse(name, real):
        def read(*arguments, **options):
            assert not watched, f"a step of training calls Tensor.{name}"
            return real(*arguments, **options)

        return read

    def step(loop, rates, real=TrainingLoop._step):
        with watching(True):
            return real(loop, rates)

    def start(*arguments, real=gpu_kernels._start, **options):
        with watching(False):  # the interpreter reads, of course
            real(*arguments, **options)

    for name in READING:
        monkeypatch.setattr(torch.Tensor, name, refuse(name, getattr(torch.Tensor, name)))
    monkeypatch.setattr(TrainingLoop, "_step", step)
    monkeypatch.setattr(gpu_kernels, "_start", start)
    table["train"] |= {"epochs": 1, "batch": 8, "optimizer": "sgd"}  # Adam reads its own counter, which is on the CPU
    table["data"]["validation"] = 0
    with as_on_a_gpu():
        result = fit(table, make_images(16))
    assert 0 < result.results["history"][0]["firing_rates"]["conv1"] < 1

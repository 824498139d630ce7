"""Small networks of other libraries, trained for a moment on the digits that come with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitspike import import_torch, lower
from bitspike.block import real_form
from bitspike.data import Dataset, load
from bitspike.ptq import calibrate_
from needed_tools import need_module

MEAN, STD = 77 / 255, 0.37
STEPS = 6


def normalized(data: Dataset) -> Tensor:
    return (torch.from_numpy(data.inputs).float() / 255 - MEAN) / STD


def fit(module: nn.Module, run: Any, epochs: int = 4) -> None:
    """run(x) gives logits of a batch."""
    data = load("digits", "train")
    x, y = normalized(data), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    torch.manual_seed(1)
    module.train()
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(run(x[part]), y[part]).backward()
            optimizer.step()
    module.eval()


def snntorch_net(**leaky: Any) -> tuple[nn.Module, Any]:
    """A trained network of snnTorch, one step a call, and how a batch runs on it."""
    snn = need_module("snntorch")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        snn.Leaky(beta=0.9, init_hidden=True, **leaky),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, 10),
        snn.Leaky(beta=0.8, init_hidden=True, output=True, **leaky),
    )

    def run(x: Tensor) -> Tensor:
        for part in net:
            if hasattr(part, "reset_mem"):
                part.reset_mem()
        return sum(net(x)[0] for _ in range(STEPS))

    fit(net, run)
    return net, run


def spikingjelly_net(mode: str = "m", **lif: Any) -> tuple[nn.Module, Any]:
    """A trained network of SpikingJelly, all steps a call, and how a batch runs on it."""
    neuron, layer, functional = (
        need_module(f"spikingjelly.activation_based.{part}") for part in ("neuron", "layer", "functional")
    )
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.LIFNode(**lif),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(128, 20),
        neuron.IFNode(),
        layer.VotingLayer(2),
    )
    functional.set_step_mode(net, mode)

    def run(x: Tensor) -> Tensor:
        functional.reset_net(net)
        if mode == "m":
            return net(x.expand(STEPS, *x.shape)).sum(0)
        return sum(net(x) for _ in range(STEPS))

    fit(net, run)
    return net, run


@torch.no_grad()
def predictions(run: Any, data: Dataset) -> np.ndarray:
    return run(normalized(data)).argmax(1).numpy()


def answers(net: nn.Module, data) -> np.ndarray:
    with torch.no_grad():
        return net.eval()(torch.from_numpy(data.inputs)).mean(0).argmax(1).numpy()


def brought(module: nn.Module, **options) -> nn.Module:
    samples = load("digits", "train").inputs[:50]
    return import_torch(module, (1, 8, 8), STEPS, mean=MEAN, std=STD, samples=samples, **options)


def check_integers(net: nn.Module, test) -> None:
    """Quantized with its own neurons, evaluation, reference and engine are one."""
    data = load("digits", "train")
    done = calibrate_(net, "8w8u", [torch.from_numpy(batch) for batch, _ in data.subset(slice(512)).batches(128)])
    assert done.batches == (4 if any(name.endswith("running_mean") for name, _ in net.named_buffers()) else 0)
    integer = lower(net.eval())
    logits = integer.predict(test.inputs)
    assert np.array_equal(logits.argmax(1), answers(net, test))
    assert np.array_equal(integer.on("reference").predict(test.inputs), logits)
    with torch.no_grad(), real_form(net):
        exact = net(torch.from_numpy(test.inputs[:64])).mean(0).argmax(1).numpy()
    assert np.array_equal(exact, logits[:64].argmax(1))

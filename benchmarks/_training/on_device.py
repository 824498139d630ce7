"""Training steps on a device, and their time: ours from `bitspike.train`'s own loop, a peer's in plain PyTorch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _inference.samples import as_floats, images
from _shared.timing import Series
from _training.cases import CLASSES
from _training.resnet19 import resnet19
from _training.run_bitspike import FixedBatches
from _training.served import LEARNING_RATE, MOMENTUM
from bitspike.block.native import plain
from bitspike.model import create_model
from bitspike.train import Recipe
from bitspike.train.checkpoint import Progress, Run
from bitspike.train.firing import FiringRates
from bitspike.train.loop import TrainingLoop
from bitspike.train.optimizer import build_optimizer

Step = Callable[[], Any]


@dataclass(frozen=True)
class Job:
    """ResNet19 with T = 2 on one batch of random images that lies on the device."""

    device: torch.device
    precision: str
    batch: int
    size: int
    steps: int = 2

    @property
    def name(self) -> str:
        """As the project's goals spell it."""
        return f"resnet19 T={self.steps} B={self.batch}" + ("" if self.size == 32 else f" {self.size}x{self.size}")


@dataclass
class Measured:
    """Times of one participant's steps, and the highest memory of the device they took."""

    series: Series = field(default_factory=Series)
    host: list[float] = field(default_factory=list)
    memory: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def measure(step: Step, device: torch.device, rounds: int, seconds: float) -> Measured:
    """Milliseconds a step, one number a round, and those until the host had given its orders.

    Where the two are alike, the device waits for the host, and a CUDA graph would help.
    """
    found = Measured()
    cuda = device.type == "cuda"

    def finished() -> float:
        if cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for _ in range(2):  # compiles kernels, makes the optimizer's memory
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    began = finished()
    step()
    count = max(1, round(seconds / max(finished() - began, 1e-6)))
    for _ in range(rounds):
        began = finished()
        for _ in range(count):
            step()
        told = time.perf_counter()
        found.series.rounds.append((finished() - began) * 1e3 / count)
        found.series.calls += count
        found.host.append((told - began) * 1e3 / count)
    found.memory = torch.cuda.max_memory_allocated(device) if cuda else None
    return found


def summary(name: str, found: Measured, job: Job) -> dict[str, Any]:
    """A participant for people and JSON."""
    return {
        "name": name,
        "ms": round(found.series.median, 3),
        "host_ms": round(statistics.median(found.host), 3),
        "images_per_second": round(job.batch / found.series.median * 1e3, 1),
        "peak_bytes": found.memory,
        **found.facts,
    }


def our_step(job: Job, spec: str, *, fused: bool) -> Step:
    """A step of our network as `train` makes it; its numbers, the loss first, stay on the device."""
    options = {"time_steps": job.steps, "input_shape": [3, job.size, job.size], "classes": CLASSES}
    net = create_model("resnet19", spec=spec, **options).train().to(job.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = {
        "optimizer": "sgd",
        "lr": LEARNING_RATE,
        "momentum": MOMENTUM,
        "schedule": "constant",
        "loss": "time-mean",
        "precision": job.precision,
        "channels_last": True,
    }
    table = {"model": {"name": "resnet19", "options": options}, "data": {"name": "random"}, "quant": spec}
    recipe = Recipe.from_dict(table | {"train": train})
    pixels, labels = _batch(job)
    batches: Any = FixedBatches([pixels.contiguous(memory_format=torch.channels_last)], [labels])
    run = Run(net, build_optimizer(net, recipe.train), None, Progress())
    loop = TrainingLoop(run=run, replica=net, batches=batches, validation=None, recipe=recipe, state=None, identity={})
    rates = FiringRates(net)

    def step() -> Tensor:
        with rates, nullcontext() if fused else plain():
            return loop._step(rates)

    return step


def peer_step(job: Job, facts: dict[str, Any]) -> Step:
    """The same network of spikingjelly's in channels last and autocast; it chooses its kernels by itself."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> nn.Module:
        node: nn.Module = neuron.LIFNode(
            tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(), step_mode="m"
        )
        return node

    net = resnet19(layer, lif, CLASSES).train().to(job.device)
    functional.set_step_mode(net, step_mode="m")
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    pixels, labels = _batch(job)
    floats = torch.from_numpy(as_floats(pixels.cpu().numpy())).to(job.device)
    floats = floats.contiguous(memory_format=torch.channels_last)
    facts["peer_version"] = version("spikingjelly")

    def step() -> None:
        functional.reset_net(net)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(job.device.type, torch.bfloat16, enabled=job.precision == "bfloat16"):
            logits = net(floats.unsqueeze(0).repeat(job.steps, 1, 1, 1, 1)).mean(0)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def _batch(job: Job) -> tuple[Tensor, Tensor]:
    pixels = images(job.batch, (3, job.size, job.size), 0).reshape(job.batch, 3, job.size, job.size)
    labels = torch.randint(CLASSES, (job.batch,), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(pixels).to(job.device), labels.to(job.device)

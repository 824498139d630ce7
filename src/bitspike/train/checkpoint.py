"""The complete state of a training run in one file, from which it goes on as if nothing had happened."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block.across import processes
from bitspike.train.container import group, load_weights, prefixed, read_container, write_container
from bitspike.train.ema import MovingAverage
from bitspike.train.optimizer import load_optimizer_tensors, optimizer_tensors
from bitspike.train.provenance import versions
from bitspike.train.random_state import random_numbers, random_tensors, restore_random

KIND = "bitspike training state"
VERSION = 1

log = logging.getLogger("bitspike.train")


@dataclass
class Progress:
    """How far a run is: `step` batches of `epoch` are done; sums over them; the finished epochs' records."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    spike_loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Start the next epoch with empty sums."""
        self.epoch, self.step = self.epoch + 1, 0
        self.loss_sum, self.spike_loss_sum, self.correct = 0.0, 0.0, 0
        self.seconds, self.epoch_seconds = self.seconds + self.epoch_seconds, 0.0


@dataclass
class Run:
    """Everything that a step of training changes; `began` is the digest of the weights before the first one."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    progress: Progress
    firing_sum: dict[str, Tensor] = field(default_factory=dict)
    began: str = ""
    precision: str = "float32"


def save_state(path: str | Path, run: Run, identity: Mapping[str, Any]) -> None:
    """Write the run's state; `identity` (recipe and data) must be the same when it is resumed."""
    tensors = prefixed(run.net.state_dict(), "model")
    tensors |= prefixed(optimizer_tensors(run.optimizer), "optimizer")
    tensors |= prefixed(random_tensors(), "random")
    tensors |= prefixed(run.firing_sum, "firing")
    if run.average is not None:
        tensors |= prefixed(run.average.values, "average")
    header = {
        "format": KIND,
        "version": VERSION,
        "identity": identity,
        "began": run.began,
        "progress": vars(run.progress),
        "random": random_numbers(),
        "firing_order": list(run.firing_sum),
        "versions": versions(),
        **_arithmetic(run),
    }
    write_container(path, tensors, header)


def _arithmetic(run: Run) -> dict[str, Any]:
    """What the last bits depend on, besides versions."""
    return {
        "threads": torch.get_num_threads(),
        "processes": processes(),
        "device": next(run.net.parameters()).device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": run.precision,
    }


def load_state(path: str | Path, run: Run, identity: Mapping[str, Any]) -> None:
    """Put a stored state into the run (in place), and all random generators where they were."""
    tensors, header = read_container(path, KIND, VERSION)
    refuse_other_run(Path(path).parent, header["identity"], identity)
    run.began = same_beginning(Path(path).parent, header.get("began"), run.began)
    load_weights(run.net, group(tensors, "model"), path)
    load_optimizer_tensors(run.optimizer, group(tensors, "optimizer"))
    if run.average is not None:
        for name, value in group(tensors, "average").items():
            run.average.values[name].copy_(value)
    run.progress = Progress(**header["progress"])
    device = next(run.net.parameters()).device
    firing = group(tensors, "firing")
    run.firing_sum = {name: firing[name].to(device) for name in header["firing_order"]}
    restore_random(group(tensors, "random"), header["random"])
    for what, now in {"versions": versions(), **_arithmetic(run)}.items():
        before = header.get(what, 1 if what == "processes" else now)  # older files do not tell all
        if before != now:
            log.warning(
                "resumed with other %s (%s, before %s): the result may differ in the last bits from an "
                "uninterrupted run",
                what,
                now,
                before,
            )


def stored_identity(path: str | Path) -> dict[str, Any]:
    """Which run a stored state belongs to."""
    return dict(read_container(path, KIND, VERSION)[1]["identity"])


def same_beginning(folder: Path, stored: str | None, current: str) -> str:
    """What the run kept in the folder began with; says so where it is not what the network has now.

    That is no error: whoever makes a network without a seed has other weights every time, and goes on all the same.
    """
    if stored and stored != current:
        log.warning(
            "the run in %s began with another network or other weights than this one, and goes on with its own; for a "
            "run of this network choose another folder (out), or start over there (resume=False)",
            folder,
        )
    return stored or current


def refuse_other_run(folder: Path, stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise if the run kept in the folder is not the one that is asked for."""
    changes = list(_differences("", stored, current))
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise ValueError(
            f"{folder} holds another run: {'; '.join(changes[:3])}{more}. Choose another folder (--out), "
            "or start over there (--fresh)"
        )


def _differences(path: str, stored: Any, current: Any) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(current, Mapping):
        for key in dict.fromkeys((*stored, *current)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(inner, stored.get(key), current.get(key))
    elif stored != current:
        yield f"{path} was {stored!r} and is now {current!r}"

"""Several processes that train one network together, each on its share of every batch.

`torchrun` starts them and tells each its place by environment variables. The first process alone writes, shows and
evaluates; what it found, the others hear from it. Whatever decides about the way of a run is agreed on.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bitspike.block import SpikingBlock
from bitspike.block.across import processes
from bitspike.train.schedule import position_seed

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

Value = TypeVar("Value")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` sets in the environment of every process."""
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
_LONGEST_WAIT = timedelta(days=1)
"""The others wait while the first process evaluates. That a process died is noticed by its closed connections."""

_openings = itertools.count()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Inside, the processes that `torchrun` started are one group; a process of its own goes on alone.

    Where they fail, the first one to do so is to tell why; the errors of the others have `told_elsewhere` set. Inside
    of a group, be it this one or the caller's own, this does nothing. A group of the caller's needs the backend
    gloo beside the one of its devices.
    """
    if not distributed.is_available() or distributed.is_initialized() or not _launched():
        yield
        return
    place, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = distributed.PrefixStore(f"bitspike/{next(_openings)}", _store())  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=place, world_size=size, timeout=_LONGEST_WAIT)
    try:
        with _quiet(entirely=place > 0):
            yield
    except BaseException as error:
        error.told_elsewhere = _is_told(store)  # type: ignore[attr-defined]
        # What the ended calls hold of the group must go before the group does: left to whoever drops the error, its
        # end sometimes waits forever, for threads of gloo's that wait for Python.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        distributed.destroy_process_group()


def _launched() -> bool:
    """Whether the environment makes this process one of several; refused where it says so by halves."""
    found = {name: os.environ.get(name, "") for name in VARIABLES}
    if found["WORLD_SIZE"] == "1" or not (found["WORLD_SIZE"] or found["RANK"]):
        return False
    missing = [name for name, value in found.items() if not value]
    problem = ""
    if missing:
        problem = f"{' and '.join(name for name in found if found[name])} set without {' and '.join(missing)}"
    elif not all(found[name].isdecimal() for name in _NUMBERS) or int(found["RANK"]) >= int(found["WORLD_SIZE"]):
        problem = f"{', '.join(f'{name}={found[name]}' for name in _NUMBERS)}, which are no numbers that fit together"
    if problem:
        raise ValueError(
            f"the environment has {problem}; start with torchrun, which sets all of them, or unset them to train in "
            "one process"
        )
    return True


@cache
def _store() -> Store:
    """Where all processes of the launch find each other, for as long as this one lives."""
    found: Store = next(distributed.rendezvous("env://"))[0]  # type: ignore[attr-defined]
    return found


def _is_told(store: Store) -> bool:
    """Whether another process failed before this one, and tells why."""
    with contextlib.suppress(RuntimeError):  # the store is gone with the process that held it
        return int(store.add("failed", 1)) > 1
    return True


@contextlib.contextmanager
def _quiet(*, entirely: bool) -> Iterator[None]:
    """Without torch's remark on dimensions of size 1; entirely: no log and no warnings, the first process has them."""
    log = logging.getLogger("bitspike")
    before = log.level
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grad strides do not match")
            if entirely:
                warnings.simplefilter("ignore")
                log.setLevel(logging.CRITICAL)
            yield
    finally:
        log.setLevel(before)


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes, shows and evaluates."""
    return rank() == 0


def own_device(device: torch.device) -> torch.device:
    """The device of this process: among several, each has the GPU of its place on the machine."""
    if processes() == 1 or device.type != "cuda":
        return device
    place = int(os.environ.get("LOCAL_RANK") or rank())
    count = torch.cuda.device_count()
    if place >= count:
        raise ValueError(
            f"every process needs a GPU of its own, but torch sees {count} on a machine with {place + 1} processes or "
            f"more; start {count} there, or give --device cpu"
        )
    if device.index not in (None, place):
        raise ValueError(
            f'device is "{device}", but each of {processes()} processes has a GPU of its own; give auto or cuda'
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def share(batch: int) -> slice:
    """Which samples of a batch are this process's; refused where the batch cannot be shared evenly."""
    if batch % processes():
        fitting = max(1, batch // processes()) * processes()
        raise ValueError(
            f"a batch of {batch} samples cannot be shared evenly by {processes()} processes; set train.batch to a "
            f"multiple of {processes()}, such as {fitting}"
        )
    size = batch // processes()
    return slice(rank() * size, (rank() + 1) * size)


def check_shareable(net: nn.Module) -> None:
    """Refuse layers that look at a whole batch in a way that only one process can."""
    if processes() == 1:
        return
    for name, module in net.named_modules():
        if isinstance(module, SpikingBlock) and module.membrane_spec.form == "dynamic":
            what = "a dynamic membrane, whose scale is"
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            what = f"a {type(module).__name__}, whose statistics are"
        else:
            continue
        raise ValueError(
            f"layer {name} has {what} taken from the whole batch, of which each of {processes()} processes sees a "
            "part; train this network in one process"
        )


def replicated(net: nn.Module) -> nn.Module:
    """The network as all processes train it: the first one's weights, gradients averaged over all of them."""
    if processes() == 1:
        return net
    device = next(net.parameters()).device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 has a second name for broadcast_buffers
        # Running statistics come from the whole batch in every process, so there are no buffers to send.
        return DistributedDataParallel(
            net, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
        )


def draw_apart(seed: int, epoch: int, step: int) -> None:
    """Give each process random numbers of its own; by position, so that a resumed run draws the same again."""
    if processes() > 1:
        torch.manual_seed(position_seed(seed, "process", rank(), epoch, step))


def highest(*values: int) -> list[int]:
    """The largest that any process gives, one by one."""
    if processes() == 1:
        return list(values)
    found = torch.tensor(values)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return [int(value) for value in found]


def meet() -> None:
    """Wait until all processes have come here."""
    highest(0)


def from_first(value: Value) -> Value:
    """The first process's value, as JSON holds it, in all of them; they wait for it."""
    if processes() == 1:
        return value
    text = json.dumps(value).encode() if is_first() else b""
    (size,) = highest(len(text))
    content = torch.zeros(size, dtype=torch.uint8)
    content[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)
    distributed.broadcast(content, 0)
    found: Any = json.loads(bytes(content.tolist()))
    return found  # type: ignore[no-any-return]


@contextlib.contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The first process does what is inside before the others do."""
    if not is_first():
        meet()
    yield
    if is_first():
        meet()

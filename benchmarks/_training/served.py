"""The side of a worker that trains: measures its memory, then answers requests to time steps.

Imports torch and the standard library only, since peers' workers run it too.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from _shared.serving import memory, serve

LEARNING_RATE, MOMENTUM = 0.01, 0.9
MEASURED_STEPS = 2
"""Steps after which memory has been at its highest: from the second on the optimizer's own memory is there too."""


def serve_training(
    pipe: TextIO,
    step: Callable[[int], object],
    loss: Callable[[int], Tensor],
    rate: Callable[[], float],
    net: nn.Module,
    batches: int,
) -> None:
    """Measure the first steps, then time steps on request.

    step(i): one training step on batch i; loss(i): its forward half alone; rate(): mean firing rate of the layers.
    """
    resident = growth(lambda: [step(i % batches) for i in range(MEASURED_STEPS)])
    saved = saved_bytes(lambda: loss(0), net.parameters())
    serve(pipe, step, batches, resident=resident, saved=saved, rate=rate(), torch=torch.__version__)


def firing_rate(net: nn.Module, neurons: type[nn.Module], forward: Callable[[], object]) -> float:
    """The share of spikes among what layers of neurons give in a forward pass, the mean over their calls."""
    rates: list[float] = []

    def note(_module: nn.Module, _operands: Any, spikes: Tensor) -> None:
        rates.append(float(spikes.detach().mean(dtype=torch.float32)))

    hooks = [module.register_forward_hook(note) for module in net.modules() if isinstance(module, neurons)]
    forward()
    for hook in hooks:
        hook.remove()
    return sum(rates) / len(rates)


def saved_bytes(forward: Callable[[], Tensor], parameters: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages that a forward pass keeps for its backward pass, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    notes: list[tuple[weakref.ref[Tensor], int, int]] = []

    def note(tensor: Tensor) -> Tensor:
        kept = tensor.detach()  # without its graph: a result kept by the function that made it would never be freed
        notes.append((weakref.ref(kept), kept.untyped_storage().data_ptr(), kept.untyped_storage().nbytes()))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    # What was kept for a result that nobody uses is gone by now, and its memory may hold something else.
    storages = {address: size for kept, address, size in notes if kept() is not None and address not in own}
    del result
    return sum(storages.values())


def growth(work: Callable[[], object]) -> int | None:
    """Bytes by which the process grew while it worked, at the highest; None where the system does not tell."""
    gc.collect()
    forget_highest()
    before = memory()
    work()
    highest = memory()["highest"]
    if before["resident"] is None or highest is None or highest == before["highest"]:
        return None
    return highest - before["resident"]


def forget_highest() -> None:
    """Let the record of this process's highest resident size begin anew (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return

"""What a seed draws: the samples that scores are taken from, and random scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from bitspike.block import EventInput, ImageInput, blocks_of
from bitspike.block.base import count
from bitspike.data import Dataset
from bitspike.runtime.evaluation import check_samples


def stream(seed: int, *purpose: str) -> int:
    """A 63-bit seed from the caller's and a purpose; no two purposes share their numbers."""
    text = ":".join((str(seed), *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str) -> torch.Generator:
    """A generator on the CPU that depends on the seed and its purpose only."""
    return torch.Generator().manual_seed(stream(seed, *purpose))


def check_draw(net: nn.Module, data: Dataset, batches: int, batch: int, owner: str) -> None:
    """Refuse, before anything runs, data that the network does not take or that holds too few samples."""
    count(owner, batches=batches, batch=batch)
    if not isinstance(data, Dataset):
        raise TypeError(f"{owner}: data is of type {type(data).__name__}; it must be a bitspike.data.Dataset")
    for _, block in blocks_of(net):
        if isinstance(block, ImageInput | EventInput):
            takes = "images" if isinstance(block, ImageInput) else "events"
            check_samples(data, takes, block.shape, block.time_steps)
    if len(data) < batches * batch:
        raise ValueError(
            f"{data.name} ({data.split}) has {len(data)} samples, but {batches} batches of {batch} need "
            f"{batches * batch}; ask for fewer or smaller batches (batches=, batch=)"
        )


def drawn_batches(data: Dataset, batches: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches as a network takes them, of samples drawn from the seed, none of them twice.

    The samples depend on how many there are in all, not on how they are split into batches.
    """
    order = torch.randperm(len(data), generator=generator(seed, "samples"))[: batches * batch]
    for inputs, _ in data.subset(order.numpy()).batches(batch):
        yield torch.from_numpy(np.ascontiguousarray(inputs))

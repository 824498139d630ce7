"""Sums over the processes that train one network together; in a process of its own nothing is summed.

Each process computes an equal share of every batch, with the statistics of the whole batch. The loss whose gradient
flows back is the sum of all processes' losses: statistics pass back sums over all of them, parameters get the sum over
the process's own share, and `DistributedDataParallel` averages those.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def processes() -> int:
    """How many processes train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def summed(value: Tensor) -> Tensor:
    """The sum over all processes, without a gradient; the value itself where there is one process."""
    if processes() == 1:
        return value
    total = value.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def moments(count: int, mean: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and sum of squared deviations from it, of all processes' numbers, from those of `count` numbers in each."""
    if processes() == 1:
        return mean, squares
    # In float64 the squares lose nothing that counts by being taken from zero on their way.
    total = summed(torch.stack([mean.double(), squares.double() + count * mean.double() ** 2]))
    mean = total[0] / processes()
    return mean, (total[1] - processes() * count * mean**2).clamp_min(0)

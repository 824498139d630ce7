"""What makes a channel important: criteria by name, each a pure function.

New ones join with `register_criterion`. A criterion that watches a run gets one layer's run at a time and gives scores
of every sample; one that looks at the layer alone gives scores at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bitspike.block import SpikingBlock
from bitspike.block.potentials import potentials
from bitspike.drawing import generator

EPSILON = 1e-6
_CHUNK = 1 << 20
"""Elements of maps whose singular values are taken at once: 8 MB in float64, whatever the size of the layer."""


class LayerRun(NamedTuple):
    """One layer's run over one batch: what it read, and its spikes [T, B, C, ...] in front of its own pool."""

    block: SpikingBlock
    operands: tuple[Tensor, ...]
    spikes: Tensor
    epsilon: float = EPSILON


@dataclass(frozen=True)
class Criterion:
    """One way to score channels: exactly one of the two functions. Columns: the score, and what decides at equal ones.

    of_run:   a run to [B, C, columns], averaged over samples.
    of_block: a layer, its name and the seed to [C, columns]; no samples are looked at.
    """

    of_run: Callable[[LayerRun], Tensor] | None = None
    of_block: Callable[[SpikingBlock, str, int], Tensor] | None = None

    def __post_init__(self) -> None:
        if (self.of_run is None) == (self.of_block is None):
            raise TypeError("a criterion has exactly one of the functions of_run and of_block")


_CRITERIA: dict[str, Criterion] = {}


def register_criterion(name: str, criterion: Criterion) -> None:
    """Make a criterion known by a name."""
    _CRITERIA[name] = criterion


def list_criteria() -> list[str]:
    """The names of all criteria."""
    return sorted(_CRITERIA)


def find_criterion(name: str) -> Criterion:
    """The criterion of a name; an unknown name is refused with the near ones."""
    if name not in _CRITERIA:
        near = difflib.get_close_matches(str(name), _CRITERIA, n=2, cutoff=0.4)
        hint = f" (did you mean {' or '.join(repr(match) for match in near)}?)" if near else ""
        raise ValueError(f"there is no criterion {name!r}{hint}; there are {', '.join(list_criteria())}")
    return _CRITERIA[name]


def singular_value_scores(spikes: Tensor, epsilon: float = EPSILON) -> Tensor:
    """rank = #{i: sigma_i > epsilon} and sum_i sigma_i of every map (1/T) sum_t S[t]: [T, B, C, H, W] to [B, C, 2].

    The rank is the score of QP-SNN (SVS); the sum is ours, for the many channels whose ranks are equal. A linear
    layer's neuron [T, B, C] has a map of one pixel: rank 1 if it fired at all, the sum its firing rate. In float64,
    where what should be zero comes out below 1e-14; in float32 it reaches epsilon itself.
    """
    counts = spikes.sum(0, dtype=torch.float32)  # whole numbers up to T: exact
    if counts.dim() == 2:
        counts = counts[..., None, None]
    maps = counts.flatten(0, 1)
    scores = torch.empty(len(maps), 2, dtype=torch.float64, device=maps.device)
    at_once = max(1, _CHUNK // max(1, maps[0].numel()))
    for first in range(0, len(maps), at_once):
        values = torch.linalg.svdvals(maps[first : first + at_once].double() / len(spikes))
        scores[first : first + at_once, 0] = (values > epsilon).sum(-1).double()
        scores[first : first + at_once, 1] = values.sum(-1)
    return scores.reshape(*counts.shape[:2], 2)


def _singular_values(run: LayerRun) -> Tensor:
    return singular_value_scores(run.spikes, run.epsilon)


def _potential_norms(run: LayerRun) -> Tensor:
    """(1/T) sum_t ||U[t]||_1 of every channel's map of membranes before reset (SCA, Li et al. 2024): [B, C, 1]."""
    norms = [
        now.abs().reshape(*now.shape[:2], -1).sum(-1, dtype=torch.float64)
        for now in potentials(run.block, *run.operands)
    ]
    return torch.stack(norms).mean(0).unsqueeze(-1)


def _kernel_norms(block: SpikingBlock, _name: str, _seed: int) -> Tensor:
    """sum |w| over a channel's kernel as quantized, codes times scale, its convolved skip's kernel too: [C, 1]."""
    norms = torch.zeros(block.out_channels, dtype=torch.float64, device=block.weight.device)
    for part in block.quantized():
        if part is not None:
            norms += part.codes.double().abs().flatten(1).sum(1) * part.scale.double()
    return norms.unsqueeze(-1)


def _drawn(block: SpikingBlock, name: str, seed: int) -> Tensor:
    """Uniform numbers from the seed and the layer's name alone: [C, 1]."""
    return torch.rand(block.out_channels, 1, dtype=torch.float64, generator=generator(seed, "random", name))


register_criterion("svs", Criterion(of_run=_singular_values))
register_criterion("sca", Criterion(of_run=_potential_norms))
register_criterion("magnitude", Criterion(of_block=_kernel_norms))
register_criterion("random", Criterion(of_block=_drawn))

"""`channel_scores`: how important every output channel of a network is, by a criterion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bitspike.block import Block, SpikingBlock, blocks_of
from bitspike.block.base import in_mode, watching
from bitspike.data import Dataset
from bitspike.drawing import check_draw, drawn_batches, stream
from bitspike.prune.criteria import EPSILON, Criterion, LayerRun, find_criterion
from bitspike.prune.ranking import ChannelScores


class Sums(NamedTuple):
    """A layer's scores added over the samples it saw: [C, columns], and how many samples these were."""

    total: Tensor
    samples: int

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(self.total + other.total, self.samples + other.samples)

    def scores(self, name: str) -> ChannelScores:
        """Their mean; `name` is the layer's, for what is refused."""
        return _finite(ChannelScores.of(self.total / self.samples), name)


def channel_scores(
    net: nn.Module,
    data: Dataset | None,
    *,
    criterion: str = "svs",
    batches: int = 5,
    batch: int = 128,
    seed: int = 0,
    epsilon: float = EPSILON,
) -> dict[str, ChannelScores]:
    """score[c] = mean over samples of the criterion; the name of every spiking layer that runs -> its channels' scores.

    "svs": the rank of a channel's time-averaged spike map, as the number of its singular values above epsilon (QP-SNN,
    ICLR 2025). "sca": the L1 norm of its membrane before reset (Li et al., ICML 2024). "magnitude": that of its
    kernel. "random". The last two look at no samples; data may be None.

    The network runs once over `batches` batches, drawn from the seed, in its eval form: integers where it has them,
    else float. All layers are scored in that one pass and no map outlives its batch. A layer that runs twice is
    scored by the mean of both runs. Departs from QP-SNN in what decides between equal ranks, of which small maps have
    many: `ChannelScores.tie`, the sum of singular values, in place of the channel's number.
    """
    found = find_criterion(criterion)
    if found.of_block is not None:
        with torch.no_grad(), in_mode(net, training=False):
            layers = spiking_layers(net).items()
            return {name: _finite(ChannelScores.of(found.of_block(block, name, seed)), name) for name, block in layers}
    sums: dict[str, Sums] = {}
    for part in batch_sums(net, data, found, batches, batch, seed, epsilon, owner="channel_scores"):
        for name, seen in part.items():
            sums[name] = sums[name].plus(seen) if name in sums else seen
    return {name: total.scores(name) for name, total in sums.items()}


def spiking_layers(net: nn.Module) -> dict[str, SpikingBlock]:
    """The layers that have channels to score, by name; readouts have none."""
    layers = {name: block for name, block in blocks_of(net) if isinstance(block, SpikingBlock)}
    if not layers:
        raise ValueError(
            f"{type(net).__name__} has no spiking layer, so it has no channels to score; "
            "build it from SpikingConv2d and SpikingLinear"
        )
    return layers


def batch_sums(
    net: nn.Module,
    data: Dataset | None,
    criterion: Criterion,
    batches: int,
    batch: int,
    seed: int,
    epsilon: float,
    *,
    owner: str,
) -> Iterator[dict[str, Sums]]:
    """The sums of every batch on its own, by layer; the arguments are checked before the first one runs."""
    names = {id(block): name for name, block in spiking_layers(net).items()}
    if not (isinstance(epsilon, int | float) and isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"{owner}: epsilon is {epsilon!r}; it must be a finite number above 0")
    if data is None:
        raise TypeError(f"{owner}: this criterion looks at samples, but data is None; give a bitspike.data.Dataset")
    check_draw(net, data, batches, batch, owner)
    score = criterion.of_run
    if score is None:
        raise TypeError(f"{owner}: this criterion looks at no samples")
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    sums: dict[str, Sums] = {}

    def note(block: Block, operands: tuple[Tensor, ...], spikes: Tensor) -> None:
        if isinstance(block, SpikingBlock) and id(block) in names:
            name = names[id(block)]
            seen = Sums(score(LayerRun(block, operands, spikes, epsilon)).sum(0).cpu(), spikes.shape[1])
            sums[name] = sums[name].plus(seen) if name in sums else seen

    for place, inputs in enumerate(drawn_batches(data, batches, batch, seed)):
        noise = _own_noise(device, stream(seed, "noise", str(place)))
        with torch.no_grad(), in_mode(net, training=False), noise, watching(note):
            net(inputs.to(device))
        yield dict(sums)
        sums.clear()


@contextmanager
def _own_noise(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers from the seed, for what draws in evaluation: a float layer's stochastic rounding."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _finite(scores: ChannelScores, name: str) -> ChannelScores:
    if not bool(scores.primary.isfinite().all()):
        raise ValueError(f"{name} has scores that are not finite numbers; its weights or statistics hold none either")
    return scores

"""Training batches from data that lies on the device: which samples, in which order, how changed.

Order and augmentation depend on the seed and the position (epoch, step) only, so a resumed run sees the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitspike.block import ImageInput
from bitspike.data import Dataset
from bitspike.train.augment import Augment, AugmentConfig, build_augment
from bitspike.train.config import Recipe
from bitspike.train.distributed import share
from bitspike.train.evaluate import as_tensor, network_input
from bitspike.train.event_augment import build_event_augment
from bitspike.train.schedule import epoch_order, position_generator


class Batches:
    """The batches of one training split; an incomplete last one is left out (other samples each epoch).

    Among several processes, `get` gives this one's share of a batch; `size` is that of the whole.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, net: nn.Module, device: torch.device) -> None:
        self.inputs = as_tensor(dataset.inputs).to(device)
        self.labels = as_tensor(dataset.labels).to(device)
        self.classes = dataset.classes
        self.seed = recipe.train.seed
        self.size = min(recipe.train.batch, len(dataset))
        self.share = share(self.size)
        self.steps = len(dataset) // self.size
        self.augment = augmentation(dataset, recipe.augment, net)
        self.channels_last = recipe.train.channels_last and self.inputs.dim() == 4
        self._order: tuple[int, Tensor] | None = None

    def get(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """(inputs as the network takes them, labels) of one step."""
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(self.seed, epoch, len(self.labels)).to(self.labels.device)
            self._order = (epoch, order)
        index = self._order[1][step * self.size : (step + 1) * self.size]
        inputs = self.inputs[index]
        if self.augment is not None:
            # Of the whole batch, so that every sample meets the numbers that are drawn for it in one process.
            generator = position_generator(torch.device("cpu"), self.seed, "augment", epoch, step)
            inputs = self.augment(inputs, generator)
        inputs = network_input(inputs[self.share])
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, self.labels[index][self.share]


def augmentation(dataset: Dataset, config: AugmentConfig, net: nn.Module) -> Augment | None:
    """The augmentation for this kind of data, or None where the recipe asks for none."""
    if config == AugmentConfig():
        return None
    if dataset.kind == "events":
        return build_event_augment(config)
    return build_augment(config, zero_point(dataset, net))


def zero_point(dataset: Dataset, net: nn.Module) -> tuple[int, ...]:
    """The integer z of each colour that the network subtracts; from the data where it does not say."""
    for module in net.modules():
        if isinstance(module, ImageInput):
            return module.zero_point
    return tuple(int(255 * mean + 0.5) for mean in dataset.mean)

"""The same channels removed by torch-pruning's dependency graph from the same network of torch's own layers.

There the two sides of a sum have to lose the same channels; where they do, every shape must agree.
"""

import pytest
import torch
from torch import Tensor, nn

from bitspike.block import Flatten, ImageInput, PlainSkip, Readout, SpikingConv2d, SumPool, quantize_
from bitspike.prune import remove_

pruning = pytest.importorskip("torch_pruning")


class Ours(nn.Module):
    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.input = ImageInput((3, 8, 8), mean=(0.5,) * 3, std=0.25, time_steps=1)
        self.first = SpikingConv2d(3, 8, input_scale=self.input.scale)
        self.second = SpikingConv2d(8, 6)
        self.third = SpikingConv2d(6, 8, skip=PlainSkip() if residual else None)
        self.pool = SumPool(2)
        self.flatten = Flatten()
        self.readout = Readout(8 * 16, 5)
        quantize_(self, "32w32u")

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(self.input(images))
        second = self.second(first)
        third = self.third(second) if self.third.skip is None else self.third(second, first)
        logits: Tensor = self.readout(self.flatten(self.pool(third)))
        return logits


class Theirs(nn.Module):
    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        for name, inputs, outputs in (("first", 3, 8), ("second", 8, 6), ("third", 6, 8)):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            setattr(self, name, nn.ModuleDict({"conv": conv, "norm": nn.BatchNorm2d(outputs)}))
        self.readout = nn.Linear(8 * 16, 5)

    def forward(self, images: Tensor) -> Tensor:
        def layer(block: nn.ModuleDict, value: Tensor) -> Tensor:
            return block["norm"](block["conv"](value))

        first = layer(self.first, images).relu()
        third = layer(self.third, layer(self.second, first).relu())
        third = (third + first if self.residual else third).relu()
        logits: Tensor = self.readout(nn.functional.avg_pool2d(third, 2).flatten(1))
        return logits


@pytest.mark.parametrize("residual", [False, True])
def test_what_is_left_agrees(residual):
    ours, theirs = Ours(residual=residual), Theirs(residual=residual)
    with torch.no_grad():
        for name in ("first", "second", "third"):
            theirs.get_submodule(name)["conv"].weight.copy_(getattr(ours, name).weight)
        theirs.readout.weight.copy_(ours.readout.weight)
    gone = {"first": [1, 4, 7], "second": [0, 5]} | ({} if residual else {"third": [2, 3]})
    graph = pruning.DependencyGraph().build_dependency(theirs, example_inputs=torch.randn(1, 3, 8, 8))
    for name, channels in gone.items():
        conv = theirs.get_submodule(name)["conv"]
        group = graph.get_pruning_group(conv, pruning.prune_conv_out_channels, idxs=channels)
        assert graph.check_pruning_group(group)
        group.prune()
    if residual:
        gone["third"] = gone["first"]  # theirs couples the two sides of the sum
    widths = {"first": 8, "second": 6, "third": 8}
    remove_(ours, {name: [c for c in range(widths[name]) if c not in channels] for name, channels in gone.items()})
    for name in widths:
        block, other = getattr(ours, name), theirs.get_submodule(name)
        assert torch.equal(block.weight, other["conv"].weight)
        assert len(block.norm.running_mean) == len(block.norm.weight) == other["norm"].num_features
    assert torch.equal(ours.readout.weight, theirs.readout.weight)
    assert ours.third.skip == (PlainSkip() if residual else None)

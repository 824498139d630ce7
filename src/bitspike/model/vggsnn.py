"""VGGSNN: eight 3x3 convolutions for event frames, 9,268,746 parameters at 48x48 with ten classes.

    64 128 P  256 256 P  512 512 P  512 512 A  readout        P: sum or max pooling 2x2, A: sum pooling 2x2

Q-SNN's network averages everywhere, QP-SNN's takes maxima and averages at the end. Where they average, here the four
values are summed, and the factor goes into the next gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from bitspike.block import EventInput, Flatten, GlobalSumPool, MaxPool, Readout, SpikingConv2d, SumPool
from bitspike.model.registry import register_model
from bitspike.model.shape import checked_choice, checked_classes, checked_shape

STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))
HALVINGS = 4


@register_model("vggsnn")
class VGGSNN(nn.Module):
    """Event counts [T, B, C, H, W] (uint8, 0 to bound) to logits [T, B, classes].

    head: "local" reads the map after the last pooling, 512 * 3 * 3 values at 48x48; "global" sums that map,
        which is the 512-input readout of Q-SNN's memory table.
    pooling: "sum" everywhere, for Q-SNN's averages, or "max" but for the last, as in QP-SNN.
    mean, std: accepted because every network is; event counts enter as they are.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (2, 48, 48),
        time_steps: int = 10,
        mean: Sequence[float] | None = None,
        std: float = 1.0,
        bound: int = 255,
        head: Literal["local", "global"] = "local",
        pooling: Literal["sum", "max"] = "sum",
    ) -> None:
        super().__init__()
        checked_choice("head", head, ("local", "global"))
        checked_choice("pooling", pooling, ("sum", "max"))
        shape = checked_shape(input_shape, halvings=HALVINGS)
        inputs, height, width = shape
        self.input = EventInput(shape, bound=bound, time_steps=time_steps)
        layers: list[nn.Module] = []
        for stage, widths in enumerate(STAGES):
            between = MaxPool(2) if pooling == "max" and stage + 1 < len(STAGES) else SumPool(2)
            for number, outputs in enumerate(widths):
                pool = between if number + 1 == len(widths) else None
                layers.append(SpikingConv2d(inputs, outputs, pool=pool))
                inputs = outputs
        if head == "global":
            layers.append(GlobalSumPool())
        self.layers = nn.Sequential(*layers)
        self.flatten = Flatten()
        area = (height // 2**HALVINGS) * (width // 2**HALVINGS)
        positions, pooled = (area, 4) if head == "local" else (1, 4 * area)
        self.readout = Readout(inputs * positions, checked_classes(classes), input_scale=1 / pooled)

    def forward(self, events: Tensor) -> Tensor:
        """Event counts [T, B, C, H, W] to logits [T, B, classes]."""
        logits: Tensor = self.readout(self.flatten(self.layers(self.input(events))))
        return logits

"""The readout: a linear map of spikes to logits, summed over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitspike.block.base import Block, Form, count, integers
from bitspike.integer import graph, ops
from bitspike.integer.weight import Weight
from bitspike.quant import QuantizedWeight, quantize_weight, round_half_up, straight_through
from bitspike.spec import WeightSpec

INT32 = 2**31 - 1


class Readout(Block):
    """[T, B, features] to logits [T, B, classes] of every step; a network's answer is their mean over T.

    Integer form: sum over t of (W x[t]) + round(T bias / scale), with one weight scale for the whole layer. In
    eval mode the logits are float64 multiples of one unit, so that `logits.mean(0).argmax(-1)` is the integer
    form's answer, the lowest index at a tie. input_scale is the real value of one unit of the input: 1 for spikes,
    1 / (pixels of the window) behind a sum pool, so that logits start at the size that an average would give.
    """

    def __init__(self, in_features: int, classes: int, bias: bool = True, *, input_scale: float = 1.0) -> None:
        super().__init__()
        count("Readout", in_features=in_features, classes=classes)
        if not 0 < input_scale < float("inf"):
            raise ValueError(f"Readout: input_scale is {input_scale}; it must be positive")
        self.input_scale = input_scale
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        nn.init.normal_(self.weight, std=in_features**-0.5)
        self.bias = nn.Parameter(torch.zeros(classes)) if bias else None
        self.weight_spec = WeightSpec()
        self.weight_gamma: nn.Parameter | None = None  # of a learned scale; `quantize_` makes it
        self.progress = 0.0

    @property
    def has_integer_form(self) -> bool:
        """Whether the weights are on a grid."""
        return not self.weight_spec.is_float

    @property
    def grid_spec(self) -> WeightSpec:
        """The description that the weights are quantized by: one scale for the layer, whatever is asked for."""
        return replace(self.weight_spec, per="layer")

    def scaled_weights(self) -> dict[str, Tensor]:
        """The weight, under the name that its scale's parameter has where it is learned."""
        return {"weight_gamma": self.weight}

    def quantized(self) -> QuantizedWeight:
        """Codes and the one scale of the layer, the input's scale in it."""
        codes, scale = quantize_weight(
            self.weight, self.grid_spec, self.progress, self.weight_gamma, fresh=self.draws_afresh
        )
        return QuantizedWeight(codes, scale * self.input_scale)

    def compute(self, *operands: Tensor) -> Tensor:
        """Logits of every step."""
        (value,) = operands
        if value.dim() != 3 or value.shape[2] != self.weight.shape[1]:
            raise ValueError(
                f"{self.label} got a tensor of shape {list(value.shape)}; it takes [T, B, {self.weight.shape[1]}]"
            )
        form = self.form
        if form is Form.INTEGER:
            node = self.to_node(self.label, "", value.shape[0])
            sums = ops.readout(integers(value, self.label), node)
            whole_bias = torch.from_numpy(node.bias).to(sums.device)
            return (sums * node.time_steps + whole_bias).double() * node.unit
        codes, scale = self.quantized()
        with torch.autocast(value.device.type, enabled=False):
            if form is Form.REAL:
                return self._real(value.double(), codes.double(), scale.double())
            bias = None if self.bias is None else self.bias.float()
            return F.linear(value.float(), codes.float() * scale.float().unsqueeze(1), bias)

    def _real(self, value: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
        """The integer form's logits, differentiable: sums and rounded bias as multiples of one unit."""
        steps = value.shape[0]
        total = F.linear(value, codes) * steps
        if self.bias is not None:
            exact = steps * self.bias.double() / scale
            total = total + straight_through(round_half_up(exact.detach()), exact)
        unit = torch.full_like(scale[0], _unit(scale, steps))
        return total * straight_through(unit, scale[0] / steps)

    def to_node(
        self, name: str, source: str, time_steps: int, high: Tensor | None = None, low: Tensor | None = None
    ) -> graph.Readout:
        """The layer as plain data for T steps.

        high, low: bounds of the inputs, low 0 by default, to prove that no sum leaves 32 bits.
        """
        with torch.no_grad():
            codes, scales = (part.cpu() for part in self.quantized())
            scale = float(scales[0].double())
            bias = torch.zeros(len(codes)) if self.bias is None else self.bias.cpu()
            if not (codes.isfinite().all() and bias.isfinite().all()):
                raise ValueError(f"{name} holds weights that are not finite numbers")
            whole = round_half_up(time_steps * bias.double() / scale).to(torch.int64)
            if int(whole.abs().max()) > INT32:
                raise ValueError(f"{name}: its bias comes to {int(whole.abs().max())} weight steps, beyond 32 bits")
        if high is not None:
            ends = [codes.to(torch.int64) * bound for bound in (high, torch.zeros_like(high) if low is None else low)]
            positive, negative = torch.maximum(*ends), torch.minimum(*ends)
            largest = torch.maximum(positive.sum(1), -negative.sum(1)) * time_steps + whole.abs()
            if int(largest.max()) > INT32:
                raise ValueError(
                    f"{name}: its sums over {time_steps} steps can reach {int(largest.max())}, beyond 32 bits"
                )
        unit = _unit(scales, time_steps)
        weight = Weight.of(codes.to(torch.int16).numpy())
        return graph.Readout(name, source, weight, whole.to(torch.int32).numpy(), unit, time_steps)


def _unit(scale: Tensor, time_steps: int) -> float:
    """The real value of one integer logit's step.

    24 significant bits: products with 29-bit integers are then exact in float64, and so are ties.
    """
    return float(np.float32(float(scale[0].detach().double()) / time_steps))

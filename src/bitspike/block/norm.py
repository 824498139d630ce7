"""Batch norm whose gain can never reach zero."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitspike.block.fold import GAIN_FLOOR
from bitspike.quant import straight_through


class ChannelNorm(nn.Module):
    """y = gamma (x - mean) / sqrt(var + eps) + beta over [N, C, ...], with |gamma| held above a floor.

    gamma keeps its sign (0 counts as positive). Gradient: straight-through the floor.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps = eps
        self.momentum = momentum

    @property
    def gamma(self) -> Tensor:
        """The weight with its magnitude held above the floor."""
        weight = self.weight
        held = torch.where(weight < 0, weight.clamp_max(-GAIN_FLOOR), weight.clamp_min(GAIN_FLOOR))
        return straight_through(held, weight)

    def forward(self, value: Tensor, *, batch: bool) -> Tensor:
        """Normalize with the batch's statistics (updating the running ones) or with the running ones."""
        return F.batch_norm(
            value, self.running_mean, self.running_var, self.gamma, self.bias, batch, self.momentum, self.eps
        )

    def batch_statistics(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over all but the channel axis; the running ones are updated as `forward` does."""
        axes = [0, *range(2, value.dim())]
        value = value.float()
        mean = value.mean(axes)
        variance = value.var(axes, unbiased=False)
        count = value.numel() // value.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        return mean, variance

"""Batch norm whose gain can never reach zero, and the statistics of a batch, however many processes share it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitspike.block import across
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
        if batch and across.processes() > 1:
            mean, variance = self.batch_statistics(value)
            gain = self.gamma / torch.sqrt(variance + self.eps)
            gain, shift = (_spread(row, value) for row in (gain, self.bias - mean * gain))
            return (value * gain + shift).to(value.dtype)
        return F.batch_norm(
            value, self.running_mean, self.running_var, self.gamma, self.bias, batch, self.momentum, self.eps
        )

    def batch_statistics(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over all but the channel axis; the running ones are updated as `forward` does."""
        mean, variance = batch_moments(value)
        count = value.numel() // value.shape[1] * across.processes()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        return mean, variance


def batch_moments(value: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel of [N, C, ...], over all processes; differentiable."""
    if across.processes() > 1:
        found: tuple[Tensor, Tensor] = _SharedMoments.apply(value)  # type: ignore[no-untyped-call]
        return found
    value, axes = value.float(), _axes(value)
    return value.mean(axes), value.var(axes, unbiased=False)


class _SharedMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        count = value.numel() // value.shape[1]
        variance, mean = torch.var_mean(value.float(), _axes(value), correction=0)
        mean, squares = across.moments(count, mean, variance * count)
        ctx.count = count * across.processes()
        ctx.save_for_backward(value, mean.float())
        return mean.float(), (squares / ctx.count).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        value, mean = ctx.saved_tensors
        of_mean, of_variance = across.summed(torch.stack(gradients)) / ctx.count
        centred = value.float() - _spread(mean, value)
        of_value: Tensor = _spread(of_mean, value) + 2 * _spread(of_variance, value) * centred
        return of_value.to(value.dtype)


def _axes(value: Tensor) -> list[int]:
    """All but the channels."""
    return [0, *range(2, value.dim())]


def _spread(per_channel: Tensor, value: Tensor) -> Tensor:
    """[C] shaped to meet [N, C, ...]."""
    return per_channel.reshape(-1, *(1,) * (value.dim() - 2))

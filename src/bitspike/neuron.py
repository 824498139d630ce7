"""The leaky integrate-and-fire neuron in float: one step as a pure function, and the same fused over time.

    h[t] = leak * u[t-1] + i[t]          the full sum
    s[t] = 1 if h[t] >= threshold else 0;    h[t] > threshold where the spec is strict
    u[t] = Q(h[t] * (1 - s[t]))          hard reset;    Q(h[t] - subtracted * s[t])    soft reset

subtracted: the threshold, unless the spec says otherwise. Q is the membrane's quantizer (identity at 32 bits). The
spike sees the full sum, never the stored u (Q-SNN Eq. 10; its Algorithm 1 says otherwise). Gradient of the spike:
max(0, 1 - |h - threshold|), through the reset as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitspike.quant.membrane import quantize_membrane, quantize_membrane_dynamic
from bitspike.spec import MembraneSpec

SURROGATE_WIDTH = 1.0
_CHUNK = 1 << 16
"""Elements of one time step handled at once in `lif`: small enough to stay in a core's cache."""


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, excess: Tensor, fired: Tensor) -> Tensor:
        ctx.save_for_backward(excess)
        return fired.to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (excess,) = ctx.saved_tensors
        return gradients[0] * surrogate(excess), None


def surrogate(excess: Tensor) -> Tensor:
    """The triangle max(0, 1 - |x|) that stands in for the derivative of the step."""
    return (SURROGATE_WIDTH - excess.abs()).clamp_min_(0)


def spike(excess: Tensor, fired: Tensor | None = None) -> Tensor:
    """1 where `excess` >= 0 (or where `fired` says so), with the triangle as gradient."""
    result: Tensor = _Spike.apply(  # type: ignore[no-untyped-call]
        excess, excess >= 0 if fired is None else fired
    )
    return result


def lif_step(
    current: Tensor,
    potential: Tensor,
    spec: MembraneSpec,
    step: Tensor | None = None,
    noise: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step: (input current, stored potential) -> (spikes, stored potential). The definition.

    step: the membrane's step per channel, broadcast against `current`; None stores in float.
    """
    total = float(spec.leak) * potential + current
    spikes = spike(total - spec.threshold, total > spec.threshold if spec.strict else None)
    kept = total * (1 - spikes) if spec.reset == "hard" else total - spec.subtracted * spikes
    if spec.form == "dynamic" and not spec.is_float:
        kept = quantize_membrane_dynamic(kept, spec)
    elif step is not None:
        kept = quantize_membrane(kept, step, spec, noise)
    return spikes, kept


def lif(current: Tensor, spec: MembraneSpec, step: Tensor | None = None) -> Tensor:
    """All steps of `current` [T, B, ...] from a membrane at rest: spikes [T, B, ...].

    Equal to a loop over `lif_step`. Membranes are computed again in the backward pass, a few samples at a
    time, so only the current is kept.
    """
    stochastic = spec.rounding == "stochastic" and step is not None
    if stochastic or spec.form == "dynamic":
        return _lif_plain(current, spec, step)
    result: Tensor = _FusedLif.apply(current, spec, step)  # type: ignore[no-untyped-call]
    return result


def _lif_plain(current: Tensor, spec: MembraneSpec, step: Tensor | None) -> Tensor:
    potential = torch.zeros_like(current[0])
    spikes = []
    for now in current:
        drawn = torch.rand_like(now) if spec.rounding == "stochastic" else None
        fired, potential = lif_step(now, potential, spec, step, drawn)
        spikes.append(fired)
    return torch.stack(spikes)


def _chunks(current: Tensor) -> list[slice]:
    batch = current.shape[1]
    if current.device.type != "cpu" or not current.numel():
        return [slice(0, batch)]
    size = max(1, _CHUNK * torch.get_num_threads() // max(1, current[0, 0].numel()))
    return [slice(start, start + size) for start in range(0, batch, size)]


def _like(current: Tensor) -> Tensor:
    """Empty memory for [T, B, ...] laid out as one step is (a static current has no steps of its own)."""
    once = current[0]
    memory = torch.empty(len(current) * once.numel(), dtype=current.dtype, device=current.device)
    order = sorted(range(once.dim()), key=once.stride, reverse=True)
    strides = [0] * once.dim()
    size = 1
    for axis in reversed(order):
        strides[axis] = size
        size *= once.shape[axis]
    return memory.as_strided(current.shape, (size, *strides))


class _FusedLif(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, spec: MembraneSpec, step: Tensor | None) -> Tensor:
        spikes = _like(current)
        for part in _chunks(current):
            _integrate(current[:, part], spec, step, spikes=spikes[:, part])
        ctx.save_for_backward(current, step)
        ctx.spec = spec
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        current, step = ctx.saved_tensors
        gradient = _like(current)
        for part in _chunks(current):
            totals = _integrate(current[:, part], ctx.spec, step, keep=True)
            _differentiate(gradients[0][:, part], totals, ctx.spec, step, out=gradient[:, part])
        return gradient, None, None


# Below, masks are float tensors written by a comparison: torch multiplies by them many times faster than it
# fills by a mask of booleans.


def _fired(total: Tensor, spec: MembraneSpec) -> Tensor:
    compare = torch.gt if spec.strict else torch.ge
    return compare(total, spec.threshold, out=torch.empty_like(total))


def _silent(total: Tensor, spec: MembraneSpec) -> Tensor:
    compare = torch.le if spec.strict else torch.lt
    return compare(total, spec.threshold, out=torch.empty_like(total))


def _after_reset(total: Tensor, spec: MembraneSpec) -> Tensor:
    if spec.reset == "hard":
        return _silent(total, spec).mul_(total)
    return torch.sub(total, _fired(total, spec), alpha=spec.subtracted)


def _integrate(
    current: Tensor, spec: MembraneSpec, step: Tensor | None, *, spikes: Tensor | None = None, keep: bool = False
) -> list[Tensor]:
    """Run all steps; write the spikes where asked, return the full sums h[t] where asked."""
    offset = 0.5 if spec.rounding == "nearest" else 0.0
    totals = []
    kept: Tensor | None = None
    for t in range(current.shape[0]):
        now = current[t].float()
        total = now if kept is None else torch.add(now, kept, alpha=float(spec.leak))
        if spikes is not None:
            spikes[t] = _fired(total, spec)
        if keep:
            totals.append(total)
        if t + 1 < current.shape[0]:
            kept = _after_reset(total, spec)
            if step is not None:
                kept.div_(step).add_(offset).floor_().clamp_(-spec.levels, spec.levels).mul_(step)
    return totals


def _differentiate(
    gradient: Tensor, totals: list[Tensor], spec: MembraneSpec, step: Tensor | None, *, out: Tensor
) -> None:
    """Back through the steps: from d loss / d spikes to d loss / d current."""
    stored: Tensor | None = None  # d loss / d u[t]
    for t in reversed(range(len(totals))):
        total = totals[t]
        of_spike = gradient[t].float()
        slope = surrogate(total - spec.threshold)
        if stored is None:
            of_total = slope.mul_(of_spike)
        else:
            if step is not None:
                size = _after_reset(total, spec).abs_()
                stored = torch.le(size, spec.levels * step, out=size).mul_(stored)
            if spec.reset == "hard":
                of_spike = torch.addcmul(of_spike, stored, total, value=-1)
                stored = _silent(total, spec).mul_(stored)
            else:
                of_spike = torch.sub(of_spike, stored, alpha=spec.subtracted)
            of_total = slope.mul_(of_spike).add_(stored)
        out[t] = of_total
        stored = of_total * float(spec.leak)

"""`block.kernels` on the engine's C: tensors go there as addresses."""

from __future__ import annotations

import torch
from torch import Tensor

from bitspike.block.kernels import PARAMETERS, Neurons
from bitspike.engine import training
from bitspike.engine.library import Layer

_POOLS = {None: 0, "max": 1, "sum": 2}


def _is_half(value: Tensor) -> bool:
    return value.dtype == torch.bfloat16


def available() -> bool:
    """Whether the engine was built with kernels that this processor can run."""
    return bool(training.builds())


def moments(sums: Tensor) -> tuple[Tensor, Tensor]:
    """See `Kernels.moments`."""
    channels = sums.shape[1]
    mean, squares = training.moments(
        sums.data_ptr(),
        sums.numel() // channels,
        channels,
        half=_is_half(sums),
        threads=torch.get_num_threads(),
    )
    return torch.from_numpy(mean), torch.from_numpy(squares)


def forward(neurons: Neurons, sums: Tensor, extra: Tensor | None, spikes: Tensor) -> Tensor:
    """See `Kernels.forward`."""
    layer = _layer(neurons, sums, extra, spikes)
    layer.spikes = spikes.data_ptr()
    return torch.tensor(float(training.forward(layer, torch.get_num_threads())))


def backward(
    neurons: Neurons,
    sums: Tensor,
    extra: Tensor | None,
    gradient: Tensor,
    per_spike: Tensor,
    flow: Tensor,
) -> Tensor:
    """See `Kernels.backward`."""
    layer = _layer(neurons, sums, extra, gradient)
    layer.gradient, layer.flow, layer.per_spike = gradient.data_ptr(), flow.data_ptr(), float(per_spike)
    return torch.from_numpy(training.backward(layer, torch.get_num_threads()))


def _layer(neurons: Neurons, sums: Tensor, extra: Tensor | None, spikes: Tensor) -> Layer:
    """The call in the engine's terms; the caller keeps alive what it points to."""
    membrane, parameters = neurons.membrane, neurons.parameters
    height, width = sums.shape[2:] if sums.dim() == 4 else (1, 1)
    address, row = parameters.data_ptr(), parameters.stride(0) * parameters.element_size()
    return Layer(
        steps=neurons.steps,
        samples=neurons.samples,
        height=height,
        width=width,
        channels=sums.shape[1],
        half_sums=_is_half(sums),
        half_spikes=_is_half(spikes),
        fixed=neurons.fixed(sums),
        pool=_POOLS[neurons.pool],
        soft=membrane.reset == "soft",
        levels=neurons.levels,
        offset=neurons.offset,
        leak=float(membrane.leak),
        threshold=membrane.threshold,
        sums=sums.data_ptr(),
        extra=None if extra is None else extra.data_ptr(),
        **{name: address + number * row for number, name in enumerate(PARAMETERS)},
    )


def affine(flow: Tensor, value: Tensor, coefficients: Tensor, into: Tensor) -> None:
    """See `Kernels.affine`."""
    training.affine(
        flow.data_ptr(),
        value.data_ptr(),
        into.data_ptr(),
        flow.numel() // flow.shape[1],
        coefficients.numpy(),
        half=_is_half(flow),
        threads=torch.get_num_threads(),
    )


def pack(value: Tensor, *, spikes: bool) -> Tensor:
    """See `Kernels.pack`; it looks at every number on its way, so nobody needs to know."""
    bits = torch.empty((value.numel() + 7) // 8, dtype=torch.uint8)
    whole = training.pack(value.data_ptr(), value.numel(), bits.data_ptr(), half=_is_half(value))
    return bits if whole else value


def unpack(bits: Tensor, into: Tensor) -> None:
    """See `Kernels.unpack`."""
    training.unpack(bits.data_ptr(), into.numel(), into.data_ptr(), half=_is_half(into))

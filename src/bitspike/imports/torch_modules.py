"""Torch modules, and those of snnTorch and SpikingJelly, as layers: told by the names of their classes.

Neither library is imported. What a class computes was read from snnTorch 1.0 and SpikingJelly 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.imports.layers import (
    CannotImport,
    Flattening,
    Layer,
    Neuron,
    Norm,
    Nothing,
    Pooling,
    Voting,
    Weighted,
    refuse_not_finite,
)

_ONE, _ZERO = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is one layer to us, known or not, rather than a container of layers."""
    return _reader(module) is not None or _is_foreign_neuron(module) or not list(module.children())


def _is_foreign_neuron(module: nn.Module) -> bool:
    """Whether it comes from where a library keeps its neurons, which may hold a surrogate or weights of their own."""
    path = type(module).__module__
    return path.startswith(("snntorch._neurons", "spikingjelly.activation_based.neuron"))


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is one of the neurons that can be imported."""
    return _key(module) in _NEURONS


def is_multi_step(module: nn.Module) -> bool:
    """Whether a module takes all time steps at once."""
    return getattr(module, "step_mode", "s") == "m"


def layer_of(name: str, module: nn.Module, sizes: Sequence[int] = ()) -> Layer:
    """What a module is; refused by name where it is nothing that blocks can be. sizes: of the maps that it is given."""
    reader = _reader(module)
    if reader is None:
        kind = type(module).__name__
        raise CannotImport(name, f"is a {kind}, {_WHY_NOT.get(kind, _UNKNOWN)}")
    if sizes and isinstance(module, nn.AdaptiveAvgPool2d):
        return _adaptive(name, module, sizes)
    return refuse_not_finite(reader(name, module))


def _key(module: nn.Module) -> tuple[str, str]:
    """(library, class), such as ("snntorch", "Leaky"); a subclass of one's own is nothing we know."""
    return type(module).__module__.partition(".")[0], type(module).__name__


def _reader(module: nn.Module) -> Callable[[str, Any], Layer] | None:
    library, kind = _key(module)
    if library == "spikingjelly" and kind in _TORCH:
        return _TORCH[kind]
    if library == "torch":
        return _TORCH.get(kind)
    return _NEURONS.get((library, kind)) or _OTHERS.get((library, kind))


_UNKNOWN = (
    "which bitspike cannot import; networks are chains of Conv2d, Linear, BatchNorm, pooling, Flatten, Dropout and "
    "the neurons Leaky (snnTorch), IFNode, LIFNode, ParametricLIFNode (SpikingJelly)"
)
_RECURRENT = "which feeds its spikes back to itself; blocks have no recurrent weights: train with a Leaky instead"
_CURRENT = "whose synaptic current is a second state that blocks do not have; train with a Leaky or a LIFNode instead"
_PER_STEP = "which has statistics for every time step; blocks have one batch norm for all: use BatchNorm2d"
_ACTIVATION = "an activation that gives no spikes; put a spiking neuron in its place"
_WHY_NOT = {
    **dict.fromkeys(("RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM", "LSTM", "GRU", "RNN"), _RECURRENT),
    **dict.fromkeys(("LinearRecurrentContainer", "ElementWiseRecurrentContainer"), _RECURRENT),
    **dict.fromkeys(("Synaptic", "Alpha", "CUBALIFNode", "SynapseFilter"), _CURRENT),
    **dict.fromkeys(("BatchNormThroughTime1d", "BatchNormThroughTime2d"), _PER_STEP),
    **dict.fromkeys(("TemporalEffectiveBatchNorm1d", "TemporalEffectiveBatchNorm2d"), _PER_STEP),
    **dict.fromkeys(("ReLU", "LeakyReLU", "GELU", "Sigmoid", "Tanh", "Softmax", "SiLU"), _ACTIVATION),
}


# ---- layers without state ----


def _numbers(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).detach().cpu()


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, tuple | list) else (int(value), int(value))


def _convolution(name: str, module: nn.Conv2d) -> Layer:
    if module.groups != 1 or _pair(module.dilation) != (1, 1) or module.padding_mode != "zeros":
        raise CannotImport(
            name,
            f"is a convolution with groups {module.groups}, dilation {module.dilation} and padding mode "
            f"{module.padding_mode}; blocks have groups 1, dilation 1 and zeros",
        )
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    padding = module.padding
    if padding == "same" and any(size % 2 == 0 for size in kernel):
        raise CannotImport(name, f'has padding "same" with a kernel of {list(kernel)}; give the padding as numbers')
    if isinstance(padding, str):
        padding = (kernel[0] // 2, kernel[1] // 2) if padding == "same" else (0, 0)
    return Weighted(name, _numbers(module.weight), _bias(module), stride, _pair(padding))


def _linear(name: str, module: nn.Linear) -> Layer:
    return Weighted(name, _numbers(module.weight), _bias(module))


def _bias(module: nn.Conv2d | nn.Linear) -> Tensor | None:
    return None if module.bias is None else _numbers(module.bias)


def _norm(name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> Layer:
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise CannotImport(name, "takes the statistics of every batch; train it with track_running_stats=True")
    gamma = torch.ones_like(mean) if module.weight is None else module.weight
    beta = torch.zeros_like(mean) if module.bias is None else module.bias
    return Norm(name, _numbers(gamma), _numbers(beta), _numbers(mean), _numbers(variance), float(module.eps))


def _pool(name: str, module: nn.MaxPool2d | nn.AvgPool2d) -> Layer:
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    padding = _pair(module.padding)
    if module.ceil_mode or _pair(getattr(module, "dilation", 1)) != (1, 1):
        raise CannotImport(name, "pools with ceil_mode or dilation; blocks pool whole windows of neighbours")
    if getattr(module, "return_indices", False) or getattr(module, "divisor_override", None):
        raise CannotImport(name, "has return_indices or divisor_override, which blocks do not have")
    if padding != (0, 0) and not getattr(module, "count_include_pad", True):
        raise CannotImport(
            name, "averages with padding that does not count, which blocks do not; count_include_pad=True"
        )
    return Pooling(name, "max" if isinstance(module, nn.MaxPool2d) else "average", kernel, stride, padding)


def _adaptive(name: str, module: nn.AdaptiveAvgPool2d, sizes: Sequence[int] = (1, 1)) -> Layer:
    """What adaptive pooling is on maps of these sizes."""
    given: Any = module.output_size
    both = given if isinstance(given, tuple | list) else (given, given)
    wanted = [size if one is None else int(one) for size, one in zip(sizes, both, strict=True)]  # None: as the map
    if wanted == [1, 1]:
        return Pooling(name, "average", None, None)
    if wanted == list(sizes):
        return Nothing(name)
    if any(sizes[i] % wanted[i] for i in range(2)):
        raise CannotImport(name, f"pools maps of {list(sizes)} to {wanted}, which does not divide them; use AvgPool2d")
    kernel = (sizes[0] // wanted[0], sizes[1] // wanted[1])
    return Pooling(name, "average", kernel, kernel)


def _flatten(name: str, module: nn.Flatten) -> Layer:
    if module.end_dim != -1 or module.start_dim not in (1, 2):
        raise CannotImport(name, f"flattens from axis {module.start_dim} to {module.end_dim}; use Flatten()")
    return Flattening(name)


def _nothing(name: str, module: nn.Module) -> Layer:
    return Nothing(name)


def _voting(name: str, module: Any) -> Layer:
    return Voting(name, int(module.voting_size))


# ---- neurons ----


def _leaky(name: str, module: Any) -> Layer:
    """SnnTorch: mem = beta mem + x - reset threshold, fires above the threshold; reset: the spike before."""
    if module.state_quant or module.inhibition:
        raise CannotImport(name, "has state_quant or inhibition, which only it has; train without")
    if bool((_numbers(module.graded_spikes_factor) != 1).any()):
        raise CannotImport(name, "has a graded_spikes_factor; spikes of blocks are 0 and 1: train with 1")
    leak = _single(name, "beta", _numbers(module.beta).clamp(0, 1))
    how, note, ratio = str(module.reset_mechanism), "", 1.0
    if how == "none":
        ratio = 0.0
    elif how == "subtract" and module.reset_delay:
        if leak == 0:
            raise CannotImport(
                name, "has beta 0 and takes its threshold away one step later, from a membrane of no memory; "
                'train with reset_delay=False or reset_mechanism="zero"',
            )  # fmt: skip
        ratio = 1 / leak
    elif how == "subtract":
        note = "reset_delay=False: exact while no membrane exceeds twice its threshold"
    fraction = Fraction(leak)
    return Neuron(name, fraction, _numbers(module.threshold), _ONE, _ZERO, how == "zero", ratio, True, note)


def _single(name: str, what: str, value: Tensor) -> float:
    """The one number that all neurons have."""
    if bool((value != value.flatten()[0]).any()):
        raise CannotImport(name, f"has a {what} of its own for every neuron; blocks have one per layer: train with one")
    return float(value.flatten()[0])


def _integrate(name: str, module: Any) -> Layer:
    """SpikingJelly: v = v + x, fires at the threshold and above."""
    return _jelly(name, module, Fraction(1), 1.0)


def _leaky_integrate(name: str, module: Any) -> Layer:
    """SpikingJelly: v = v + (x - v) / tau, or v - v / tau + x."""
    decay = 1 / Fraction(repr(float(module.tau)))
    return _jelly(name, module, 1 - decay, float(decay) if module.decay_input else 1.0)


def _parametric(name: str, module: Any) -> Layer:
    """SpikingJelly: as LIFNode with 1 / tau = sigmoid(w), one for the layer."""
    decay = float(_numbers(module.w).sigmoid())
    return _jelly(name, module, 1 - Fraction(decay), decay if module.decay_input else 1.0)


def _jelly(name: str, module: Any, leak: Fraction, gain: float) -> Layer:
    if not getattr(module.surrogate_function, "spiking", True):
        raise CannotImport(name, "gives its surrogate's values and no spikes; set surrogate_function.spiking to True")
    if not isinstance(module.v_threshold, float | int) or not 0 <= leak <= 1:
        raise CannotImport(name, "has a threshold or a time constant that is not one number; blocks have one per layer")
    # Everything is told from v_reset, where the membrane starts, leaks to and is reset to.
    start = 0.0 if module.v_reset is None else float(module.v_reset)
    threshold = float(module.v_threshold) - start
    if threshold <= 0:
        raise CannotImport(name, f"is reset to {start}, not below its threshold {module.v_threshold}")
    note = f"potentials are told from v_reset = {start:g}" if start else ""
    return Neuron(
        name, leak, _numbers(threshold), _numbers(gain), _ZERO, module.v_reset is not None, strict=False, note=note
    )


_TORCH: dict[str, Callable[[str, Any], Layer]] = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "BatchNorm1d": _norm,
    "BatchNorm2d": _norm,
    "ThresholdDependentBatchNorm1d": _norm,
    "ThresholdDependentBatchNorm2d": _norm,
    "MaxPool2d": _pool,
    "AvgPool2d": _pool,
    "AdaptiveAvgPool2d": _adaptive,
    "Flatten": _flatten,
    "Dropout": _nothing,
    "Dropout1d": _nothing,
    "Dropout2d": _nothing,
    "Identity": _nothing,
}
_NEURONS: dict[tuple[str, str], Callable[[str, Any], Layer]] = {
    ("snntorch", "Leaky"): _leaky,
    ("spikingjelly", "IFNode"): _integrate,
    ("spikingjelly", "LIFNode"): _leaky_integrate,
    ("spikingjelly", "ParametricLIFNode"): _parametric,
}
_OTHERS: dict[tuple[str, str], Callable[[str, Any], Layer]] = {("spikingjelly", "VotingLayer"): _voting}

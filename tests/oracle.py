"""Independent twins of the integer form and of the real-valued network, in numpy, written from DESIGN section 2.

Nothing of `bitspike.integer.ops` is used here: sums are int64 brute force, the generator has its own code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitspike.block import ConvSkip, PlainSkip, SpikingBlock
from bitspike.integer import graph as g

INT32 = 2**31 - 1
_ROTATE = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))


def threefry(counter: list[NDArray[np.uint32]], key: list[int]) -> list[NDArray[np.uint32]]:
    """Threefry-4x32-20 on wrapping 32-bit words."""
    keys = [np.uint32(word) for word in key]
    keys.append(np.uint32(0x1BD11BDA) ^ keys[0] ^ keys[1] ^ keys[2] ^ keys[3])
    with np.errstate(over="ignore"):
        x0, x1, x2, x3 = (np.asarray(word, dtype=np.uint32) + keys[i] for i, word in enumerate(counter))
        for turn in range(20):
            a, b = _ROTATE[turn % 8]
            if turn % 2:
                x1, x3 = x3, x1
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(a)) | (x1 >> np.uint32(32 - a))) ^ x0
            x2 = x2 + x3
            x3 = ((x3 << np.uint32(b)) | (x3 >> np.uint32(32 - b))) ^ x2
            if turn % 2:
                x1, x3 = x3, x1
            if turn % 4 == 3:
                s = turn // 4 + 1
                x0, x1, x2 = x0 + keys[s % 5], x1 + keys[(s + 1) % 5], x2 + keys[(s + 2) % 5]
                x3 = x3 + keys[(s + 3) % 5] + np.uint32(s)
    return [x0, x1, x2, x3]


def random_integers(channels: int, pixels: int, bits: int, seed: int, layer: int, step: int) -> NDArray[np.int64]:
    """[C, pixels] integers below 2^bits, bit by bit."""
    drawn = np.zeros((channels, pixels), np.int64)
    pixel = np.arange(pixels, dtype=np.uint32)
    for group in range(math.ceil(channels / 32)):
        members = np.arange(32 * group, min(channels, 32 * group + 32))
        for j in range(bits):
            counter = [pixel, *(np.full(pixels, word, np.uint32) for word in (step, layer, group * 8 + j // 4))]
            plane = threefry(counter, [seed, 0, 0, 0])[j % 4]
            drawn[members] |= ((plane[None] >> (members % 32)[:, None].astype(np.uint32)) & 1).astype(np.int64) << j
    return drawn


def convolve(value: NDArray, weight: NDArray, stride: tuple[int, int], padding: tuple[int, int]) -> NDArray:
    """Sum over the window, offset by offset, in the wider type of both: [T, B, C, H, W]."""
    (ph, pw), (sh, sw), (kh, kw) = padding, stride, weight.shape[2:]
    padded = np.pad(value, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    height, width = (padded.shape[3] - kh) // sh + 1, (padded.shape[4] - kw) // sw + 1
    total = np.zeros((*value.shape[:2], len(weight), height, width), np.result_type(value, weight))
    for y in range(kh):
        for x in range(kw):
            seen = padded[..., y : y + sh * (height - 1) + 1 : sh, x : x + sw * (width - 1) + 1 : sw]
            total += np.einsum("tbchw,oc->tbohw", seen, weight[:, :, y, x])
    return total


def _sum(value: NDArray, operator: g.WeightedSum) -> NDArray[np.int64]:
    weight = operator.weight.codes.astype(np.int64)
    if isinstance(operator, g.Dense):
        return np.einsum("tbc,oc->tbo", value.astype(np.int64), weight)
    total = convolve(value.astype(np.int64), weight, operator.stride, operator.padding)
    return (
        total if operator.largest is None else windows(total, operator.largest.kernel, operator.largest.stride, "max")
    )


@dataclass
class Run:
    """Values of every node by name, logits, and the largest magnitude that any intermediate of a layer had."""

    values: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    logits: NDArray[np.int64] | None = None


def interpret(graph: g.Graph, samples: NDArray[np.uint8]) -> Run:
    """The whole graph in int64."""
    run = Run()
    for node in graph.nodes:
        if isinstance(node, g.Input):
            pixels = samples.astype(np.int64) - np.array(node.zero_point).reshape(-1, 1, 1)
            run.values[node.name] = np.stack([pixels] * node.time_steps) if node.kind == "image" else pixels
            continue
        value = run.values[node.source]
        if isinstance(node, g.Spiking):
            run.values[node.name] = _spiking(node, value, run)
        elif isinstance(node, g.Pool):
            run.values[node.name] = _pool(node, value)
        elif isinstance(node, g.Flatten):
            run.values[node.name] = value.reshape(*value.shape[:2], -1)
        else:
            run.values[node.name] = _sum(value, g.Dense(node.weight))
            run.logits = run.values[node.name].sum(0) + node.bias.astype(np.int64)
    return run


def _spiking(node: g.Spiking, value: NDArray, run: Run) -> NDArray[np.int64]:
    fire = node.fire
    spread = (-1, *(1,) * (value.ndim - 3))
    total = _sum(value, node.operator) * (1 << fire.shift.astype(np.int64)).reshape(spread)
    parts = [np.abs(total).max(initial=0)]
    count = np.zeros(total.shape, np.int64)
    if isinstance(node.skip, g.WeightedSkip):
        side = _sum(run.values[node.skip.source], node.skip.operator)
        side = side * (1 << node.skip.shift.astype(np.int64)).reshape(spread)
        parts.append(np.abs(side).max(initial=0))
        total = total + side
    elif isinstance(node.skip, g.PlainSkip):
        count = joined(run.values[node.skip.source], node.skip, total.shape)
    channel = np.arange(total.shape[2]).reshape(spread)
    stored = np.zeros(total.shape[1:], np.int64)
    spikes = np.zeros(total.shape, np.int64)
    pixels = math.prod(total.shape[3:])
    for t in range(len(total)):
        leaked = stored * fire.leak * 2 ** (fire.g - fire.leak_exponent)
        full = leaked + total[t]
        fired = full >= fire.threshold.astype(np.int64)[channel, count[t]]
        constant = fire.rounding.astype(np.int64)[channel, count[t]]
        if fire.reset == "soft":
            constant = np.where(fired, fire.rounding_fired.astype(np.int64)[channel, count[t]], constant)
        if fire.stochastic:
            drawn = random_integers(total.shape[2], pixels, fire.g, fire.seed, fire.stream, t)
            constant = constant + drawn.reshape(total.shape[2:])
        parts += [np.abs(part).max(initial=0) for part in (leaked, full, full + constant)]
        stored = np.clip((full + constant) // 2**fire.g, -fire.levels, fire.levels)
        if fire.reset == "hard":
            stored = np.where(fired, 0, stored)
        spikes[t] = fired
    run.largest[node.name] = max(run.largest.get(node.name, 0), *(int(part) for part in parts))
    return spikes


def joined(source: NDArray, skip: g.PlainSkip | PlainSkip, shape: tuple[int, ...]) -> NDArray:
    """The skip's spikes or counts, strided and mapped, neuron by neuron."""
    if source.ndim == 5:
        source = source[..., :: skip.stride, :: skip.stride]
    if skip.channel_map is None:
        return source
    out = np.zeros(shape, source.dtype)
    for c, at in enumerate(skip.channel_map):
        if at >= 0:
            out[:, :, c] = source[:, :, at]
    return out


def _pool(node: g.Pool, value: NDArray) -> NDArray[np.int64]:
    kernel = value.shape[-2:] if node.kernel is None else node.kernel
    stride = kernel if node.stride is None else node.stride
    around = [(0, 0)] * 3 + [(size, size) for size in node.padding]
    outside = np.iinfo(value.dtype).min if node.kind == "max" else 0
    return windows(np.pad(value, around, constant_values=outside), kernel, stride, node.kind)


def windows(value: NDArray, kernel: tuple[int, ...], stride: tuple[int, ...], kind: str) -> NDArray:
    """The largest or the sum of every window of [T, B, C, H, W]."""
    height, width = ((value.shape[3 + i] - kernel[i]) // stride[i] + 1 for i in range(2))
    out = np.zeros((*value.shape[:3], height, width), value.dtype)
    for y in range(height):
        for x in range(width):
            top, left = y * stride[0], x * stride[1]
            window = value[..., top : top + kernel[0], left : left + kernel[1]]
            out[..., y, x] = window.max((-2, -1)) if kind == "max" else window.sum((-2, -1))
    return out


def bounds(graph: g.Graph) -> dict[str, int]:
    """Per spiking layer the largest |I| that any input at all could give, from weights and operands' ranges."""
    ranges: dict[str, tuple[NDArray, NDArray]] = {}
    shapes: dict[str, tuple[int, ...]] = {graph.input.name: graph.input.shape}
    found: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node, g.Input):
            zero = np.array(node.zero_point, np.int64)
            ranges[node.name] = (-zero, node.bound - zero)
        elif isinstance(node, g.Spiking):
            largest = _magnitude(node.operator, ranges[node.source]) << node.fire.shift.astype(np.int64)
            if isinstance(node.skip, g.WeightedSkip):
                side = _magnitude(node.skip.operator, ranges[node.skip.source])
                largest = largest + (side << node.skip.shift.astype(np.int64))
            membrane = node.fire.levels * node.fire.leak * 2 ** (node.fire.g - node.fire.leak_exponent)
            found[node.name] = int(largest.max()) + membrane
            channels = len(largest)
            ranges[node.name] = (np.zeros(channels, np.int64), np.ones(channels, np.int64))
        elif isinstance(node, g.Pool):
            low, high = ranges[node.source]
            size = 1 if node.kind == "max" else math.prod(node.kernel or shapes[node.source][1:])
            ranges[node.name] = (low * size, high * size)
        elif isinstance(node, g.Flatten):
            positions = math.prod(shapes[node.source][1:])
            ranges[node.name] = tuple(np.repeat(part, positions) for part in ranges[node.source])
        shapes[node.name] = _shape(node, shapes)
    return found


def _magnitude(operator: g.WeightedSum, operand: tuple[NDArray, NDArray]) -> NDArray[np.int64]:
    weight = operator.weight.codes.astype(np.int64)
    low, high = (np.broadcast_to(part.reshape(1, -1, *(1,) * (weight.ndim - 2)), weight.shape) for part in operand)
    axes = tuple(range(1, weight.ndim))
    largest = np.maximum(weight * low, weight * high).sum(axes)
    smallest = np.minimum(weight * low, weight * high).sum(axes)
    return np.maximum(np.abs(largest), np.abs(smallest))


def _shape(node: g.Node, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    if isinstance(node, g.Input):
        return node.shape
    before = shapes[node.source]
    if isinstance(node, g.Flatten):
        return (math.prod(before),)
    if isinstance(node, g.Pool):
        if node.kernel is None:
            return (before[0], 1, 1)
        sizes = [before[1 + i] + 2 * node.padding[i] - node.kernel[i] for i in range(2)]
        return (before[0], *(sizes[i] // node.stride[i] + 1 for i in range(2)))
    if isinstance(node, g.Spiking) and isinstance(node.operator, g.Convolution):
        op = node.operator
        sizes = [(before[1 + i] + 2 * op.padding[i] - op.weight.shape[2 + i]) // op.stride[i] + 1 for i in range(2)]
        if (most := op.largest) is not None:
            sizes = [(sizes[i] - most.kernel[i]) // most.stride[i] + 1 for i in range(2)]
        return (len(op.weight), *sizes)
    return (len(node.weight if isinstance(node, g.Readout) else node.operator.weight),)


@dataclass
class Real:
    """Spikes of a real-valued layer, and which neurons stayed clear of every tie up to each step."""

    spikes: NDArray[np.int64]
    decided: NDArray[np.bool_]


def real_layer(block: SpikingBlock, value: NDArray, skip: NDArray | None) -> Real:
    """One layer with running statistics in natural units: batch norm as batch norm, membrane in real numbers.

    Only codes and scales of the weights are taken from the block. A neuron that comes within rounding of a tie is
    marked undecided from there on.
    """

    def number(tensor: object) -> NDArray:
        return tensor.detach().double().numpy()

    main, side = block.quantized()
    spread = (-1, *(1,) * (value.ndim - 3))

    def summed(operand: NDArray, codes: NDArray, window: object) -> NDArray:
        if window is None:
            return np.einsum("tbc,oc->tbo", operand.astype(np.float64), codes)
        return convolve(operand.astype(np.float64), codes, window.stride, window.padding)

    scale = number(main.scale) * block.input_scale
    natural = summed(value, number(main.codes), block.window) * scale.reshape(spread)
    if side is not None and block.skip_norm is None:
        natural = natural + summed(skip, number(side.codes), block.skip_window) * scale.reshape(spread)
    if block.bias is not None:
        natural = natural + number(block.bias).reshape(spread)
    gain = scale
    if block.norm is not None:
        norm = block.norm
        raw = number(norm.weight)
        gamma = np.where(raw < 0, np.minimum(raw, -1e-3), np.maximum(raw, 1e-3)).astype(np.float32).astype(np.float64)
        unit = gamma / np.sqrt(number(norm.running_var) + norm.eps)
        natural = (natural - number(norm.running_mean).reshape(spread)) * unit.reshape(spread)
        natural = natural + number(norm.bias).reshape(spread)
        gain = scale * np.abs(unit)
    ratio = np.zeros(len(gain), np.int64)
    if side is not None and block.skip_norm is not None:
        norm, side_scale = block.skip_norm, number(side.scale)
        raw = number(norm.weight)
        gamma = np.where(raw < 0, np.minimum(raw, -1e-3), np.maximum(raw, 1e-3)).astype(np.float32).astype(np.float64)
        own = side_scale * np.abs(gamma) / np.sqrt(number(norm.running_var) + norm.eps)
        ratio = np.clip(np.floor(np.log2(own / gain) + 0.5), -6, 6).astype(np.int64)
        held = np.sign(gamma) * gain * 2.0**ratio / side_scale
        there = summed(skip, number(side.codes), block.skip_window) * side_scale.reshape(spread)
        natural = natural + (there - number(norm.running_mean).reshape(spread)) * held.reshape(spread)
        natural = natural + number(norm.bias).reshape(spread)
    if isinstance(block.skip, PlainSkip):
        natural = natural + joined(skip, block.skip, natural.shape)
    if block.largest is not None:
        natural = windows(natural, block.largest.kernel, block.largest.stride, "max")
    return _integrate(block, natural, gain, ratio)


def exponents(gain: NDArray, alpha: float, levels: int) -> NDArray[np.int64]:
    """L[c], one channel at a time."""
    wanted = []
    for a in gain:
        mantissa, exponent = math.frexp(alpha / (levels * float(a)))
        wanted.append(exponent - 1 if mantissa == 0.5 else exponent)
    middle = sorted(wanted)[(len(wanted) - 1) // 2]
    return np.array([min(max(exponent, middle - 3), middle + 4) for exponent in wanted], np.int64)


def _integrate(block: SpikingBlock, natural: NDArray, gain: NDArray, ratio: NDArray) -> Real:
    spec = block.membrane_spec
    spread = (-1, *(1,) * (natural.ndim - 3))
    exponent = exponents(gain, spec.threshold if spec.range is None else spec.range, spec.levels)
    own = isinstance(block.skip, ConvSkip) and block.skip.norm == "own"
    shift = max(spec.leak_exponent, int(exponent.max()), int((exponent - ratio).max()) if own else 0)
    if not own:
        shift = max(spec.leak_exponent, int(exponent.max()))
    step = (gain * 2.0**exponent).reshape(spread)
    # What the package may round: quotients to 2^-20 units of the weighted sum; and float64 itself here.
    slack = gain.reshape(spread) * 2.0**-19 + 1e-9 * np.abs(natural).max(initial=1.0)
    stored = np.zeros(natural.shape[1:])
    clear = np.ones(natural.shape[1:], bool)
    spikes, decided = np.zeros(natural.shape, np.int64), np.zeros(natural.shape, bool)
    for t, current in enumerate(natural):
        full = float(spec.leak) * stored + current
        clear = clear & (np.abs(full - spec.threshold) > slack)
        fired = full > spec.threshold if spec.strict else full >= spec.threshold
        amount = spec.threshold if spec.subtract is None else spec.subtract
        kept = full * ~fired if spec.reset == "hard" else full - amount * fired
        offset: float | NDArray = 0.5 if spec.rounding == "nearest" else 0.0
        if spec.rounding == "stochastic":
            pixels = math.prod(natural.shape[3:])
            drawn = random_integers(natural.shape[2], pixels, shift, spec.seed, block.stream, t)
            offset = drawn.reshape(natural.shape[2:]) / 2.0**shift
        position = kept / step + offset
        spikes[t], decided[t] = fired, clear
        exact = np.abs(position - np.round(position)) > slack / step
        at_rest = fired if spec.reset == "hard" else np.zeros_like(fired)
        beyond = np.abs(position) > spec.levels + 2
        clear = clear & (exact | at_rest | beyond)
        code = np.clip(np.floor(position), -spec.levels, spec.levels)
        stored = np.where(at_rest, 0.0, code * step)
    return Real(spikes, decided)

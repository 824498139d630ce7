"""Random integer graphs with everything that a network may have and the usual ones seldom do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bitspike.integer import graph as g
from bitspike.integer.check import check
from bitspike.integer.weight import Weight

CHANNELS = (1, 1, 2, 5, 16, 31, 32, 33, 63, 64, 65, 129, 257)
SIDES = (1, 2, 3, 4, 5, 7, 9, 17)
BITS = (1, 1, 1, 2, 3, 4, 5, 6, 7, 8)
LEAKS = ((0, 0), (1, 0), (1, 1), (3, 2), (7, 3), (5, 8))
_MOST_COUNT = 64  # of a plain skip, whose tables have a column for every count


def varied_graph(seed: int, channels: tuple[int, ...] = CHANNELS) -> g.Graph:
    """One to three spiking convolutions with pooling and skips of every kind, perhaps a dense one, a readout."""
    for attempt in range(100):
        graph = _Maker(np.random.default_rng((seed, attempt)), channels).made()
        try:
            check(graph)
        except ValueError as error:
            if "32 bits" not in str(error):
                raise
            continue
        return graph
    raise AssertionError(f"no network of seed {seed} fits 32 bits")


def varied_samples(graph: g.Graph, batch: int, seed: int, steps: int | None = None) -> NDArray[np.uint8]:
    """uint8 samples up to the input's bound; an open number of time steps is 3, or as given."""
    entry, numbers = graph.input, np.random.default_rng(seed)
    lead = (batch,) if entry.kind == "image" else (entry.time_steps or steps or 3, batch)
    samples = numbers.integers(0, entry.bound + 1, (*lead, *entry.shape), dtype=np.uint8)
    if entry.kind == "events" and numbers.integers(2):
        samples *= numbers.random(samples.shape) < 0.2
    return samples


def varied_weight(numbers: np.random.Generator, shape: tuple[int, ...], bits: int) -> Weight:
    """Weights on any grid of so many bits, uniform."""
    grids = {1: ("binary", "binary", "signed")}.get(bits, ("odd", "signed"))
    size = math.prod(shape)
    raw = numbers.integers(0, 256, (bits, (size + 7) // 8)).astype(np.uint8)
    if size % 8:
        raw[:, -1] &= (1 << size % 8) - 1
    return Weight(shape, str(numbers.choice(grids)), bits, raw)


class _Maker:
    """Draws a graph node by node; knows the shape and the largest value of each."""

    def __init__(self, numbers: np.random.Generator, channels: tuple[int, ...]) -> None:
        self.numbers, self.channels = numbers, channels
        self.nodes: list[g.Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.most: dict[str, int] = {}
        self.below: dict[str, bool] = {}  # whether values below zero may come

    def made(self) -> g.Graph:
        numbers = self.numbers
        last = self._input()
        for stage in range(int(numbers.integers(1, 4))):
            last = self._convolved(f"conv{stage}", last)
            if numbers.integers(2):
                last = self._pooled(f"pool{stage}", last)
        last = self._add(g.Flatten("flat", last), (math.prod(self.shapes[last]),), self.most[last], self.below[last])
        if numbers.integers(2):
            outputs = int(numbers.choice(self.channels))
            operator = g.Dense(self._weight((outputs, self.shapes[last][0]), last))
            skip = self._plain((outputs,)) if numbers.integers(3) == 0 else None
            last = self._spiking("dense", last, operator, skip, (outputs,))
        classes = int(numbers.integers(1, 20))
        steps = self.nodes[0].time_steps  # type: ignore[union-attr]
        bias = numbers.integers(-50, 50, classes) if steps else np.zeros(classes, np.int64)
        weight = self._weight((classes, self.shapes[last][0]), last)
        self.nodes.append(g.Readout("readout", last, weight, bias.astype(np.int32), 1.0, steps or 4))
        return g.Graph(tuple(self.nodes))

    def _add(self, node: g.Node, shape: tuple[int, ...], most: int, below: bool = False) -> str:
        self.nodes.append(node)
        self.shapes[node.name], self.most[node.name], self.below[node.name] = shape, most, below
        return node.name

    def _input(self) -> str:
        numbers = self.numbers
        shape = (int(numbers.integers(1, 4)), int(numbers.choice(SIDES)), int(numbers.choice(SIDES)))
        if numbers.integers(2):
            steps = int(numbers.integers(1, 6)) if numbers.integers(2) else None
            bound = int(numbers.choice((1, 3, 255)))
            return self._add(g.Input("input", "events", shape, steps, (0,) * shape[0], bound, 1.0), shape, bound)
        zero = tuple(int(z) for z in numbers.integers(0, 256, shape[0]) * numbers.integers(2))
        bound = int(numbers.choice((255, 255, 15)))
        entry = g.Input("input", "image", shape, int(numbers.integers(1, 6)), zero, bound, 1.0)
        return self._add(entry, shape, max(bound, *zero), any(zero))

    def _weight(self, shape: tuple[int, ...], source: str) -> Weight:
        wide = source == "input" and self.numbers.integers(4) == 0
        bits = int(self.numbers.integers(12, 16)) if wide else int(self.numbers.choice(BITS))
        return varied_weight(self.numbers, shape, bits)

    def _window(self, size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Kernel, stride and padding, each side for itself, that fit a map."""
        kernel, stride, padding = ([0, 0] for _ in range(3))
        for axis, side in enumerate(size):
            kernel[axis] = int(self.numbers.choice((1, 2, 3, 3, 5)))
            stride[axis] = int(self.numbers.choice((1, 1, 1, 2, 3)))
            padding[axis] = int(self.numbers.choice((0, kernel[axis] // 2, kernel[axis] // 2, kernel[axis])))
            if side + 2 * padding[axis] < kernel[axis]:
                padding[axis] = kernel[axis] // 2
            if side + 2 * padding[axis] < kernel[axis]:
                kernel[axis] = 1
        return tuple(kernel), tuple(stride), tuple(padding)  # type: ignore[return-value]

    def _convolved(self, name: str, source: str) -> str:
        inputs, *size = self.shapes[source]
        kernel, stride, padding = self._window(tuple(size))
        outputs = int(self.numbers.choice(self.channels))
        weight = self._weight((outputs, inputs, *kernel), source)
        result = [(size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2)]
        if self.numbers.integers(4) == 0:
            windows = [int(self.numbers.integers(1, min(5, side) + 1)) for side in result]
            steps = [int(self.numbers.integers(1, 6)) for _ in result]
            largest = g.Largest((windows[0], windows[1]), (steps[0], steps[1]))
            result = [(result[i] - windows[i]) // steps[i] + 1 for i in range(2)]
            operator = g.Convolution(weight, stride, padding, largest)
            return self._spiking(name, source, operator, None, (outputs, *result))
        operator = g.Convolution(weight, stride, padding)
        shape = (outputs, *result)
        kind = self.numbers.integers(4)
        skip = self._weighted(shape) if kind == 0 else self._plain(shape) if kind < 3 else None
        return self._spiking(name, source, operator, skip, shape)

    def _pooled(self, name: str, source: str) -> str:
        channels, *size = self.shapes[source]
        kind = str(self.numbers.choice(("max", "sum")))
        if self.numbers.integers(4) == 0:
            pool, kernel, result = g.Pool(name, source, kind, None, None), size, [1, 1]
        else:
            kernel = [int(self.numbers.integers(1, min(3, side) + 1)) for side in size]
            stride = [int(self.numbers.integers(1, 4)) for _ in size]
            padding = [int(self.numbers.integers(side // 2 + 1)) for side in kernel]
            result = [(size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2)]
            window = (kernel[0], kernel[1]), (stride[0], stride[1]), (padding[0], padding[1])
            pool = g.Pool(name, source, kind, *window)
        most = self.most[source] * (math.prod(kernel) if kind == "sum" else 1)
        return self._add(pool, (channels, *result), most, self.below[source])

    def _plain(self, shape: tuple[int, ...]) -> g.PlainSkip | None:
        """A skip from any value before whose map meets the layer's."""
        found: list[tuple[str, int]] = []
        for name, operand in self.shapes.items():
            if len(operand) != len(shape) or self.below[name] or self.most[name] > _MOST_COUNT:
                continue
            for stride in (1, 2, 3):
                if all(-(-side // stride) == to for side, to in zip(operand[1:], shape[1:], strict=True)):
                    found.append((name, stride))
        if not found:
            return None
        name, stride = found[int(self.numbers.integers(len(found)))]
        channels = self.shapes[name][0]
        mapped = channels != shape[0] or self.numbers.integers(2)
        channel_map = tuple(int(c) for c in self.numbers.integers(-1, channels, shape[0])) if mapped else None
        return g.PlainSkip(name, stride, channel_map, self.most[name] + int(self.numbers.integers(2)))

    def _weighted(self, shape: tuple[int, ...]) -> g.WeightedSkip | None:
        names = [name for name, operand in self.shapes.items() if len(operand) == 3]
        for _ in range(30):
            name = names[int(self.numbers.integers(len(names)))]
            inputs, *size = self.shapes[name]
            kernel, stride, padding = self._window(tuple(size))
            result = tuple((size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2))
            if result == shape[1:]:
                operator = g.Convolution(self._weight((shape[0], inputs, *kernel), name), stride, padding)
                return g.WeightedSkip(name, operator, self.numbers.integers(0, 4, shape[0]).astype(np.int32))
        return None

    def _spiking(
        self,
        name: str,
        source: str,
        operator: g.WeightedSum,
        skip: g.PlainSkip | g.WeightedSkip | None,
        shape: tuple[int, ...],
    ) -> str:
        typical = self._typical(operator, source)
        if isinstance(skip, g.WeightedSkip):
            typical += self._typical(skip.operator, skip.source)
        columns = skip.bound + 1 if isinstance(skip, g.PlainSkip) else 1
        node = g.Spiking(name, source, operator, self._fire(shape[0], columns, typical), skip)
        return self._add(node, shape, 1)

    def _typical(self, operator: g.WeightedSum, source: str) -> int:
        """About what a weighted sum reaches by chance."""
        codes = np.asarray(operator.weight.codes, np.float64)
        return int(np.sqrt((codes.reshape(len(codes), -1) ** 2).sum(1).max()) * self.most[source] / 2) + 1

    def _fire(self, channels: int, columns: int, typical: int) -> g.Fire:
        numbers = self.numbers
        leak, exponent = LEAKS[int(numbers.integers(len(LEAKS)))]
        bits = int(numbers.choice((2, 2, 3, 4, 5, 8, 11, 16)))
        g_shift = min(exponent + int(numbers.integers(0, 8)), 31 - bits)
        most_shift = int(numbers.choice((0, 0, 2, 5)))
        shift = numbers.integers(0, most_shift + 1, channels)
        # Mostly thresholds about the sums of their channel, so that it fires now and then.
        reach = typical << (shift if numbers.integers(3) else 0 * shift)[:, None]
        shape = (channels, columns)
        threshold = (numbers.uniform(-0.5, 1.5, shape) * reach).astype(np.int32)
        if numbers.integers(4) == 0:  # some that nothing, or everything, reaches
            far = numbers.choice((-(2**31), 2**31 - 1), shape)
            threshold = np.where(numbers.random(shape) < 0.1, far, threshold).astype(np.int32)
        soft, stochastic = bool(numbers.integers(2)), bool(numbers.integers(4) == 0)

        def rounding() -> NDArray[np.int32]:
            kind = numbers.integers(3)
            if kind == 2:
                return (numbers.uniform(-1, 1, shape) * reach).astype(np.int32)
            return np.full(shape, 0 if kind == 0 else (1 << g_shift) >> 1, np.int32)

        return g.Fire(
            threshold=threshold,
            rounding=rounding(),
            rounding_fired=rounding() - (threshold.astype(np.int64) // 2).astype(np.int32) if soft else None,
            shift=shift.astype(np.int32),
            leak=leak,
            leak_exponent=exponent,
            g=g_shift,
            levels=(1 << (bits - 1)) - 1,
            reset="soft" if soft else "hard",
            stochastic=stochastic,
            seed=int(numbers.integers(2**32)),
            stream=int(numbers.integers(8)),
        )

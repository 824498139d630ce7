"""Mean values that the layers of an integer network read and give on samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitspike.cost.integers import Rates
from bitspike.integer.graph import Readout, Spiking

if TYPE_CHECKING:
    from bitspike.runtime.net import IntegerNet


def firing_rates(net: IntegerNet, batches: Iterable[NDArray[np.uint8]]) -> dict[str, Rates]:
    """Mean value per position and step of every weighted layer's operand, skip operand and result."""
    sums: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for batch in batches:
        for name, value in net.spikes(batch).items():
            sums[name] += int(value.sum(dtype=np.int64))
            sizes[name] += value.size
    if not sizes:
        raise ValueError("no samples were given, so no firing was measured")

    def mean(name: str) -> float:
        return sums[name] / sizes[name]

    def rates(node: Any) -> Rates:
        skip = node.skip if isinstance(node, Spiking) else None
        return Rates(mean(node.source), None if skip is None else mean(skip.source), mean(node.name))

    return {node.name: rates(node) for node in net.graph.nodes if isinstance(node, Spiking | Readout)}

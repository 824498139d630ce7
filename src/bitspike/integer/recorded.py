"""What a run of a network was watched doing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Recorded:
    """Logits [B, K] and, where asked for: values [T, B, ...] of every node, membranes [T, B, ...] after every step.

    spike_counts: how many spikes each spiking layer gave, over all samples and steps.
    """

    logits: NDArray[np.int64]
    values: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    membranes: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    spike_counts: dict[str, int] = field(default_factory=dict)

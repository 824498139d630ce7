"""What a network costs: memory, operations, energy, and how busy its layers are.

Plain data and numpy only. A network becomes a list of `LayerCost` rows (`bitspike.measure` fills them by
tracing); everything here is arithmetic on such rows. Bytes, joules and counts are of one image unless a
batch is named; MB in the papers is 10^6 bytes.
"""

from bitspike.cost.activity import (
    LayerActivity,
    activity_change,
    bernoulli_entropy,
    firing_rate,
    layer_activity,
    sign_balance,
)
from bitspike.cost.energy import Energy, energy, qpsnn_energy
from bitspike.cost.memory import LayerMemory, Memory, as_float, layer_memory, memory
from bitspike.cost.operations import LayerOperations, Operations, operations
from bitspike.cost.published import (
    kept_channels,
    qpsnn_model_size,
    qsnn_footprint,
    qsnn_model_size,
)
from bitspike.cost.rows import LayerCost
from bitspike.cost.table import CostTable

__all__ = [
    "CostTable",
    "Energy",
    "LayerActivity",
    "LayerCost",
    "LayerMemory",
    "LayerOperations",
    "Memory",
    "Operations",
    "activity_change",
    "as_float",
    "bernoulli_entropy",
    "energy",
    "firing_rate",
    "kept_channels",
    "layer_activity",
    "layer_memory",
    "memory",
    "operations",
    "qpsnn_energy",
    "qpsnn_model_size",
    "qsnn_footprint",
    "qsnn_model_size",
    "sign_balance",
]

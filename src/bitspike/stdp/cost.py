"""What an unsupervised network holds, as a row of `bitspike.cost`: on a device that learns.

    weights     inputs * neurons at their bits
    membrane    one potential a neuron
    per neuron  adaptive threshold, scale (integers only), trace, refractory counter; per input: trace

In floats all of these take 32 bits, and there is no scale. Left out: labels and votes, the coding of images.
"""

from __future__ import annotations

from bitspike.cost import CostTable, LayerCost
from bitspike.cost.rows import FLOAT_BITS
from bitspike.stdp.network import StdpNetwork


def describe(network: StdpNetwork, rates: tuple[float, float] | None = None) -> CostTable:
    """The costs of a network; rates: spikes per input and step, and per neuron and step, where measured."""
    config, bits = network.config, network.config.bits
    count = config.neurons
    refractory = config.refractory_steps.bit_length()
    state = 0
    if bits is not None:
        state = count * (bits.threshold + bits.scale + bits.trace + refractory) + config.inputs * bits.trace
    used = 0 if bits is None else len(set(network.state.weights.reshape(-1).tolist()))
    row = LayerCost(
        name="excitatory",
        kind="linear",
        end=True,
        weights=config.inputs * count,
        weight_bits=FLOAT_BITS if bits is None else bits.weight,
        biases=3 * count + config.inputs,
        norms=0,
        neurons=count,
        membrane_bits=FLOAT_BITS if bits is None else bits.membrane,
        macs=config.inputs * count,
        input_rate=None if rates is None else rates[0],
        output_rate=None if rates is None else rates[1],
        integer_bytes=-(-state // 8),
        levels=0 if bits is None else 2**bits.weight,
        levels_used=used,
    )
    return CostTable("stdp", (row,), time_steps=config.steps)


def rates_of(network: StdpNetwork, pixels: object, spikes_per_image: float) -> tuple[float, float]:
    """Spikes per input and step of these images as they are coded, and per neuron and step."""
    from bitspike.stdp.coding import as_inputs, rate_table

    chances = rate_table(network.config)[as_inputs(pixels, network.config.inputs)] / 65536
    return float(chances.mean()), spikes_per_image / (network.config.neurons * network.config.steps)

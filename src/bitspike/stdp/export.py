"""The integer network as C99 sources that respond and learn on a device: no float, no allocation.

The folder holds the portable core (`bitspike_stdp.c`), the network (`stdp_network.h`, `stdp_network.c`), a self-test
with samples, and a Makefile. Weights are packed at their bits; learning needs them in RAM, responding does not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.export.source import CPLUSPLUS
from bitspike.stdp.coding import as_inputs, rate_table
from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.network import StdpNetwork

_ROUNDINGS = {"truncation": 0, "nearest": 1, "stochastic": 2}
_OWN = ("bitspike_stdp.h", "bitspike_stdp.c", "stdp_selftest.c")
_FLAGS = "-std=c99 -O2 -Wall -Wextra -pedantic"
_MAKEFILE = f"""\
CFLAGS ?= {_FLAGS}

test: stdp_selftest
\t./stdp_selftest

stdp_selftest: stdp_selftest.c bitspike_stdp.c stdp_network.c $(wildcard *.h)
\t$(CC) $(CFLAGS) -o $@ stdp_selftest.c bitspike_stdp.c stdp_network.c

clean:
\trm -f stdp_selftest

.PHONY: test clean
"""


@dataclass(frozen=True)
class StdpExport:
    """Where the sources lie, and bytes of memory: while learning, while only responding, and constants."""

    folder: Path
    files: tuple[str, ...]
    learning_bytes: int
    responding_bytes: int
    constant_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "folder": str(self.folder),
            "files": list(self.files),
            "learning_bytes": self.learning_bytes,
            "responding_bytes": self.responding_bytes,
            "constant_bytes": self.constant_bytes,
        }


def export_stdp(network: StdpNetwork, folder: str | Path, samples: Any, *, overwrite: bool = False) -> StdpExport:
    """Write the sources; samples: images for the self-test, [B, ...]."""
    config = network.config
    if config.bits is None:
        raise ValueError("the network is a float one; `bitspike.stdp.quantized` makes integers of it")
    if network.labels is None:
        raise ValueError("the network's neurons have no classes yet; finish its training first")
    place = Path(folder).expanduser()
    if place.is_dir() and any(place.iterdir()) and not (overwrite and (place / _OWN[0]).is_file()):
        raise ValueError(f"{place} is not empty; choose another folder, or --force over an earlier export")
    pixels = as_inputs(samples, config.inputs)
    place.mkdir(parents=True, exist_ok=True)
    for name in _OWN:
        shutil.copyfile(Path(__file__).parent / "c" / name, place / name)
    packed = packed_weights(network)
    texts = {
        "stdp_network.h": _header(network),
        "stdp_network.c": _network(network, packed),
        "stdp_vectors.h": _vectors(network, pixels),
        "Makefile": _MAKEFILE,
    }
    for name, text in texts.items():
        (place / name).write_text(text, encoding="ascii")
    neurons, inputs = config.neurons, config.inputs
    responding = neurons * (2 + 2 + 4) + inputs + 16
    learned = len(packed) + 4 * neurons
    constant = learned + 256 * 4 + (config.steps + 1) + 2 * neurons * network.labels.classes
    return StdpExport(place, (*_OWN, *texts), responding + learned + 2 * (neurons + inputs), responding, constant)


def packed_weights(network: StdpNetwork) -> NDArray[np.uint8]:
    """Bit behind bit, inputs outermost, the lowest bit first; two bytes more, since a weight is read through three."""
    width = 0 if network.config.bits is None else network.config.bits.weight
    flat = network.state.weights.reshape(-1).astype(np.uint32)
    bits = (flat[:, None] >> np.arange(width, dtype=np.uint32)) & 1
    return np.concatenate([np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little"), np.zeros(2, np.uint8)])


def learned_digest(network: StdpNetwork) -> int:
    """The self-test's sum over all that was learned: FNV over weights, thresholds and scales."""
    state, found = network.state, 2166136261
    pairs = np.stack([state.theta, state.scale], axis=1).reshape(-1)
    for value in [*state.weights.reshape(-1).tolist(), *pairs.tolist()]:
        found = (found ^ value) * 16777619 & 0xFFFFFFFF
    return found


def _header(network: StdpNetwork) -> str:
    config, labels = network.config, network.labels
    constants = integer_constants(config)
    values: dict[str, Any] = {
        "INPUTS": config.inputs,
        "NEURONS": config.neurons,
        "STEPS": config.steps,
        "CLASSES": 0 if labels is None else labels.classes,
        "DELAY": config.delay,
        "REFRACTORY": config.refractory_steps,
        "STRONGEST": int(config.winner == "strongest"),
        "SEED": f"{config.seed}u",
        "WEIGHT_BITS": 0 if config.bits is None else config.bits.weight,
        "ROUNDING": 0 if config.bits is None else _ROUNDINGS[config.bits.rounding],
        "IMAGES": f"{network.state.images}u",
    }
    for item in fields(constants):
        if item.name != "trace":
            values[item.name.upper()] = getattr(constants, item.name)
    values["NUMERATOR"] = f"UINT64_C({constants.numerator})"
    values["THETA_DECAY"] = f"{constants.theta_decay}u"
    values["LIMIT"] = f"{constants.limit}u"
    lines = [f"#define STDP_{name} {_constant(value)}" for name, value in values.items()]
    return "\n".join(
        [
            "/* Written by bitspike: the constants of a network, and what it had learned. */",
            "#ifndef STDP_NETWORK_H",
            "#define STDP_NETWORK_H",
            "",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
            *lines,
            "",
            *CPLUSPLUS[0],
            "extern const uint8_t stdp_weights[];",
            "extern const uint16_t stdp_thetas[], stdp_scales[], stdp_votes[];",
            "extern const uint32_t stdp_rates[256];",
            "extern const uint8_t stdp_trace[];",
            "",
            *CPLUSPLUS[1],
            "#endif",
            "",
        ]
    )


def _constant(value: Any) -> str:
    return f"({value})" if isinstance(value, int) and value < 0 else str(value)


def _network(network: StdpNetwork, packed: NDArray[np.uint8]) -> str:
    config: StdpConfig = network.config
    votes = np.zeros(0, np.uint16) if network.labels is None else network.labels.proportion
    parts = [
        '/* Written by bitspike. */\n#include "stdp_network.h"\n',
        _array("uint8_t stdp_weights", packed),
        _array("uint16_t stdp_thetas", network.state.theta),
        _array("uint16_t stdp_scales", network.state.scale),
        _array("uint16_t stdp_votes", votes.reshape(-1)),
        _array("uint32_t stdp_rates", rate_table(config)),
        _array("uint8_t stdp_trace", integer_constants(config).trace),
    ]
    return "\n".join(parts)


def _vectors(network: StdpNetwork, pixels: NDArray[np.uint8]) -> str:
    """Samples, what the network answers, and a digest of what it knows after it has learned from them."""
    learner = StdpNetwork(network.config, network.state.copy(), network.labels, build=network.build)
    responses = learner.respond(pixels, threads=1)
    labels = network.labels.predict(responses) if network.labels is not None else np.zeros(0, np.int64)
    learner.learn(pixels)
    parts = [
        "/* Written by bitspike: samples and what the definition makes of them. */\n#include <stdint.h>\n",
        f"#define STDP_SAMPLES {len(pixels)}u\n#define STDP_LEARNED {learned_digest(learner)}u\n",
        "static " + _array("uint8_t stdp_samples", pixels.reshape(-1)),
        "static " + _array("uint16_t stdp_responses", responses.reshape(-1)),
        "static " + _array("int16_t stdp_labels", labels),
    ]
    return "\n".join(parts)


def _array(declared: str, values: NDArray[Any]) -> str:
    return f"const {declared}[{len(values)}] = {{\n{_lines(values.tolist())}\n}};\n"


def _lines(values: Iterable[int]) -> str:
    texts = [str(value) for value in values]
    return ",\n".join("    " + ", ".join(texts[i : i + 24]) for i in range(0, len(texts), 24))

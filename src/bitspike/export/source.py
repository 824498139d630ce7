"""The C text of a plan: constant data, the static arena, and the four functions around the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bitspike.export.layout import Answer, Layer, Map, Plan, Skip, Step, Sum, Window

CPLUSPLUS = (["#ifdef __cplusplus", 'extern "C" {', "#endif", ""], ["#ifdef __cplusplus", "}", "#endif", ""])
"""Lines around the declarations of a header, so that C++ takes them as C."""
_WIDTH = 116


class Source:
    """Text of NAME.c as it grows, and how many bytes of constant data it holds on a 32-bit target."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.weight_bytes = 0
        self.table_bytes = 0
        self.descriptor_bytes = 0

    @property
    def constant_bytes(self) -> int:
        """Weights, tables and descriptors."""
        return self.weight_bytes + self.table_bytes + self.descriptor_bytes

    def numbers(self, kind: str, name: str, values: Iterable[Any]) -> str:
        """A constant array; its name."""
        given = [int(value) for value in values]
        self.lines.append(f"static const {kind} {name}[{len(given)}] = {{")
        self.lines += wrapped(literals(kind, given))
        self.lines += ["};", ""]
        size = {"int8_t": 1, "uint8_t": 1, "uint32_t": 4, "int32_t": 4}[kind] * len(given)
        if name.endswith("_weights"):
            self.weight_bytes += size
        else:
            self.table_bytes += size
        return name

    def record(self, kind: str, name: str, fields: dict[str, Any], linkage: str = "static const ") -> str:
        """A constant structure; a pointer to it."""
        self.lines.append(f"{linkage}{kind} {name} = {{")
        self.lines += [f"    {line}," for line in _fields(fields)]
        self.lines += ["};", ""]
        self.descriptor_bytes += 4 * _leaves(fields)
        return f"&{name}"


def literals(kind: str, values: Sequence[int]) -> list[str]:
    """Numbers as C writes them."""
    if kind == "uint32_t":
        return [f"0x{value:08X}u" for value in values]
    # The most negative number has no literal of its own: it would be a minus before one that does not fit.
    return ["(-2147483647 - 1)" if value == -(1 << 31) else str(value) for value in values]


def wrapped(words: Sequence[str]) -> list[str]:
    """Words in lines, with a comma behind each."""
    lines: list[str] = []
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return [*lines, line]


def _fields(fields: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict):
            lines.append(f".{name} = {{{', '.join(_fields(value))}}}")
        else:
            lines.append(f".{name} = {value}")
    return lines


def _leaves(fields: dict[str, Any]) -> int:
    return sum(_leaves(value) if isinstance(value, dict) else 1 for value in fields.values())


def model_source(plan: Plan, name: str) -> tuple[str, Source]:
    """NAME.c, and the sizes of what is in it."""
    source = Source()
    upper = name.upper()
    source.lines += [
        f"/* The network {name} as constant data. Written by bitspike; do not edit. */",
        f'#include "{name}.h"',
        "",
        "#include <stddef.h>",
        "",
        f"static uint32_t arena[{upper}_ARENA_WORDS];",
        "",
    ]
    for number, value in enumerate(plan.maps):
        _map(source, plan, number, value)
    nodes = [_node(source, number, step) for number, step in enumerate(plan.steps)]
    source.lines.append(f"static const bitspike_node nodes[{len(nodes)}] = {{")
    source.lines += [f"    {{{', '.join(_fields(fields))}}}," for fields in nodes]
    source.lines += ["};", ""]
    source.descriptor_bytes += sum(4 * _leaves(fields) for fields in nodes)
    readout = plan.graph.readout
    bias = source.numbers("int32_t", "bias", readout.bias)
    fields = {
        "nodes": "nodes",
        "node_count": f"{len(nodes)}u",
        "bias": bias,
        "classes": f"{len(readout.bias)}u",
        "time_steps": f"{plan.graph.input.time_steps or 0}u",
        "state_words": f"{plan.state_words}u",
        "scratch_at": f"{plan.scratch_at}u",
        "skip_scratch_at": f"{plan.skip_scratch_at}u",
    }
    source.record("bitspike_net", f"{name}_net", fields, "const ")
    source.lines += _functions(name)
    return "\n".join(source.lines), source


def _functions(name: str) -> list[str]:
    calls = {
        f"void {name}_init(void)": f"bitspike_init(&{name}_net, arena)",
        f"int {name}_step(const uint8_t *frame)": f"return bitspike_step(&{name}_net, arena, frame)",
        f"const int32_t *{name}_logits(void)": "return bitspike_logits(arena)",
        f"uint32_t {name}_argmax(void)": f"return bitspike_argmax(&{name}_net, arena)",
    }
    lines = []
    for head, body in calls.items():
        lines += [head, "{", f"    {body};", "}", ""]
    return lines


def _map(source: Source, plan: Plan, number: int, value: Map) -> None:
    fields = {
        "at": f"{value.at}u",
        "height": f"{value.height}u",
        "width": f"{value.width}u",
        "channels": f"{value.channels}u",
        "planes": f"{value.planes}u",
        "is_signed": f"{int(value.is_signed)}u",
        "is_frame": f"{int(value.is_frame)}u",
        "bound": f"{plan.graph.input.bound if value.is_frame else 0}u",
        "zero": "NULL",
    }
    if value.is_frame:
        fields["zero"] = source.numbers("uint8_t", "zero_point", plan.graph.input.zero_point)
    source.record("bitspike_map", f"map_{number}", fields)


def _node(source: Source, number: int, step: Step) -> dict[str, str]:
    source.lines += [f"/* {_comment(step.name)} */", ""]
    fields = {
        "values": "NULL" if step.makes is None else f"&map_{step.makes}",
        "layer": "NULL",
        "pool": "NULL",
        "readout": "NULL",
    }
    match step.what:
        case Layer():
            fields["layer"] = _layer(source, f"layer_{number}", step.what)
        case Window():
            fields["pool"] = _pool(source, f"pool_{number}", step.what)
        case Answer():
            name = "readout"
            fields["readout"] = source.record("bitspike_sum", name, _sum(source, name, step.what.sum))
    return fields


def _comment(text: str) -> str:
    """A name that cannot end the comment it stands in."""
    return "".join(char if char.isascii() and char.isprintable() and char not in "*\\?" else "_" for char in text)


def _layer(source: Source, name: str, layer: Layer) -> str:
    fire = layer.node.fire
    skip_shift = getattr(layer.node.skip, "shift", None)
    fields: dict[str, Any] = {"sum": _sum(source, name, layer.sum), "skip_sum": "NULL", "skip": "NULL"}
    if layer.skip_sum is not None:
        inner = f"{name}_skip"
        fields["skip_sum"] = source.record("bitspike_sum", inner, _sum(source, inner, layer.skip_sum))
    if layer.skip is not None:
        fields["skip"] = _skip(source, f"{name}_skip", layer.skip)
    for table in ("threshold", "rounding", "rounding_fired"):
        values = getattr(fire, table)
        fields[table] = "NULL" if values is None else _table(source, f"{name}_{table}", values)
    fields["shift"] = source.numbers("uint8_t", f"{name}_shift", fire.shift)
    fields["skip_shift"] = "NULL"
    if skip_shift is not None:
        fields["skip_shift"] = source.numbers("uint8_t", f"{name}_skip_shift", skip_shift)
    return source.record(
        "bitspike_layer",
        name,
        fields
        | {
            "entries": f"{fire.threshold.shape[1]}u",
            "leak": str(fire.leak << fire.h),
            "levels": str(fire.levels),
            "g": f"{fire.g}u",
            "membrane_at": f"{layer.membrane_at}u",
            "membrane_bits": f"{layer.membrane_bits}u",
            "is_stochastic": f"{int(fire.stochastic)}u",
            "seed": f"{fire.seed & 0xFFFFFFFF}u",
            "stream": f"{fire.stream & 0xFFFFFFFF}u",
        },
    )


def _table(source: Source, name: str, values: Any) -> str:
    return source.numbers("int32_t", name, np.asarray(values).reshape(-1))


def _skip(source: Source, name: str, skip: Skip) -> str:
    table = "NULL" if skip.map is None else source.numbers("int32_t", f"{name}_map", skip.map)
    fields = {"source": f"&map_{skip.source}", "stride": f"{skip.stride}u", "map": table}
    return source.record("bitspike_skip", name, fields)


def _sum(source: Source, name: str, total: Sum) -> dict[str, str]:
    kind, member = ("int8_t", "bytes") if total.as_bytes else ("uint32_t", "weights")
    arrays = {"weights": "NULL", "bytes": "NULL"}
    arrays[member] = source.numbers(kind, f"{name}_weights", total.weights)
    numbers = {
        "outputs": total.outputs,
        "bits": total.bits,
        "kernel_height": total.kernel[0],
        "kernel_width": total.kernel[1],
        "stride_rows": total.stride[0],
        "stride_columns": total.stride[1],
        "padding_rows": total.padding[0],
        "padding_columns": total.padding[1],
        "factor": total.factor,
        "offset": total.offset,
        "counters": total.counters,
        "kept_bits": total.kept_bits,
        "kept_at": total.kept_at,
    }
    named = {key: f"{value}u" for key, value in numbers.items()}
    return {"source": f"&map_{total.source}"} | arrays | named | {"largest": _largest(source, name, total)}


def _largest(source: Source, name: str, total: Sum) -> str:
    if (windows := total.largest) is None:
        return "NULL"
    numbers = {
        "at": total.counter_words,
        "height": windows.kernel[0],
        "width": windows.kernel[1],
        "stride_rows": windows.stride[0],
        "stride_columns": windows.stride[1],
    }
    return source.record("bitspike_largest", f"{name}_largest", {key: f"{value}u" for key, value in numbers.items()})


def _pool(source: Source, name: str, window: Window) -> str:
    numbers = {
        "is_sum": int(window.node.kind == "sum"),
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "stride_rows": window.stride[0],
        "stride_columns": window.stride[1],
        "padding_rows": window.node.padding[0],
        "padding_columns": window.node.padding[1],
    }
    fields = {"source": f"&map_{window.source}"} | {key: f"{value}u" for key, value in numbers.items()}
    return source.record("bitspike_pool", name, fields)


def model_header(plan: Plan, name: str) -> str:
    """NAME.h: what the network takes and gives, its memory, and its functions."""
    upper = name.upper()
    entry = plan.graph.input
    channels, height, width = entry.shape
    kind = "the image, the same at every step" if entry.kind == "image" else f"event counts, 0 to {entry.bound}"
    steps = entry.time_steps or 0
    end = "Its answer stands after TIME_STEPS steps." if steps else "It takes any number of steps; TIME_STEPS is 0."
    constants = {
        "CHANNELS": channels,
        "HEIGHT": height,
        "WIDTH": width,
        "FRAME_BYTES": channels * height * width,
        "TIME_STEPS": steps,
        "TAKES_EVENTS": int(entry.kind == "events"),
        "CLASSES": len(plan.graph.readout.bias),
    }
    lines = [
        f"/* The integer network {name}. Written by bitspike; do not edit.",
        " *",
        " * A frame: bytes in the order channel, row, column; " + kind + ".",
        f" * {end} */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        '#include "bitspike_core.h"',
        "",
        *CPLUSPLUS[0],
        *(f"#define {upper}_{key} {value}" for key, value in constants.items()),
        "",
        "/* All the memory there is: one static array, besides the stack. */",
        "#if BITSPIKE_REUSE_INPUT",
        f"#define {upper}_ARENA_WORDS {plan.arena_words_reuse}",
        "#else",
        f"#define {upper}_ARENA_WORDS {plan.arena_words}",
        "#endif",
        f"#define {upper}_RAM_BYTES (4 * {upper}_ARENA_WORDS)",
        "",
        "/* Puts the network at rest; once before every sample. */",
        f"void {name}_init(void);",
        "",
        "/* One time step; 1, or 0 where all time steps are done and nothing happens. */",
        f"int {name}_step(const uint8_t *frame);",
        "",
        "/* The logits so far, CLASSES of them. */",
        f"const int32_t *{name}_logits(void);",
        "",
        "/* The class so far: the largest logit, the lowest index at a tie. */",
        f"uint32_t {name}_argmax(void);",
        "",
        "/* The network as data, for bitspike_core.h: with an arena of its own for every stream. */",
        f"extern const bitspike_net {name}_net;",
        "",
        *CPLUSPLUS[1],
        "#endif",
        "",
    ]
    return "\n".join(lines)

"""LAYERS.json OUT.onnx: the same layers as an int8 network of ReLUs, for onnxruntime.

ReLU in place of the neurons, batch norm folded into a bias, average in place of sum pooling; then onnxruntime's own
static quantization: QDQ, int8 weights per channel, uint8 activations. Weights are random, scaled to keep the signal.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 10


class Maker:
    """Collects the nodes and weights of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def node(self, kind: str, sources: list[str], name: str, **attributes: Any) -> str:
        """Add one operation; the name of its result."""
        self.nodes.append(helper.make_node(kind, sources, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[np.float32]) -> str:
        """Add a weight; its name."""
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def weighted(self, name: str, source: str, layer: dict[str, Any]) -> str:
        """A convolution or a matrix product with bias."""
        shape = layer["weight"]
        weight = self.random.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape).astype(np.float32)
        bias = self.random.normal(0, 0.1, shape[0]).astype(np.float32)
        operands = [source, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        if len(shape) == 2:
            return self.node("Gemm", operands, name, transB=1)
        padding = layer["padding"]
        return self.node(
            "Conv", operands, name, kernel_shape=shape[2:], strides=layer["stride"], pads=[*padding, *padding]
        )

    def layer(self, layer: dict[str, Any], made: dict[str, str]) -> str:
        """One layer of the description; the name of its result."""
        name, source = layer["name"], made.get(layer.get("source", ""), "")
        match layer["kind"]:
            case "input":
                return str(name)
            case "sum":
                total = self.weighted(f"{name}.sum", source, layer)
                if "skip" in layer:
                    skip = made[layer["skip"]["source"]]
                    if "weight" in layer["skip"]:
                        skip = self.weighted(f"{name}.skip", skip, layer["skip"])
                    total = self.node("Add", [total, skip], f"{name}.joined")
                return self.node("Relu", [total], f"{name}.relu")
            case "max pool" | "sum pool":
                kind = "MaxPool" if layer["kind"] == "max pool" else "AveragePool"
                if layer["kernel"] is None:
                    return self.node(f"Global{kind}", [source], name)
                return self.node(kind, [source], name, kernel_shape=layer["kernel"], strides=layer["stride"])
            case "flatten":
                return self.node("Flatten", [source], name)
            case "readout":
                return self.weighted(name, source, layer)
        raise ValueError(f"layer {name} is of kind {layer['kind']!r}, which is unknown")


def float_model(layers: list[dict[str, Any]]) -> onnx.ModelProto:
    """The network in fp32: [N, C, H, W] to [N, classes]."""
    maker = Maker()
    made: dict[str, str] = {}
    for layer in layers:
        made[layer["name"]] = maker.layer(layer, made)
    entry, last = layers[0], layers[-1]
    shape = ["N", *entry["shape"]]
    graph = helper.make_graph(
        maker.nodes,
        "same-layers",
        [helper.make_tensor_value_info(entry["name"], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(made[last["name"]], TensorProto.FLOAT, ["N", last["weight"][0]])],
        maker.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def quantize(model: onnx.ModelProto, out: Path, samples: NDArray[np.float32]) -> None:
    """Static int8 quantization over sample inputs [N, C, H, W]."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = model.graph.input[0].name

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{name: sample[None]} for sample in samples])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            out,
            Samples(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def main() -> None:
    """Read the layers, write the int8 model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("layers", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    layers = json.loads(given.layers.read_text(encoding="utf-8"))
    samples = np.random.default_rng(1).normal(0, 1, (4, *layers[0]["shape"])).astype(np.float32)
    unfinished = given.out.with_suffix(".unfinished")
    quantize(float_model(layers), unfinished, samples)
    unfinished.replace(given.out)


if __name__ == "__main__":
    main()

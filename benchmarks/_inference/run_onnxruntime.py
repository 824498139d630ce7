"""Workers `ort-int8-same-T` and `ort-int8-ann-T1`: an int8 model in onnxruntime, one thread, no spinning."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime

from _shared.serving import own_output, serve


def main() -> None:
    """MODEL.onnx INPUTS.npy: time the model on float inputs [N, batch, C, H, W]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path)
    given = parser.parse_args()
    pipe = own_output()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3

    began = time.process_time()
    session = onnxruntime.InferenceSession(str(given.model), options, providers=["CPUExecutionProvider"])
    load_ms = (time.process_time() - began) * 1e3

    name = session.get_inputs()[0].name
    inputs = list(np.load(given.inputs))
    serve(
        pipe,
        lambda i: session.run(None, {name: inputs[i]})[0].mean(0),
        len(inputs),
        version=onnxruntime.__version__,
        load_ms=load_ms,
        file_bytes=given.model.stat().st_size,
    )


if __name__ == "__main__":
    main()

"""The digits network in TensorFlow Lite Micro's interpreter (PyPI: tflite-micro, flatbuffers), int8 and int4 weights.

As a program, `python tflm.py FILE COUNT` runs a model so many times, to be counted by callgrind.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np


def model(digits: Any, images: np.ndarray, bits: int) -> bytes:
    """A .tflite file: 8-bit activations with ranges from the images; int8 weights with a scale a row, int4 with one a matrix."""
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as s

    kind = s.TensorType.INT4 if bits == 4 else s.TensorType.INT8
    graph, file = s.SubGraphT(), s.ModelT()
    graph.tensors, graph.operators, file.buffers = [], [], [s.BufferT()]

    def tensor(name: str, shape: list[int], dtype: int, scale: Any, zero: int, data: np.ndarray | None = None) -> int:
        t, q, b = s.TensorT(), s.QuantizationParametersT(), s.BufferT()
        q.scale, q.quantizedDimension = [float(v) for v in np.atleast_1d(scale)], 0
        q.zeroPoint = [zero] * len(q.scale)
        b.data = None if data is None else list(np.frombuffer(data.tobytes(), np.uint8))
        file.buffers.append(b)
        t.name, t.shape, t.type, t.buffer, t.quantization = name, shape, dtype, len(file.buffers) - 1, q
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    x, scale = images / 16.0, 1 / 16
    top = 7 if bits == 4 else 127
    at = tensor("x", [1, images.shape[1]], s.TensorType.INT8, scale, 0)
    graph.inputs = [at]
    for i, (w, b) in enumerate(zip(digits.weights, digits.biases, strict=True)):
        last = i == len(digits.weights) - 1
        peak = np.abs(w).max(axis=1) if bits == 8 else np.abs(w).max()
        steps = np.maximum(np.atleast_1d(peak), 1e-6) / top
        codes = np.clip(np.rint(w / (steps[:, None] if bits == 8 else steps)), -top, top).astype(np.int8)
        nibbles = codes.astype(np.uint8) & 15
        data = (nibbles[:, 0::2] | nibbles[:, 1::2] << 4).astype(np.uint8) if bits == 4 else codes
        x = x @ w.T + b
        x = x if last else np.maximum(x, 0)
        out, zero = (np.abs(x).max() / 127, 0) if last else (x.max() / 255, -128)
        op = s.OperatorT()
        op.opcodeIndex, op.inputs = 0, [at, tensor(f"w{i}", list(w.shape), kind, steps, 0, data)]
        op.inputs += [tensor(f"b{i}", [len(b)], s.TensorType.INT32, scale * steps, 0, np.rint(b / (scale * steps)).astype("<i4"))]
        at, scale = tensor(f"y{i}", [1, len(b)], s.TensorType.INT8, out, zero), out
        op.outputs = [at]
        op.builtinOptionsType, op.builtinOptions = s.BuiltinOptions.FullyConnectedOptions, s.FullyConnectedOptionsT()
        op.builtinOptions.fusedActivationFunction = s.ActivationFunctionType.NONE if last else s.ActivationFunctionType.RELU
        graph.operators.append(op)
    graph.outputs = [at]
    code = s.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = s.BuiltinOperator.FULLY_CONNECTED
    code.version = 12 if bits == 4 else 9
    file.version, file.operatorCodes, file.subgraphs, file.description = 3, [code], [graph], ""
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def interpreter(data: bytes) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    return runtime.Interpreter.from_bytes(data)


def answers(data: bytes, images: np.ndarray) -> np.ndarray:
    run = interpreter(data)
    out = []
    for image in images:
        run.set_input(image[None].astype(np.int8), 0)
        run.invoke()
        out.append(run.get_output(0)[0].copy())
    return np.array(out)


def arena(file: str) -> int:
    """Bytes of memory that the interpreter says it takes for a model; its own code and variables come on top."""
    done = subprocess.run([sys.executable, __file__, file, "0"], capture_output=True, text=True, check=True)
    found = re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    return int(found[1])


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as opened:
        ready = interpreter(opened.read())
    for _ in range(int(sys.argv[2])):
        ready.invoke()
    if sys.argv[2] == "0":
        ready.print_allocations()

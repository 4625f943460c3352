"""Products with packed weights: 4 bits a weight, a scale for 32 of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import evenbits
from evenbits.products import Linear
from peers import Rows, Work, case, peer

BLOCK = 32


def nbits(rows: int, n: int, level: int) -> Callable[[np.ndarray], Any] | None:
    """A session with one MatMulNBits of onnxruntime, 4 bits; accuracy level 4 takes int8 activations."""
    onnx, ort = peer("onnx"), peer("onnxruntime")
    if not onnx or not ort:
        return None
    rng, helper, floats = np.random.default_rng(0), onnx.helper, onnx.TensorProto.FLOAT
    constants = {
        "B": rng.integers(0, 256, (rows, n // BLOCK, BLOCK // 2)).astype(np.uint8),
        "scales": rng.random((rows, n // BLOCK), dtype=np.float32),
    }
    settings = {"K": n, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": level}
    node = helper.make_node("MatMulNBits", ["A", *constants], ["Y"], domain="com.microsoft", **settings)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("A", floats, ["columns", n])],
        [helper.make_tensor_value_info("Y", floats, ["columns", rows])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"A": x})


def encoded(rows: int, n: int) -> evenbits.Encoded:
    """Random codes, so that large matrices need no quantizing."""
    rng = np.random.default_rng(0)
    spec = evenbits.quantizers.Uniform(4, per=BLOCK).spec((rows, n)).to_dict()
    codes = rng.integers(0, 256, (rows, n // 2)).astype(np.uint8)
    return evenbits.Encoded({"codes": codes, "scales": rng.random((rows, n // BLOCK), dtype=np.float32)}, spec)


@case
def products() -> Rows:
    """Square matrices in cache, one of 64 MiB of codes from memory ("pass" reads as many bytes once), several columns."""
    rows: Rows = []
    for m, n, columns in ((512, 512, 1), (1024, 1024, 1), (4096, 4096, 1), (16384, 8192, 1), (1024, 1024, 8), (1024, 1024, 64)):
        large = m * n > 1 << 26
        e = encoded(m, n)
        product, x = Linear(e), np.random.default_rng(1).standard_normal((columns, n), dtype=np.float32)
        out = np.empty((columns, m), np.float32)
        for activations, level in (("float32", 0), ("int8", 4)):
            works: dict[str, Work] = {"evenbits": lambda p=product, x=x, out=out, a=activations: p(x, activations=a, out=out)}
            if other := nbits(m, n, level):
                works["onnxruntime"] = lambda f=other, x=x: f(x)
            if not large:
                dense = np.random.default_rng(0).random((m, n), dtype=np.float32)
                works["numpy float32"] = lambda d=dense, x=x, out=out: np.matmul(x, d.T, out=out)
            else:
                words = e.planes["codes"].view(np.uint64)
                works["pass"] = lambda w=words: w.max()
            rows.append((f"{m} x {n}, {columns} columns, {activations}", m * n * columns, works))
    return rows

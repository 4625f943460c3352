"""C code of a quantized network: ``model.h``, ``model.c`` and the decoder, which need no library, and a report."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from evenbits._arrays import Array
from evenbits._build import get_embedded_include
from evenbits._tensorfile import Path, atomic
from evenbits.codings.bit_shift import BitShift
from evenbits.export.integer import IntegerNetwork, plan, refusal
from evenbits.export.network import Layer, Network, read_network
from evenbits.export.source import EMBEDDING, Source, embedding_text, numbers
from evenbits.export.trellis import spec_of
from evenbits.models.read import open_model
from evenbits.models.report import size_text, table
from evenbits.random import random_bits

ACTIVATIONS = ("int8", "float32")
SOURCES = ("evenbits_decode.h", "evenbits_decode.c")
TAKEN = re.compile(
    "main|evenbits_decode|std.*|arm_.*|assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal"
    "|string|tgmath|threads|time|uchar|wchar|wctype"
)
"""Names whose functions or files would stand in the place of C's."""
LEAST_SCALE, MOST_SCALE = 2.0**-126, 2.0**120


@dataclass(frozen=True)
class Ready:
    """A network ready to be written, and its inputs as the C code takes them: 8-bit integers, or floats."""

    network: Network
    planned: IntegerNetwork | None
    inputs: Array
    scale: float
    arrays: Mapping[str, Any]

    def run(self, x: Array) -> Array:
        """Outputs of inputs (N, inputs), bit for bit those of the C code."""
        return self.network.run(x) if self.planned is None else self.planned.run(x)


def prepare(
    model: Path,
    *,
    activations: str = "int8",
    samples: str | os.PathLike[str] | Array | None = None,
    input_scale: float | str | None = None,
    layers: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> Ready:
    """What ``export_c`` writes, to be run in Python."""
    if activations not in ACTIVATIONS:
        raise ValueError(f"activations is {activations!r}; known are {', '.join(map(repr, ACTIVATIONS))}")
    network, arrays = read_network(model, layers, input_shape)
    for layer in network.layers:
        reason = refusal(layer.weights)
        if reason:
            raise ValueError(f"{layer.name} cannot be decoded in C: {reason}")
    given = None if samples is None else _rows(samples, arrays, network.inputs)
    whole, scale = _scaled(given, input_scale)
    if activations == "int8":
        if given is None:
            raise ValueError("samples is missing; 8-bit activations have the ranges of some inputs (or activations='float32')")
        return Ready(network, plan(network, whole, scale), whole, scale, arrays)
    if given is None:
        whole = random_bits(0, 0, network.inputs).astype(np.int64)[None] % 255 - 127
    floats = given is not None and given.dtype.kind == "f"
    x = given.astype(np.float32) if given is not None and floats else whole.astype(np.float32) * np.float32(scale)
    return Ready(network, None, x, scale, arrays)


def export_c(
    model: Path,
    output: Path,
    *,
    activations: str = "int8",
    samples: str | os.PathLike[str] | Array | None = None,
    labels: str | os.PathLike[str] | Array | None = None,
    input_scale: float | str | None = None,
    layers: str | None = None,
    input_shape: Sequence[int] | None = None,
    name: str = "model",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a file of codes as C: NAME.h, NAME.c, NAME.json and the decoder, to the directory ``output``.

    activations: "int8" (integers alone; scales of activations are those of ``samples``) or "float32" (the products are those
    of ``evenbits.linear``, bit for bit). samples: inputs, one a row: an array, a tensor of the model file by name, or FILE or
    FILE:TENSOR; integers are the 8-bit inputs themselves, each worth ``input_scale`` (a number or "1/16"), floats are divided by
    it (default: their largest magnitude / 127). labels, given the same way: the report then has accuracies. layers and
    input_shape: see ``read_network``. name: of files, functions and macros.

    Returns the report: bytes of flash by tensor, RAM, multiplications, proofs that no sum overflows, the self-test's checksum.
    Raises ValueError for networks that do not fit and for codes that the decoder cannot decode, with the reason.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise ValueError(f"name is {name!r}; it must be a name in C, in small letters")
    if TAKEN.fullmatch(name) or len(name) > 63:
        raise ValueError(f"name is {name!r}, which C or the decoder takes, or longer than 63 letters; take another")
    ready = prepare(
        model, activations=activations, samples=samples, input_scale=input_scale, layers=layers, input_shape=input_shape
    )
    network, planned = ready.network, ready.planned
    source = _source(network, planned, name, ready.inputs[0])
    report: dict[str, Any] = {
        "version": 1,
        "name": name,
        "model": os.fspath(model),
        "activations": activations,
        "layers": [_layer_report(network, planned, i) for i in range(len(network.layers))],
        "flash": source.flash,
        "flash_bytes": sum(source.flash.values()),
        "ram_bytes": source.ram,
        "multiplications": sum(math.prod(_columns(layer)) * layer.windows for layer in network.layers),
        "input_scale": ready.scale,
        "output_scale": planned.layers[-1].output_scale if planned else 1.0,
        "selftest_crc32": f"{source.crc:08x}",
    }
    if labels is not None:
        right = np.asarray(_tensor(labels, ready.arrays)).reshape(-1)
        if samples is None or len(right) != len(ready.inputs):
            raise ValueError(f"labels has {len(right)} entries; there are {0 if samples is None else len(ready.inputs)} samples")
        report["accuracy"] = float(np.mean(ready.run(ready.inputs).argmax(axis=1) == right))
        floats = ready.inputs.astype(np.float32) * np.float32(ready.scale) if planned else ready.inputs
        report["accuracy_of_floats"] = float(np.mean(network.run(floats).argmax(axis=1) == right))
    _write(FilePath(output), name, source, report, overwrite)
    return report


def _columns(layer: Layer) -> tuple[int, int]:
    spec = spec_of(layer.weights)
    return spec.rows, spec.kept


def _tensor(value: str | os.PathLike[str] | Array, arrays: Any) -> Array:
    if not isinstance(value, (str, os.PathLike)):
        return np.asarray(value)
    text = os.fspath(value)
    if text in arrays:
        return np.asarray(arrays[text])
    path, _, tensor = text.partition(":") if not os.path.exists(text) else (text, "", "")
    if not os.path.exists(path):
        raise FileNotFoundError(2, "no such file, nor a tensor of the model", text)
    if path.endswith(".npy"):
        return np.asarray(np.load(path, allow_pickle=False))
    tensors = open_model(path).tensors
    if not tensor and len(tensors) == 1:
        tensor = next(iter(tensors))
    if tensor not in tensors:
        raise ValueError(f"{path} has {', '.join(tensors)}; name one as {path}:TENSOR")
    return tensors[tensor].floats() if tensors[tensor].dtype == "BF16" else tensors[tensor].array()


def _rows(value: str | os.PathLike[str] | Array, arrays: Any, inputs: int) -> Array:
    a = _tensor(value, arrays)
    if a.dtype.kind not in "iuf" or a.ndim == 0 or a.size == 0 or math.prod(a.shape[1:]) != inputs:
        raise ValueError(f"samples is {a.dtype}{a.shape}; it must be rows of {inputs} numbers")
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise ValueError("samples has a number that is not finite")
    if a.dtype.kind == "f" and np.abs(a).max() > np.finfo(np.float32).max:
        raise ValueError("samples has a number beyond the range of float32")
    return a.reshape(len(a), inputs)


def _scaled(samples: Array | None, input_scale: float | str | None) -> tuple[Array, float]:
    """8-bit inputs and what one of their units is worth."""
    try:
        scale = None if input_scale is None else float(Fraction(str(input_scale)))
    except (ValueError, ZeroDivisionError, OverflowError):
        scale = 0.0
    if scale is not None and not LEAST_SCALE <= scale <= MOST_SCALE:
        raise ValueError(f"input_scale is {input_scale!r}; it must be a number above 0, as 0.0625 or 1/16 (2^-126 to 2^120)")
    if samples is None:
        return np.zeros((1, 1), np.int64), scale or 1 / 127
    if samples.dtype.kind != "f":
        if np.abs(samples.astype(np.int64)).max() > 127:
            raise ValueError("samples has integers beyond 127; 8-bit inputs are from -127 to 127: pass floats")
        return samples.astype(np.int64), scale or 1.0
    wide = samples.astype(np.float64)
    scale = scale or max((float(np.abs(wide).max()) or 1.0) / 127, LEAST_SCALE)
    return np.clip(np.rint(wide / scale), -127, 127).astype(np.int64), scale


def _source(network: Network, planned: IntegerNetwork | None, name: str, test: Array) -> Source:
    kind = "float" if planned is None else "int8_t"
    out = Source(name, kind, network.inputs, network.outputs)
    room = window = 0
    steps = []
    buffers = [0, 0]
    for i, layer in enumerate(network.layers):
        spec, image, last = spec_of(layer.weights), layer.image, i == len(network.layers) - 1
        if planned is None:
            out.float_layer(i, layer)
            wide = True
        else:
            out.integer_layer(i, planned.layers[i])
            wide = planned.layers[i].wide
        x = "x" if i == 0 else f"memory->buffer{(i - 1) % 2}"
        y = "y" if last else f"memory->buffer{i % 2}"
        if not last:
            buffers[i % 2] = max(buffers[i % 2], layer.outputs)
        suffix = "f32" if planned is None else "i8"
        into = "f32" if planned is None else "i32" if wide else "i8"
        columns, stride = x, 1
        lines = []
        if image:
            rows, stride = image.out[0], layer.windows
            window = max(window, image.channels * image.kernel_height * image.kernel_width)
            out.text.append(f"static const eb_image image{i} = {{{numbers([*vars(image).values()])}}};")
            lines.append(f"eb_window_{suffix}(&image{i}, {x}, i / {image.out[1]}, i % {image.out[1]}, memory->window);")
            columns = "memory->window"
        if spec.embedding:
            factor = None if planned is None else planned.layers[i].embed
            text, m, base = embedding_text(layer, factor)
            if base is not None:
                text = text.replace("BASE", out.array("uint8_t", base, f"{layer.name} base"))
            out.text.append(f"static const eb_embedding embedding{i} = {text};")
            out.flash[f"{layer.name} descriptor"] += EMBEDDING
            room = max(room, spec.length + (m if m > 1 else 0))
            columns = f"eb_embed_{suffix}(&embedding{i}, {columns}, memory->room)"
        target = f"{y} + i" if image else y
        product = "eb_trellis_matvec" if isinstance(layer.weights._meaning, BitShift) else "eb_matvec"
        lines.append(f"{product}_{into}(&layer{i}, {columns}, {target}, {stride});")
        if image:
            steps.append(f"  for (i = 0; i < {rows * image.out[1]}; i++) {{\n    " + "\n    ".join(lines) + "\n  }")
        else:
            steps += [f"  {line}" for line in lines]
    if network.softmax and planned is None:
        steps.append(f"  eb_softmax_f32(y, {network.outputs});")
    parts = [("float" if planned is None else "int32_t", "room", room), (kind, "window", window)]
    out.memory = [part for part in [*parts, (kind, "buffer0", buffers[0]), (kind, "buffer1", buffers[1])] if part[2]]
    out.run = ["  uint32_t i;"] * bool(window) + steps
    answer = network.run(test[None].astype(np.float32)) if planned is None else planned.run(test[None])
    out.crc = zlib.crc32(answer.astype("<f4" if planned is None else "<i4").tobytes())
    out.test = test
    if planned:
        out.scales = (planned.layers[0].input_scale, planned.layers[-1].output_scale)
    return out


def _layer_report(network: Network, planned: IntegerNetwork | None, i: int) -> dict[str, Any]:
    layer = network.layers[i]
    spec, (rows, columns) = layer.weights._meaning, _columns(layer)
    report: dict[str, Any] = {
        "name": layer.name,
        "method": spec.method,
        "bits": float(spec.bits),
        "rows": rows,
        "columns": columns,
        "windows": layer.windows,
        "multiplications": rows * columns * layer.windows,
    }
    if planned:
        made = planned.layers[i]
        report |= {"worst_sum": made.worst_sum, "sum_limit": 2**31 - 1, "worst_total": made.worst_total, "total_limit": 2**62}
        report |= {"input_scale": made.input_scale, "output_scale": made.output_scale}
    return report


def _write(directory: FilePath, name: str, source: Source, report: dict[str, Any], overwrite: bool) -> None:
    texts = {f"{name}.h": source.header(), f"{name}.c": source.code(report), f"{name}.json": json.dumps(report, indent=2) + "\n"}
    decoder = FilePath(get_embedded_include())
    files = {file: text.encode("ascii") for file, text in texts.items()}
    files |= {file: (decoder / file).read_bytes() for file in SOURCES}
    for file, data in files.items():
        path = directory / file
        if path.is_dir() or (path.exists() and not overwrite and (file in texts or path.read_bytes() != data)):
            raise FileExistsError(f"{path} exists already; allow to replace it (--force, overwrite=True)")
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:  # all of them, or none
        opened = [(stack.enter_context(atomic(directory / file)), data) for file, data in files.items()]
        for out, data in opened:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())


def report_text(report: dict[str, Any]) -> str:
    """The report as tables to read."""
    lines = [
        [
            layer["name"], layer["method"], f"{layer['bits']:g}", f"{layer['rows']} x {layer['columns']}",
            f"{layer['multiplications']}", f"{layer['worst_sum'] / 2**31:.2%} of 2^31" if "worst_sum" in layer else "",
        ]
        for layer in report["layers"]
    ]  # fmt: skip
    total = [f"{len(lines)} layers", "", "", "", str(report["multiplications"]), ""]
    tables = [
        table(["layer", "method", "bits", "codes", "products", "worst sum"], lines, "llrlrr", total),
        table(
            ["flash", "bytes"],
            [[tensor, str(size)] for tensor, size in report["flash"].items()],
            "lr",
            ["all", str(report["flash_bytes"])],
        ),
        f"RAM {size_text(report['ram_bytes'])}, self-test {report['selftest_crc32']}",
    ]
    if "accuracy" in report:
        whole, floats = report["accuracy"], report["accuracy_of_floats"]
        tables.append(f"accuracy {whole:.1%} ({report['activations']}); the same weights in floats {floats:.1%}")
    return "\n\n".join(tables)

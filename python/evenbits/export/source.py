"""The text of generated C files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenbits._arrays import Array
from evenbits.codings.bit_shift import BitShift
from evenbits.embedding import SUPPORT
from evenbits.export import trellis
from evenbits.export.integer import IntegerLayer, Rounding
from evenbits.export.network import Layer
from evenbits.matrices import base_matrix, base_order
from evenbits.meaning import Meaning
from evenbits.products import Linear
from evenbits.random import random_bits
from evenbits.spec import KEPT, Spec

ALL = 0xFFFFFFFF
DESCRIPTOR, TRELLIS, EMBEDDING = 64, 52, 52  # bytes of a layer and of eb_embedding where pointers have 4
WIDTH = 118


def numbers(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def comment(text: str) -> str:
    """Any text as it may stand in a comment of C."""
    return re.sub(r"[^ -~]|\\|\*(?=/)|/(?=\*)|\?(?=\?)", "_", text)


def real_text(value: float) -> str:
    """A float32 literal that is read back as the same number."""
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def codes_text(spec: Spec, bytes_name: str) -> str:
    """The initializer of an eb_codes."""
    r, kept = spec.codes, spec.kept
    groups = -(-kept // spec.group) if spec.group else 0
    rest = kept % r.per
    upper = min(r.upper, rest)
    last = ((r.levels + 1) ** upper * r.levels ** (rest - upper) - 1).bit_length()
    per = 0 if r.plain else r.per
    fields = [spec.rows, r.row_bytes(kept), kept, spec.group or kept, groups, 0 if r.plain else r.upper_digits(kept)]
    return f"{{{bytes_name}, {numbers(fields)}, {numbers([r.levels, r.bits, per, r.upper, last])}}}"


def last_chosen(spec: Spec, stream: int, count: int, name: str) -> int:
    """The random word up to which a random subset goes; all: 2^32 - 1."""
    if count == spec.length:
        return ALL
    words = np.sort(random_bits(spec.seed, stream, spec.length, bits=32))
    if words[count - 1] == words[count] or words[count - 1] == ALL:
        raise ValueError(f"{name} cannot be decoded in C: its subset ends between equal random words; take another seed")
    return int(words[count - 1])


def embedding_text(layer: Layer, embed: Rounding | None) -> tuple[str, int, Array | None]:
    """The initializer of an eb_embedding, BASE for the array of base bits, the base's order, and these bits."""
    spec = trellis.spec_of(layer.weights)
    e = spec.embedding
    assert e is not None
    m = base_order(e.length) or 1
    bits = None if m == 1 else np.packbits(base_matrix(m).reshape(-1) < 0, bitorder="little")
    frame = e.kind == "frame"
    support = last_chosen(spec, spec.stream + SUPPORT, spec.d, layer.name) if frame else ALL
    kept = last_chosen(spec, spec.stream + KEPT, spec.kept, layer.name)
    halves = [f"{{{n & ALL}u, {n >> 32}u}}" for n in (spec.seed, spec.stream)]
    by = embed or Rounding(0, 0)
    scale = real_text(float(np.float32(1 / e.length**0.5)))
    fields = [*halves, spec.d, e.length, f"{support}u", f"{kept}u", "0" if bits is None else "BASE", m, e.rounds, int(frame)]
    return f"{{{numbers([*fields, by.shift, by.multiplier, scale])}}}", m, bits


@dataclass
class Source:
    """A model's C code as it grows."""

    name: str
    kind: str
    inputs: int
    outputs: int
    text: list[str] = field(default_factory=list)
    flash: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    memory: list[tuple[str, str, int]] = field(default_factory=list)
    crc: int = 0
    run: list[str] = field(default_factory=list)
    test: Array = field(default_factory=lambda: np.zeros(0))
    scales: tuple[float, float] = (1.0, 1.0)
    known: dict[tuple[str, bytes], str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Bits a code or a value, for which the decoder can have loops of their own."""

    def array(self, kind: str, values: Array, what: str) -> str:
        """The name of a constant array, which is written once if it is needed twice."""
        key = kind, values.tobytes()
        if key not in self.known:
            self.known[key] = name = f"array{len(self.known)}"
            flat = values.reshape(-1)
            texts = map(real_text, flat) if kind == "float" else map(str, flat.tolist())
            head = f"/* {comment(what)} */\nstatic const EVENBITS_WEIGHTS {kind} {name}[{flat.size}]"
            self.text.append(f"{head} = {{\n{wrapped(texts)}\n}};")
            self.flash[what] += flat.size * {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2}.get(kind, 4)
        return self.known[key]

    def optional(self, kind: str, values: Array | None, what: str) -> str:
        return "0" if values is None else self.array(kind, values, what)

    def integer_layer(self, i: int, made: IntegerLayer) -> None:
        name, spec, w, coding = made.layer.name, made.spec, made.units, made.layer.weights._meaning
        codes = self.array("uint8_t", made.layer.weights.planes["codes"], f"{name} codes")
        shared = slice(1) if spec.group == 0 else slice(None)
        if isinstance(coding, BitShift):
            self.widths["TRELLIS"] |= 1 << int(coding.bits) if coding.bits.denominator == 1 else 0
            fields = [
                trellis.codes_text(coding, codes),
                self.array("int32_t", made.multipliers.astype(np.int32), f"{name} multipliers"),
                self.optional("int32_t", None if made.bias is None else made.bias.astype(np.int32), f"{name} bias"),
                made.shift, made.bias_shift, 0 if made.layer.relu else -127,
            ]  # fmt: skip
            self._descriptor("trellis_i8", i, name, fields, TRELLIS)
            return
        fields = [
            codes_text(spec, codes),
            self.array("int16_t", w.units.astype(np.int16), f"{name} units"),
            self.array("int32_t", made.multipliers[shared].astype(np.int32), f"{name} multipliers"),
            self.optional("uint8_t", None if made.zeros is None else np.ascontiguousarray(made.zeros[shared]), f"{name} zeros"),
            self.optional("int32_t", None if made.bias is None else made.bias.astype(np.int32), f"{name} bias"),
            w.zero_unit, w.even, w.center, made.shift, made.bias_shift, 0 if made.layer.relu else -127,
        ]  # fmt: skip
        if made.meaning.plain:
            self.widths["WIDTHS"] |= 1 << spec.codes.bits
        self._descriptor("layer_i8", i, name, fields)

    def _descriptor(self, kind: str, i: int, name: str, fields: Iterable[Any], size: int = DESCRIPTOR) -> None:
        self.flash[f"{name} descriptor"] += size
        self.text.append(f"static const eb_{kind} layer{i} = {{{numbers(fields)}}};")

    def float_layer(self, i: int, layer: Layer) -> None:
        name, planes, coding = layer.name, layer.weights.planes, layer.weights._meaning
        product, scales = Linear(layer.weights), planes["scales"]
        exponents = None if product.exponent is None else np.clip(product.exponent, -253, 254).astype(np.int16)
        codes = self.array("uint8_t", planes["codes"], f"{name} codes")
        bias, powers = self.optional("float", layer.bias, f"{name} bias"), f"{name} exponents"
        if isinstance(coding, BitShift):
            fields = [
                trellis.codes_text(coding, codes),
                self.array("float", product.scale, f"{name} scales"),
                bias, self.optional("int16_t", exponents, powers), int(layer.relu),
            ]  # fmt: skip
            self._descriptor("trellis_f32", i, name, fields, TRELLIS)
            return
        spec = layer.weights._spec
        meaning = Meaning(spec, planes.get("levels"))
        levels = np.concatenate([meaning.lower, meaning.upper]) if meaning.split else meaning.lower
        half = scales.dtype.itemsize == 2 and exponents is None
        bits = scales.astype(scales.dtype.newbyteorder("=")).view(np.uint16) if half else product.scale[: len(scales)]
        fields = [
            codes_text(spec, codes),
            self.array("float", levels.astype(np.float32), f"{name} levels"),
            self.array("uint16_t" if half else "float", bits, f"{name} scales"),
            self.optional("uint8_t", planes.get("zeros"), f"{name} zeros"),
            bias, self.optional("int16_t", exponents, powers),
            2 if half else 4, int(spec.scale_dtype == "bfloat16"), int(layer.relu),
        ]  # fmt: skip
        self._descriptor("layer_f32", i, name, fields)

    @property
    def ram(self) -> int:
        """Bytes of the memory that a run works in."""
        size = sum(count * (1 if kind == "int8_t" else 4) for kind, _, count in self.memory)
        wide = any(kind != "int8_t" for kind, _, _ in self.memory)
        return size + (-size % 4 if wide else 0)

    def members(self) -> list[str]:
        """Of that memory, the aligned ones first."""
        parts = sorted(self.memory, key=lambda part: part[0] == "int8_t") or [("int8_t", "none", 1)]
        return [f"  {kind} {name}[{count}];" for kind, name, count in parts]

    def header(self) -> str:
        name, big = self.name, self.name.upper()
        out = "float" if self.kind == "float" else "int32_t"
        return f"""/* Written by evenbits export c. */
#ifndef {big}_H
#define {big}_H

#include "evenbits_decode.h"

#define {big}_INPUTS {self.inputs}
#define {big}_OUTPUTS {self.outputs}
#define {big}_INPUT_SCALE {real_text(self.scales[0])} /* what a unit of x is worth, and of y */
#define {big}_OUTPUT_SCALE {real_text(self.scales[1])}

typedef {self.kind} {name}_input;
typedef {out} {name}_output;
typedef struct {{
{chr(10).join(self.members())}
}} {name}_memory; /* of any content; all that a run takes but some stack */

#ifdef __cplusplus
extern "C" {{
#endif

void {name}_run({name}_memory *memory, const {name}_input x[{big}_INPUTS], {name}_output y[{big}_OUTPUTS]);
/* 0 if the network gives what it gave where it was exported, bit for bit. */
int {name}_selftest({name}_memory *memory);

#ifdef __cplusplus
}}
#endif
#endif
"""

    def code(self, report: dict[str, Any]) -> str:
        name, big = self.name, self.name.upper()
        lines = [f" *   {comment(layer['name'])}: {layer['method']}, {layer['bits']:g} bits, "
                 f"{layer['rows']} x {layer['columns']}, {layer['multiplications']} products"
                 + (f"; sums below {layer['worst_sum'] + 1} <= 2^31" if "worst_sum" in layer else "")
                 for layer in report["layers"]]  # fmt: skip
        texts = map(real_text, self.test) if self.kind == "float" else map(str, self.test.tolist())
        fast = " ".join(f"-DEVENBITS_FAST_{kind}=0x{widths:X}" for kind, widths in self.widths.items() if widths)
        return "\n".join([
            f"/* Written by evenbits export c: {report['flash_bytes']} bytes of weights and tables, {self.ram} bytes of RAM.",
            *lines,
            *([f" * Fast with -O2, or -Os and {fast}."] if fast else []),
            " */", f'#include "{name}.h"', "", *self.text, "",
            f"void {name}_run({name}_memory *memory, const {name}_input x[{big}_INPUTS], {name}_output y[{big}_OUTPUTS]) {{",
            *self.run, *([] if self.memory else ["  (void)memory;"]), "}", "",
            f"int {name}_selftest({name}_memory *memory) {{",
            f"  static const {name}_input x[{big}_INPUTS] = {{\n{wrapped(texts, '    ')}\n  }};",
            f"  {name}_output y[{big}_OUTPUTS];",
            f"  {name}_run(memory, x, y);",
            f"  return eb_crc32_words(0, y, {big}_OUTPUTS) != 0x{self.crc:08X}u;", "}", "",
        ])  # fmt: skip


def wrapped(texts: Iterable[str], indent: str = "  ") -> str:
    lines, line = [], indent
    for text in texts:
        if len(line) + len(text) + 1 > WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += f"{text}, "
    return "\n".join([*lines, line.rstrip(", ")])

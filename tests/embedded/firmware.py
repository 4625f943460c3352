"""A program in C that runs many exported networks over the bundled images, and what it must print."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import evenbits
from evenbits import container
from evenbits.export import export_c
from evenbits.export.c import prepare
from evenbits.models.digits import load_digits

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class Case:
    """One network: how its weights are encoded, and how it is exported."""

    name: str
    method: str = "near_democratic"
    bits: Any = 4
    options: dict[str, Any] = field(default_factory=dict)
    activations: str = "int8"
    shapes: tuple[tuple[int, ...], ...] = ()  # of random weights; none: those of the digits
    layers: str | None = None
    input_shape: tuple[int, ...] | None = None
    signed: bool = False
    images: int = 500


def cases(float_images: int = 500) -> list[Case]:
    """Every width and both kinds of activations on the digits, and every feature of the decoder."""
    made = [Case(f"{m[:4]}_{b}", m, b) for m in ("near_democratic", "uniform") for b in WIDTHS]
    made += [
        Case(f"{m[:4]}_{b}_floats", m, b, activations="float32", images=float_images)
        for m in ("near_democratic", "uniform")
        for b in (1, 2, 3, 4, 6, 8)
    ]
    small: dict[str, Any] = {"shapes": ((24, 64), (9, 24))}
    other: list[tuple[str, str, Any, dict[str, Any], dict[str, Any]]] = [
        ("radix", "near_democratic", Fraction(5, 2), {}, {}),
        ("radix_affine", "uniform", Fraction(7, 3), {"per": 12, "range": "min_max", "scale_dtype": "float16"}, small),
        ("subset", "near_democratic", Fraction(1, 2), {"seed": 2**40 + 3, "stream": 2**33 + 1}, {}),
        ("frame", "democratic", 2, {"redundancy": 1.5, "scale_dtype": "bfloat16"}, {}),
        ("signs", "sign_frame", Fraction(3, 2), {}, {}),
        ("table", "lloyd_max", 3, {"law": "empirical"}, {}),
        ("groups", "uniform", 4, {"per": 12, "grid": "mid_rise"}, {}),
        ("affine", "uniform", 5, {"per": 9, "range": "min_max", "scale_dtype": "float16"}, small),
        ("tensor", "uniform", 3, {"per": "tensor"}, {}),
        ("rounds", "near_democratic", 4, {"rounds": 3}, {}),
        *((f"trellis_{b}", "trellis", b, {"memory": 8 + b}, small) for b in (1, 3, 4)),
        ("trellis_2", "trellis", 2, {}, {}),
        ("trellis_broken", "trellis", Fraction(7, 3), {"rotate": False, "memory": 16, "scale_dtype": "float64"}, small),
        ("trellis_half", "trellis", Fraction(5, 2), {"memory": 15}, {"shapes": ((13, 20), (7, 13), (3, 7))}),
        (
            "trellis_conv", "trellis", 2, {"rotate": False, "memory": 10},
            {"shapes": ((6, 2, 3, 3), (5, 6, 2, 2), (3, 20)), "layers": "conv:stride=2:pad=1,relu,conv,relu,dense",
             "input_shape": (2, 5, 5)},
        ),
        (
            "base", "near_democratic", 4, {},
            {"shapes": ((13, 20), (7, 13), (3, 7)), "layers": "dense,relu,dense,relu,dense,softmax"},
        ),
        ("base_of_two", "near_democratic", 3, {}, {"shapes": ((5, 40), (4, 5))}),
        (
            "conv", "near_democratic", 4, {},
            {"shapes": ((6, 2, 3, 3), (5, 6, 2, 2), (3, 20)), "layers": "conv:stride=2:pad=1,relu,conv,relu,dense",
             "input_shape": (2, 5, 5)},
        ),
    ]  # fmt: skip
    for name, method, bits, options, rest in other:
        made += [
            Case(name, method, bits, options, signed=True, images=40, **rest),
            Case(f"{name}_floats", method, bits, options, "float32", signed=True, images=10, **rest),
        ]
    return made


def write(directory: Path, chosen: list[Case]) -> str:
    """The program's sources in ``directory`` (main.c, a .c and .h a network, the decoder); returns its output."""
    digits = load_digits()
    pixels = digits.images.astype(np.int8).reshape(-1)
    lines = []
    for case in chosen:
        path = directory / f"{case.name}.safetensors"
        container.write(path, _entries(case, digits))
        inputs = int(np.prod(case.input_shape or (case.shapes[0][1:] if case.shapes else (64,))))
        whole = pixels[: case.images * inputs].reshape(case.images, inputs)
        whole = whole * np.int8(7) - np.int8(56) if case.signed else whole
        settings: dict[str, Any] = {
            "activations": case.activations, "samples": whole, "input_scale": 1 / 16,
            "layers": case.layers, "input_shape": case.input_shape,
        }  # fmt: skip
        report = export_c(path, directory, name=case.name, **settings)
        assert all(layer.get("worst_sum", 0) < 2**31 and layer.get("worst_total", 0) < 2**62 for layer in report["layers"])
        ready = prepare(path, **settings)
        answers = ready.run(ready.inputs)
        lines.append(f"{case.name} {zlib.crc32(answers.astype(answers.dtype.newbyteorder('<')).tobytes()):08x}\n")
    (directory / "main.c").write_text(_main(chosen, pixels))
    return "".join(lines)


def _entries(case: Case, digits: Any) -> list[container.Entry]:
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in case.shapes] or list(digits.weights)
    biases = [rng.standard_normal(len(w)).astype(np.float32) for w in weights] if case.shapes else digits.biases
    entries = []
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        rows = weight.reshape(len(weight), -1)
        encoded = evenbits.quantize(rows, case.bits, case.method, **case.options)
        entries.append(container.entry_of(f"{i}.weight", encoded, weight.shape if weight.ndim > 2 else None))
        entries.append(container.entry_of(f"{i}.bias", bias))
    return entries


def _main(chosen: list[Case], pixels: Any) -> str:
    text = ["#include <stdio.h>"]
    text += [f'#include "{case.name}.h"' for case in chosen]
    text += [f"static const int8_t pixels[{pixels.size}] = {{{','.join(map(str, pixels))}}};"]
    text += ["static union {", *[f"  {case.name}_memory {case.name};" for case in chosen], "} memory;"]
    for case in chosen:
        name, big = case.name, case.name.upper()
        q = "(p[j] * 7 - 56)" if case.signed else "p[j]"
        value = f"(float){q} * 0.0625f" if case.activations == "float32" else f"(int8_t){q}"
        text.append(f"""
static int run_{name}(void) {{
  {name}_input x[{big}_INPUTS];
  {name}_output y[{big}_OUTPUTS];
  uint32_t crc = 0, i, j;
  const int8_t *p = pixels;
  for (i = 0; i < {case.images}; i++, p += {big}_INPUTS) {{
    for (j = 0; j < {big}_INPUTS; j++) x[j] = {value};
    {name}_run(&memory.{name}, x, y);
    crc = eb_crc32_words(crc, y, {big}_OUTPUTS);
  }}
  printf("{name} %08lx\\n", (unsigned long)crc);
  return {name}_selftest(&memory.{name});
}}""")
    calls = [f"  failed |= run_{case.name}();" for case in chosen]
    return "\n".join([*text, "int main(void) {", "  int failed = 0;", *calls, "  return failed;", "}", ""])

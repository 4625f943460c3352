"""Networks in integers: 8-bit activations, whole units for levels, multipliers of 31 bits; planned, and run, in Python.

A layer's output is round((bias * 2^b + sum over groups of multiplier * s) / 2^shift), s = sum of unit * x. Scales of activations
are the largest magnitudes over the samples / 127. Only + - * / and square roots of floats decide here, so that the same file
gives the same C code on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evenbits._arrays import Array
from evenbits.bit_shift import row_bytes
from evenbits.codings.bit_shift import BitShift
from evenbits.encoded import Encoded, stored_scales
from evenbits.export.network import Layer, Network
from evenbits.export.trellis import MOST_LEVEL, levels, spec_of
from evenbits.meaning import Meaning
from evenbits.random import random_signs
from evenbits.spec import UNIFORM, Spec
from evenbits.transforms import hadamard_transform

MOST_UNIT = 4095
"""Levels that are on no even grid are rounded to whole units up to this."""
LEAST_INPUT = -128
LIMIT = 2**31 - 1


def refusal(weights: Encoded) -> str | None:
    """Why the C decoder cannot decode some weights, or None."""
    spec = weights._meaning
    if isinstance(spec, BitShift):
        return _too_many(spec.rows, spec.length, row_bytes(spec.length, spec.bits))
    if not isinstance(spec, Spec):
        return f"method {spec.method!r} has no code of fixed width for each value; take another"
    if spec.axes:
        return "its rotation goes along both axes of the matrix, which takes the whole matrix in memory"
    if spec.embedding and spec.embedding.kind not in ("hadamard", "frame"):
        return f"its embedding {spec.embedding.kind!r} needs functions that differ between machines"
    if spec.grid == "pairs":
        return "its codes mean a number in each of two bases (method kashin), which takes two products"
    if spec.codes.levels + (spec.codes.upper > 0) > 257 or (spec.codes.per == 1 and spec.codes.bits > 8):
        return f"its codes have {spec.codes.levels} levels; the decoder has 8 bits a code"
    return _too_many(spec.rows, spec.kept, spec.codes.row_bytes(spec.kept))


def _too_many(rows: int, codes: int, bytes_a_row: int) -> str | None:
    if codes > 2**24 or rows * bytes_a_row > 2**29:
        return f"{rows} rows of {codes} codes are too many; the decoder has rows of 2^24, and 2^29 bytes"
    return None


@dataclass(frozen=True)
class Units:
    """Levels as whole units: level = step * unit. ``even`` and ``center``: unit = even * code - center, or even is 0."""

    units: Array
    step: float
    zero_unit: int
    even: int
    center: int


def units_of(meaning: Meaning, group: int) -> Units:
    """The units of a spec's levels, as small as the sums over a group of inputs need them."""
    spec, lower = meaning.spec, meaning.lower.astype(np.float64)
    count, split = lower.size, meaning.split
    codes = np.arange(count, dtype=np.int64)
    step = float(lower[-1] - lower[0]) / (count - 1)
    if split == 0 and spec.grid == "affine":
        return Units(codes, 1.0, 1, 1, 0)
    if split == 0 and spec.grid == "mid_tread":
        return Units(codes - count // 2, step, 0, 1, count // 2)
    if split == 0 and (spec.grid in UNIFORM or spec.grid.startswith("uniform_")):
        return Units(2 * codes - (count - 1), step / 2, 0, 2, count - 1)
    levels = np.concatenate([lower, meaning.upper.astype(np.float64)]) if split else lower
    most = min(MOST_UNIT, LIMIT // (-LEAST_INPUT * group) // 2)
    peak = float(np.abs(levels).max())
    if spec.grid == "affine":
        zero_unit = int(most // peak)
        return Units(np.rint(levels * zero_unit).astype(np.int64), 1 / zero_unit, zero_unit, 0, 0)
    step = peak / most if peak else 1.0
    return Units(np.rint(levels / step).astype(np.int64), step, 0, 0, 0)


TRELLIS = Units(np.array([-MOST_LEVEL, MOST_LEVEL]), 1.0, 0, 0, 0)
"""Of the values of a trellis, which are no codes."""
TRELLIS_SUM = 1 << 15
"""Products that the decoder adds up in 32 bits."""


@dataclass(frozen=True)
class Rounding:
    """round(v * multiplier / 2^shift)."""

    multiplier: int
    shift: int


@dataclass(frozen=True)
class IntegerLayer:
    """A layer's numbers. Scales are what one unit of input, coordinates and output is worth."""

    layer: Layer
    spec: Spec
    meaning: Meaning
    units: Units
    multipliers: Array
    zeros: Array | None
    bias: Array | None
    shift: int
    bias_shift: int
    embed: Rounding | None
    input_scale: float
    output_scale: float
    wide: bool
    worst_sum: int
    worst_total: int

    def coordinates(self, x: Array) -> Array:
        """int64 inputs (N, d) as the coordinates that have codes, 8 bits each."""
        return x if self.embed is None else rounded(embedded(self.meaning, x), self.embed, -127, 127)

    def matrix(self) -> Array:
        """The units of all codes."""
        weights = self.layer.weights
        if isinstance(weights._meaning, BitShift):
            return levels(weights, weights._meaning)
        codes = self.meaning.unpack(weights.planes["codes"]).astype(np.int64)
        codes[:, : self.meaning.split] += self.spec.codes.levels
        units: Array = self.units.units[codes]
        return units

    def run(self, x: Array) -> Array:
        """int64 (N, inputs) -> (N, outputs)."""
        image, spec, w = self.layer.image, self.spec, self.units
        x = self.coordinates(x if image is None else image.windows(x))
        matrix, group = self.matrix(), spec.group or spec.kept
        total = np.zeros((len(x), spec.rows), np.int64)
        if self.bias is not None:
            total += self.bias.astype(np.int64) << self.bias_shift
        for g, first in enumerate(range(0, spec.kept, group)):
            part = matrix[:, first : first + group]
            if self.zeros is not None:
                part = part - w.zero_unit * self.zeros[:, g, None].astype(np.int64)
            total += x[:, first : first + group] @ part.T * self.multipliers[:, g]
        least = -LIMIT if self.wide else 0 if self.layer.relu else -127
        y = rounded(total, Rounding(1, self.shift), least, LIMIT if self.wide else 127)
        return y if image is None else image.joined(y)


@dataclass(frozen=True)
class IntegerNetwork:
    """Layers, of which the last gives 32-bit outputs."""

    layers: tuple[IntegerLayer, ...]

    def run(self, x: Array) -> Array:
        """8-bit inputs (N, inputs) -> int32 outputs."""
        y = x.astype(np.int64)
        for layer in self.layers:
            y = layer.run(y)
        return y.astype(np.int32)


def rounded(v: Array, by: Rounding, least: int, most: int) -> Array:
    """To the nearest, halves up."""
    y: Array = np.clip((v * by.multiplier + (1 << by.shift >> 1)) >> by.shift, least, most)
    return y


def embedded(meaning: Meaning, x: Array) -> Array:
    """The coordinates in integers, unscaled: n^(rounds / 2) times as long as x."""
    spec, e = meaning.spec, meaning.spec.embedding
    if e is None:
        return x
    y = np.zeros((len(x), e.length), np.int32)
    y[:, meaning.frame.support if e.kind == "frame" else slice(spec.d)] = x
    signs = random_signs(spec.seed, spec.stream, e.length * e.rounds, dtype=np.int32).reshape(e.rounds, -1)
    for s in signs:
        y = hadamard_transform(y * s)
    return (y if meaning.kept is None else y[:, meaning.kept]).astype(np.int64)


def plan(network: Network, samples: Array, input_scale: float) -> IntegerNetwork:
    """Integers for a network, with the ranges that its activations have on 8-bit samples (N, inputs) times input_scale.

    Raises ValueError, naming the layer, where the decoder cannot do it or sums might overflow.
    """
    layers = []
    x, scale = samples.astype(np.float32) * np.float32(input_scale), float(input_scale)
    for i, layer in enumerate(network.layers):
        y = layer.run(x)
        made = _layer(layer, x, y, scale, i == len(network.layers) - 1)
        layers.append(made)
        x, scale = y, made.output_scale
    return IntegerNetwork(tuple(layers))


def _peak(x: Array) -> float:
    peak = float(np.abs(x).max(initial=0))
    return peak if peak > 0 else 1.0


def _layer(layer: Layer, x: Array, y: Array, scale: float, wide: bool) -> IntegerLayer:
    spec, trellis = spec_of(layer.weights), isinstance(layer.weights._meaning, BitShift)
    meaning = Meaning(spec, layer.weights.planes.get("levels"))
    group, e = spec.group or spec.kept, spec.embedding
    embed, column_scale = None, scale
    if e is not None:
        inputs = x if layer.image is None else layer.image.windows(x)
        gain = math.prod([math.sqrt(e.length)] * e.rounds)  # a power would be libm's
        if -LEAST_INPUT * math.sqrt(e.length) * gain > LIMIT:
            raise ValueError(f"{layer.name}: a rotation of {e.length} numbers in {e.rounds} rounds overflows 32 bits")
        integers = np.clip(np.rint(inputs.astype(np.float64) / scale), -127, 127).astype(np.int64)
        column_scale = _peak(embedded(meaning, integers)) * (scale / gain) / 127
        embed = _rounding(scale / gain / column_scale, -LEAST_INPUT * math.sqrt(e.length) * gain)
    units = TRELLIS if trellis else units_of(meaning, group)
    zeros = None
    if "zeros" in layer.weights.planes:
        zeros = np.broadcast_to(layer.weights.planes["zeros"], (spec.rows, layer.weights.planes["zeros"].shape[1]))
    top = int(np.abs(units.units).max())
    if zeros is not None:
        top += units.zero_unit * int(zeros.max(initial=0))
    partial = max(units.even * (units.units.size - 1), units.center, top)
    worst = row = -LEAST_INPUT * min(group, spec.kept) * partial
    if trellis:
        worst = min(worst, -LEAST_INPUT * TRELLIS_SUM * partial)  # then the decoder goes on with another sum
    if worst > LIMIT:
        raise ValueError(f"{layer.name}: a sum over {group} products may reach {worst}, beyond 32 bits; take shorter groups")
    scales = stored_scales(layer.weights.planes["scales"], spec.scale_dtype).astype(np.float64)
    scales = np.broadcast_to(scales, (spec.rows, scales.shape[1]))
    output_scale = _peak(y) * 2.0**-23 if wide else _peak(y) / 127
    factors = scales * (units.step * column_scale / output_scale)
    offsets = None if layer.bias is None else layer.bias.astype(np.float64) / output_scale
    shift = _shift(layer.name, factors, offsets, row)
    multipliers = np.rint(np.ldexp(factors, shift)).astype(np.int64)
    bias, bias_shift = None, 0
    if offsets is not None:
        peak = float(np.abs(offsets).max())
        bias_shift = max(0, math.frexp(peak * 2.0**shift)[1] - 31)
        bias = np.rint(np.ldexp(offsets, shift - bias_shift)).astype(np.int64)
        if np.abs(bias).max() > LIMIT:  # rounded up to 2^31
            bias_shift, bias = bias_shift + 1, np.rint(np.ldexp(offsets, shift - bias_shift - 1)).astype(np.int64)
    most = int(np.abs(multipliers).sum(axis=1).max()) * row + (0 if bias is None else int(np.abs(bias).max()) << bias_shift)
    return IntegerLayer(
        layer, spec, meaning, units, multipliers, zeros, bias, shift, bias_shift, embed, scale, output_scale, wide, worst, most
    )  # fmt: skip


def _rounding(factor: float, worst: float) -> Rounding:
    """factor as multiplier / 2^shift, such that worst * multiplier stays below 2^61."""
    shift = min(30 - math.frexp(factor)[1], 60 - math.frexp(worst * factor)[1], 60)
    return Rounding(max(1, round(math.ldexp(factor, shift))), shift)


def _shift(name: str, factors: Array, offsets: Array | None, worst: int) -> int:
    """The largest shift up to 60 with multipliers below 2^30 and sums below 2^61."""
    peak = float(np.abs(factors).max())
    total = float(np.abs(factors).sum(axis=1).max()) * worst
    if offsets is not None:
        total = max(total, float(np.abs(offsets).max()))
    shift = min(60, 30 - math.frexp(peak)[1], 60 - math.frexp(total)[1])
    if shift < 1:
        raise ValueError(f"{name}: its scales are too large for 32-bit outputs")
    return shift

"""Weights of a bit-shift trellis in C: their numbers, and what they share with digits."""

from __future__ import annotations

import numpy as np

from evenbits._arrays import Array
from evenbits.bit_shift import multiplier, row_bits, row_bytes, values
from evenbits.codings.bit_shift import BitShift
from evenbits.encoded import Encoded
from evenbits.packing import Radix
from evenbits.spec import Embedding, Spec

MOST_LEVEL = 510


def spec_of(weights: Encoded) -> Spec:
    """The spec of some weights; of a trellis, that of digits in the same rotation."""
    w = weights._meaning
    if not isinstance(w, BitShift):
        return weights._spec
    rotation = Embedding("hadamard", w.coordinates) if w.rotated else None
    n, digits = w.coordinates, Radix(256, 0, 1, 8)
    return Spec(w.method, w.bits, w.shape, w.dtype, "mid_rise", digits, w.scale_dtype, n, n, rotation, w.seed, w.stream)


def levels(weights: Encoded, coding: BitShift) -> Array:
    """The integers (rows, coordinates) that the scales multiply."""
    codes, one = np.ascontiguousarray(weights.planes["codes"]), np.ones(coding.rows, np.float32)
    return values(codes, one, coding.length, coding.bits, coding.memory)[:, : coding.coordinates].astype(np.int64)


def codes_text(coding: BitShift, bytes_name: str) -> str:
    """The initializer of an eb_trellis."""
    rate, n = coding.bits, coding.length
    whole, part = divmod(rate.numerator, rate.denominator)
    factor = multiplier(rate, coding.memory)
    fields = [coding.rows, row_bytes(n, rate), coding.coordinates, row_bits(n, rate), f"{factor}u"]
    return f"{{{bytes_name}, {', '.join(map(str, [*fields, part, rate.denominator, whole, coding.memory]))}}}"

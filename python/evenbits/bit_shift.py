"""Bit-shift trellises: every value is a hash of the last ``memory`` bits of its row, of which a few are its own.

With a rate of 1 to 4, bits floor(i rate) to floor((i + 1) rate) of a row belong to value i. Let s be the ``memory`` bits that
end with them, the last one highest, the row's end standing before its beginning, and h = a s + 76625530 modulo 2^32, where a is
1976101133, 310825767, 4173394211 or 1753752023 for rates from 1, 2, 3 or 4 on, rotated left by 16 - memory bits. The value is
the sum of the four bytes of h, less 510, which is nearly Gaussian. So one multiplication decodes a value, without tables, from
any place on; and neighbours share bits, so that an encoder may choose among many rows. The numbers a are those, among some
thousands tried, for which the error of Gaussians is least.
Sources: Marcellin and Fischer, Trellis coded quantization, IEEE Trans. Commun. 38 (1990); Tseng et al., QTIP, NeurIPS 2024,
arXiv 2406.11235 (bit-shift trellises with computed codes; the sum of bytes).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from evenbits import _core
from evenbits._arrays import Array
from evenbits._groups import dot

DEVIATION = 147.8
"""Of the values."""
GAINS = ((1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0), (1.12, 1.03, 0.97, 0.945, 0.925, 0.9, 0.885))
"""By rate, what a Gaussian is multiplied by before the search: more at low rates, where what is found is smaller than it."""
MULTIPLIERS = (1976101133, 310825767, 4173394211, 1753752023)


def multiplier(rate: Fraction, memory: int) -> int:
    """Of the hash."""
    a = MULTIPLIERS[int(rate) - 1]
    return (a << (16 - memory) | a >> (16 + memory)) & 0xFFFFFFFF


def row_bits(n: int, rate: Fraction) -> int:
    """Bits of a row of n values."""
    return n * rate.numerator // rate.denominator


def row_bytes(n: int, rate: Fraction) -> int:
    return (row_bits(n, rate) + 7) // 8


def unit(rate: Fraction) -> int:
    """Of the search's integers, in a value's 1."""
    return 32 if rate < 2 else 64


def search(x: Array, rate: Fraction, memory: int, *, workers: int = 1) -> NDArray[np.uint8]:
    """The bits of rows near x (rows, n), float32, of which each is taken as a Gaussian of its own standard deviation."""
    rows, n = x.shape
    deviation = np.sqrt(dot(x, x, workers=workers)[:, None] / n)
    factor = float(np.interp(float(rate), *GAINS)) * DEVIATION * unit(rate)
    scaled = x * np.divide(factor, deviation, out=np.zeros_like(deviation), where=deviation > 0).astype(np.float32)
    steps = np.rint(np.clip(scaled, -32767, 32767)).astype(np.int16)
    codes = np.zeros((rows, row_bytes(n, rate)), np.uint8)
    if rows:
        _core.bit_shift_search(steps, n, memory, rate.numerator, rate.denominator, codes, workers)
    return codes


def values(codes: Array, scale: Array, n: int, rate: Fraction, memory: int, *, workers: int = 1) -> NDArray[np.float32]:
    """Rows of n values times their scales, float32 (rows,)."""
    y = np.empty((len(codes), n), np.float32)
    if y.size:
        _core.bit_shift_decode(codes, scale, n, memory, rate.numerator, rate.denominator, y, workers)
    return y

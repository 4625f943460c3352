"""Distances of rows, rounded up so that they certainly hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array

SLACK = 2.0**-45
"""What the roundings of a distance in doubles come to, at most."""


def distances(x: Array, y: Array) -> NDArray[np.float32]:
    """Numbers that are no less than |x_i - y_i|, the Euclidean distances of rows of floats, nor much greater.

    With u = 2^-53, a difference in doubles is off by a factor within 1 +- u (it is exact where it is denormal), and its square
    by 1 +- 3 u at most. Adding n of them pairwise takes at most 2 log2 n roundings of each, 80 for n = 2^40, the square root one
    more: together less than 50 u, to which the squares that vanish add n 2^-1074 of the largest: less than ``SLACK``. The last
    rounding, to float32, goes up, so that a row that differs at all has 2^-149. Infinite where float32 ends.
    """
    with np.errstate(over="ignore", under="ignore"):
        difference = x.astype(np.float64) - y
        exponent = np.frexp(np.abs(difference).max(axis=1, initial=0))[1]
        square = np.square(np.ldexp(difference, -exponent[:, None]))
        while square.shape[1] > 1:
            half, rest = divmod(square.shape[1], 2)
            pairs = square[:, :half] + square[:, half : 2 * half]
            if rest:
                pairs[:, 0] += square[:, -1]
            square = pairs
        exact = np.ldexp(np.sqrt(square.sum(axis=1)) * (1 + SLACK), exponent)
        found: NDArray[np.float32] = exact.astype(np.float32)
        return np.where(found < exact, np.nextafter(found, np.float32(np.inf)), found)

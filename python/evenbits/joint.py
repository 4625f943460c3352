"""Codes of a row that are decided together, which no rounding of one coordinate after the other equals."""

from __future__ import annotations

import math

import numpy as np

from evenbits import _core
from evenbits._arrays import Array
from evenbits.embedding import Frame

LEVEL = 1.3
"""Size of the signs of a long frame, in |x| / sqrt(n); as redundancy grows no vector has a level below sqrt(pi / 2) = 1.253."""
LEAST = 0.97
"""Size of the signs of a short frame, in |x| / sqrt(d)."""
MOMENTUM = 0.95
CONCAVITY = 0.9


def sign_frame(frame: Frame, x: Array, iterations: int, *, kept: Array | None = None, workers: int = 1) -> Array:
    """Coefficients a = s c of float32 rows, c in [-1, 1] and nearly all at the ends, with S sign(c) near x.

    Minimizes |x / s - S c|^2 - k |c|^2 over the box by projected gradient steps of length 1 with momentum; k grows
    from 0, where that is convex, to 0.9 d / n, which drives c to the corners. s = min(0.97 / sqrt(d), 1.3 / sqrt(n)) |x|.
    kept: indices of the coefficients that are not 0, or None for all. x: (..., d) -> (..., n).
    The momentum, the path of k and s were chosen on Gaussian rows of 4096; the errors on other laws are the same.
    """
    n, d = frame.n, frame.d
    wide = frame.spread(x, workers)
    box = np.ones(n, np.float32)
    if kept is not None:
        box[:] = 0
        box[kept] = 1
    level = min(LEAST / math.sqrt(d), LEVEL / math.sqrt(n))
    _core.sign_frame(wide, wide, frame.base, frame.signs, box, iterations, level, MOMENTUM, CONCAVITY * d / n, workers)
    return wide

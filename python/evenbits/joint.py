"""Codes of a row that are decided together, which no rounding of one coordinate after the other equals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evenbits import _core
from evenbits._arrays import Array
from evenbits.embedding import Frame
from evenbits.matrices import base_matrix, base_order
from evenbits.random import recent_signs

LEVEL = 1.3
"""Size of the signs of a long frame, in |x| / sqrt(n); as redundancy grows no vector has a level below sqrt(pi / 2) = 1.253."""
LEAST = 0.97
"""Size of the signs of a short frame, in |x| / sqrt(d)."""
MOMENTUM = 0.95
CONCAVITY = 0.9
PAIR_MOMENTUM = 0.9
SECOND = 1 << 63
"""Added to a stream's number to draw the signs of an involution; frames, which draw their support there, have none."""


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


@dataclass(frozen=True)
class Involution:
    """P = H diag(signs) H / n of order n: symmetric, P P = I, made of additions; its signs are random."""

    n: int
    seed: int
    stream: int

    @property
    def signs(self) -> Array:
        return recent_signs(self.seed, self.stream + SECOND, self.n)

    @property
    def base(self) -> Array:
        return base_matrix(base_order(self.n) or 1)

    def __call__(self, x: Array) -> Array:
        """P x of float32 rows."""
        y = np.empty_like(x)
        if x.size:
            _core.hadamard(x, y, self.base, None, self.signs, 1 / math.sqrt(self.n), 1)
            _core.hadamard(y, y, self.base, None, None, 1 / math.sqrt(self.n), 1)
        return y

    def split(self, x: Array, schedule: str, iterations: int, tolerance: float) -> tuple[Array, Array, Array]:
        """(u, v, residuals): float32 rows x = s (u + P v) with s the root mean square of a row, and |x - x'| / |x|.

        Steps u += c sign(r), c = |r|_1 / n, and v += c sign(P r), c = |P r|_1 / n, r being what is left of x / s: of the two
        the one with the greater c ("greedy"), or u, u, v, v ("alternating"), until |r| <= tolerance |x / s|.
        """
        u, v, residuals = np.empty_like(x), np.empty_like(x), np.empty(len(x))
        _core.kashin_split(x, u, v, self.base, self.signs, schedule == "greedy", iterations, tolerance, residuals, 1)
        return u, v, residuals

    def joint_codes(
        self, x: Array, split: int, levels: tuple[int, int, int, int], peaks: tuple[float, float, float, float], iterations: int
    ) -> Array:
        """Codes i + levels_u j of float32 rows, chosen together so that s (u_i + P v_j) is near the row.

        Levels are evenly spaced up to the peaks, in units of s, for u and v of coordinates below ``split``, then of the others.
        The way of ``sign_frame``: projected gradient steps with momentum, away from the thresholds with a force that grows.
        """
        codes = np.empty(x.shape, np.uint8)
        path = iterations, PAIR_MOMENTUM, 0.4 if max(levels) == 2 else 0.2
        _core.kashin_joint(x, codes, self.base, self.signs, split, levels, peaks, *path, 1)
        return codes

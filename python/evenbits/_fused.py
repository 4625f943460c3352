"""Rows rotated, coded and packed in one go, and back: the same bytes as step by step, several times faster."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evenbits import _core
from evenbits._arrays import Array
from evenbits.codebooks import thresholds
from evenbits.matrices import base_matrix, base_order
from evenbits.random import recent_signs
from evenbits.spec import PAIRS, Spec, levels_of

FITS = {"range": 0, "least_squares": 1, "unbiased": 2}


def applies(spec: Spec) -> bool:
    """Whether rows are rotated once, have codes of 1 to 8 bits throughout, and a float32 scale each but no zero."""
    e, codes = spec.embedding, spec.codes
    rotated = e is not None and e.kind == "hadamard" and e.rounds == 1 and spec.kept == e.length
    plain = codes.plain and codes.bits <= 8
    return rotated and plain and spec.grid not in ("affine", PAIRS) and spec.scale_dtype == "float32" and spec.group > 0


@lru_cache
def _thresholds(grid: str, count: int) -> NDArray[np.float32]:
    return thresholds(levels_of(grid, count, count))


class Rotated:
    """Coding of rows to whose spec this ``applies``; ``levels`` are what the codes mean."""

    def __init__(self, spec: Spec, levels: NDArray[np.float32]) -> None:
        n, self.spec, self.bits = spec.length, spec, spec.codes.bits
        table = np.zeros(256, np.float32)
        table[: levels.size] = levels
        self.rotation = base_matrix(base_order(n) or 1), recent_signs(spec.seed, spec.stream, n), 1 / math.sqrt(n), table

    def encode(self, x: Array, fit: str, codes: Array, scales: Array, workers: int) -> list[tuple[int, int]]:
        """Fill codes and scales of float32 rows, for the grids of laws; returns the spans of rows that are left.

        A span begins with a row of extraordinary size, or one that is not finite.
        """
        book = *self.rotation, _thresholds(self.spec.grid, self.spec.codes.levels), self.bits
        return sorted(_core.encode_rotated(x, *book, FITS[fit], codes, scales, workers))

    def decode(self, codes: Array, scales: Array, out: Array, workers: int) -> list[tuple[int, int]]:
        """Fill float32 rows; returns the spans of rows that are left, which begin with one of extraordinary size."""
        return sorted(_core.decode_rotated(codes, scales, *self.rotation, self.bits, out, workers))

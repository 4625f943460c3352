"""What methods share whose codes are a stream: its length depends on the values, and ``bits`` is its ceiling."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core
from evenbits._arrays import Array
from evenbits._chunks import CHUNK
from evenbits._groups import dot
from evenbits.codings.streams import Stream, default_floats
from evenbits.encoded import Encoded, as_matrix
from evenbits.quantizers.base import Quantizer, finite, shape_of


class StreamQuantizer(Quantizer):
    """``nbytes`` is the most that an array of that shape can take."""

    fixed = False

    @abstractmethod
    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> Stream:
        """The spec of codes that take ``size`` bytes, which no spec of fewer bytes is longer than."""

    def spec(self, shape: tuple[int, ...], dtype: str = "float32") -> Stream:  # type: ignore[override]
        """The spec of the longest codes that ``bits`` allows."""
        return self.planned(shape_of(shape), dtype, int(self.bits * math.prod(shape)) // 8)

    def encode(self, x: ArrayLike, *, workers: int = 1) -> Encoded:
        """The stream of x. The coder takes one thread, rounding before it ``workers``.

        The same input and options give the same bytes on every machine. Raises ValueError for NaN and infinity (with the
        index), TypeError for dtypes other than floats, integers of up to 32 bits and booleans.
        """
        a, dtype, workers = finite(x, workers)
        plan = self.spec(a.shape, dtype)
        with default_floats():
            return self.encode_rows(as_matrix(a), plan, workers)

    @abstractmethod
    def encode_rows(self, rows: Array, plan: Stream, workers: int) -> Encoded:
        """The codes of finite rows, which take no more than the plan says."""


SAMPLE, PIECE = 1 << 17, 1 << 12
"""Values that steps are tried on, in pieces."""


def sample_of(flat: Array) -> Array:
    """Pieces evenly spaced, together about ``SAMPLE`` values of more than that: (pieces, PIECE)."""
    pieces = flat.size // PIECE
    return np.ascontiguousarray(flat[: pieces * PIECE].reshape(pieces, PIECE)[:: -(-flat.size // SAMPLE)])


def sum_of(x: Array, y: Array | None = None) -> float:
    """The sum of |x|, or of x y, over float32 arrays, in one order on every machine."""
    flat, total = x.reshape(-1), 0.0
    other = None if y is None else y.reshape(-1)
    one = np.ones(min(CHUNK, flat.size), np.float32)
    for begin in range(0, flat.size, CHUNK):
        part = flat[begin : begin + CHUNK]
        part, factor = (np.abs(part), one[: part.size]) if other is None else (part, other[begin : begin + CHUNK])
        total += float(dot(part[None], factor[None])[0])
    return total


def encoded_levels(levels: Array, most: int) -> Array | None:
    """The stream of int16 rows, or None if it takes more than so many bytes."""
    out = np.empty(most, np.uint8)
    size = _core.encode_levels(levels, max(levels.shape[-1], 1), out)
    return out[:size].copy() if size <= most else None

"""Bytes 0 to 255 of which a few consecutive bits are left: "window": [n, p], n bits at one of p places, and "pairs": true or
absent.

The places are evenly spaced from 8 - n down to 0. Levels are the numbers that this leaves, ascending, m of them; a value is
level * scale, the one entry of plane ``scales``, float32 (1, 1). Plane ``codes`` (rows, bytes): digits in blocks of
``packing.radix_block``. Without pairs a digit a value, its level's place. With pairs a digit for values 2 j and 2 j + 1 (0
behind an odd row): i + m k for levels i and k; then, each w a level of the window of 2 n bits at all places that is none of n
bits, ascending, (w, 0) for all of them, and (0, w).
Source: Shomron et al., "Post-training sparsity-aware quantization", NeurIPS 2021, arXiv 2105.11010; the enumeration is this
library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import LARGEST, Array
from evenbits.codebooks import dequantize
from evenbits.codings.base import Coding, Rows
from evenbits.packing import Radix, radix_block, unpack_radix
from evenbits.spec import EncodedError, Reader

Bytes = NDArray[np.uint8]


def places(bits: int, count: int) -> list[int]:
    """Where the lowest bit of a window may lie, descending. Raises ValueError unless these can be evenly spaced."""
    room = 8 - bits
    if not 1 <= bits <= 8 or not 1 <= count <= room + 1 or (count == 1) != (room == 0) or (room and room % (count - 1)):
        raise ValueError(f"placements is {count}; windows of {bits} bits take {', '.join(map(str, possible_counts(bits)))}")
    return list(range(room, -1, -(room // (count - 1)))) if room else [0]


def possible_counts(bits: int) -> list[int]:
    """How many evenly spaced places a window can have."""
    room = 8 - bits
    return [1] if room <= 0 else [1 + k for k in range(1, room + 1) if room % k == 0]


@lru_cache(maxsize=64)
def window_table(bits: int, count: int, rounds: bool) -> Bytes:
    """What is left of each byte: the bits of the lowest window that covers its highest one.

    ``rounds``: rounded to the nearest number of that window, ties to even, and to its greatest from above; else cut off.
    """
    x = np.arange(256)
    low = np.full(256, 8 - bits)
    for s in places(bits, count):
        low = np.where(x >> (s + bits) == 0, s, low)
    q, rest, half = x >> low, x & ((1 << low) - 1), (1 << low) >> 1
    if rounds:
        q = np.minimum(q + ((rest > half) | ((rest == half) & (rest > 0) & (q & 1 == 1))), (1 << bits) - 1)
    table: Bytes = (q << low).astype(np.uint8)
    table.flags.writeable = False
    return table


def wide_table(bits: int, rounds: bool) -> Bytes:
    """What is left of a byte whose neighbour is 0: twice the bits, at all places."""
    return window_table(2 * bits, 9 - 2 * bits, rounds)


@lru_cache(maxsize=64)
def digits_of(bits: int, count: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16], Bytes]:
    """Of every byte its digit as a level, as the first of a pair with 0 and as the second; and what the digits of pairs mean."""
    levels = np.unique(window_table(bits, count, False))
    m = len(levels)
    single = np.searchsorted(levels, np.arange(256)).astype(np.uint16)
    first, second = single.copy(), single * np.uint16(m)
    pairs = np.stack([np.tile(levels, m), np.repeat(levels, m)], axis=1)
    if bits <= 4:
        wider = np.setdiff1d(wide_table(bits, False), levels)
        first[wider] = m * m + np.arange(len(wider))
        second[wider] = m * m + len(wider) + np.arange(len(wider))
        zero = np.zeros_like(wider)
        pairs = np.concatenate([pairs, np.stack([wider, zero], axis=1), np.stack([zero, wider], axis=1)])
    return single, first, second, pairs


@dataclass(frozen=True)
class Windows(Coding):
    coding: ClassVar[str] = "windows"
    window: tuple[int, int] = (4, 5)
    pairs: bool = False

    @property
    def levels(self) -> Bytes:
        levels: Bytes = np.unique(window_table(*self.window, False))
        return levels

    @property
    def radix(self) -> Radix:
        return radix_block(len(digits_of(*self.window)[3]) if self.pairs else len(self.levels))

    @property
    def digits(self) -> int:
        """Of a row."""
        return (self.d + 1) // 2 if self.pairs else self.d

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {"codes": ("uint8", (self.rows, self.radix.row_bytes(self.digits))), "scales": ("float32", (1, 1))}

    def fields(self) -> dict[str, Any]:
        return {"window": list(self.window)} | ({"pairs": True} if self.pairs else {})

    @classmethod
    def from_fields(cls, head: tuple[str, Fraction, tuple[int, ...], str], fields: Reader) -> Windows:
        window, pairs = fields.take("window"), fields.rest.pop("pairs", False)
        if not isinstance(window, list) or len(window) != 2 or any(type(n) is not int for n in window):
            raise EncodedError(f"{fields.where}.window is {window!r}; it must be two integers")
        try:
            places(*window)
        except ValueError as error:
            raise EncodedError(f"{fields.where}.window: {error}") from None
        if not isinstance(pairs, bool) or (pairs and window[0] > 4) or window == [1, 1]:
            raise EncodedError(f"{fields.where}.pairs is {pairs!r}; it may be true for windows of up to 4 bits")
        return cls(*head, (window[0], window[1]), pairs)

    def decoder(self, planes: Mapping[str, Array]) -> Rows:
        scale, codes, table = planes["scales"][0, 0], planes["codes"], digits_of(*self.window)[3].astype(np.float32)
        top = LARGEST["float32"] if abs(float(scale)) * 255 > 0.999 * LARGEST["float32"] else None

        def rows(begin: int, end: int) -> Array:
            digits = unpack_radix(codes[begin:end], self.radix, self.digits)
            if not self.pairs:
                y: Array = dequantize(digits, self.levels.astype(np.float32), scale=scale)
            else:
                y = table[digits].reshape(end - begin, -1)[:, : self.d] * scale
            return y if top is None else np.clip(y, -top, top)

        return rows

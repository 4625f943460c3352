"""Random numbers that are a function of seed, stream and position, with no generator behind them.

All bits are those of Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC'11) with the 64-bit seed for a key and the
counter (64-bit block, 64-bit stream). Two streams, or two stretches of one, can be made in any order, anywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from evenbits import _core
from evenbits._arrays import integer, seed_of


def first_of(first: Any, count: int) -> int:
    """The position of the first of ``count`` elements; a stream has 2^64."""
    return integer(first, "first", 0, 2**64 - max(count, 1))


def _words(seed: Any, stream: Any, count: int, first: int = 0) -> NDArray[np.uint32]:
    words = np.empty(count, np.uint32)
    _core.random_words(seed_of(seed), seed_of(stream, "stream"), first, words)
    return words


SHORT = 1 << 16
"""Numbers of which up to so many, drawn from a stream, are worth keeping for the next call: 4 MB of signs at most."""


def random_bits(
    seed: int, stream: int, count: int, *, bits: int = 16, first: int = 0
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Elements first, first + 1, ... of a stream of random integers of 16 or 32 bits.

    With ``bits=32``, element i is word i mod 4 of the Philox block i // 4. With ``bits=16``, it is half-word i mod 8 of
    block i // 8, where a word's low half comes before its high half: the bits that the rounding functions use.

    Returns a uint16 or uint32 array of ``count`` elements. Raises ValueError unless ``bits`` is 16 or 32, ``seed`` and
    ``stream`` are from 0 to 2^64 - 1, and first + count <= 2^64.
    """
    count = integer(count, "count", 0, 2**48)
    first = first_of(first, count)
    if bits == 32:
        return _words(seed, stream, count, first)
    if bits != 16:
        raise ValueError(f"bits is {bits!r}; it must be 16 or 32")
    skip = first % 2
    return _words(seed, stream, (skip + count + 1) // 2, first // 2).view(np.uint16)[skip : skip + count]


def random_signs(
    seed: int, stream: int, count: int, *, first: int = 0, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Random signs: element i is -1 where the highest bit of element i of ``random_bits`` is set, and +1 elsewhere.

    Returns an array of ``count`` elements of ``dtype``. Raises TypeError if ``dtype`` has no -1, and ValueError as
    ``random_bits`` does.
    """
    kind = np.dtype(dtype)
    if kind.kind not in "ifc" and kind.name != "bfloat16":
        raise TypeError(f"dtype is {kind}, which has no -1; take a signed or a floating type")
    bits = random_bits(seed, stream, count, first=first)
    plus, minus = np.array([1, -1]).astype(kind)
    signs: NDArray[Any] = np.where(bits.view(np.int16) < 0, minus, plus).astype(kind, copy=False)  # which may be swapped
    return signs


@lru_cache(maxsize=16)
def _kept(seed: int, stream: int, count: int) -> NDArray[np.float32]:
    signs = random_signs(seed, stream, count)
    signs.flags.writeable = False
    return signs


def recent_signs(seed: int, stream: int, count: int) -> NDArray[np.float32]:
    """``random_signs`` to read only: for single short vectors they cost more to draw than all the rest, so some are kept."""
    return (_kept if count <= SHORT else random_signs)(seed, stream, count)


def uniform(seed: int, stream: int, count: int, *, first: int = 0) -> NDArray[np.float32]:
    """Random numbers of [0, 1): the upper 24 bits of element i of ``random_bits(bits=32)``, times 2^-24.

    Returns a float32 array of ``count`` elements. Raises ValueError as ``random_bits`` does.
    """
    words = random_bits(seed, stream, count, bits=32, first=first)
    return (words >> 8).astype(np.float32) * np.float32(2**-24)


def random_subset(seed: int, stream: int, n: int, count: int) -> NDArray[np.uint32]:
    """A random subset of 0, ..., n - 1, all of its size being equally likely.

    It holds the indices of the ``count`` smallest of the first n words of the stream (``random_bits(bits=32)``); of
    equal words the one with the lower index goes first.

    Returns a uint32 array of ``count`` indices in ascending order. Raises ValueError unless 0 <= count <= n <= 2^32.
    """
    n = integer(n, "n", 0, 2**32)
    count = integer(count, "count", 0, n)
    words = _words(seed, stream, n)
    if count == 0:
        return np.empty(0, np.uint32)
    largest = np.partition(words, count - 1)[count - 1]
    chosen = words < largest
    chosen[np.flatnonzero(words == largest)[: count - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen).astype(np.uint32)

"""Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The blocks of the counters in the rows of a (count, 4) array."""
    a, b, c, d = counter.T.astype(np.uint64)
    k0, k1 = key.astype(np.uint64)
    for _ in range(10):
        x, y = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b, c, d = y >> SHIFT ^ b ^ k0, y & LOW, x >> SHIFT ^ d ^ k1, x & LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & LOW, (k1 + np.uint64(0xBB67AE85)) & LOW
    return np.stack([a, b, c, d], axis=-1).astype(np.uint32)


def random_words(seed: int, stream: int, count: int, *, first: int = 0) -> NDArray[np.uint32]:
    """Word first, first + 1, ... of a stream: word i is word i mod 4 of block i // 4."""
    blocks = np.arange(-(-(first % 4 + count) // 4), dtype=np.uint64) + np.uint64(first // 4)
    counter = np.empty((blocks.size, 4), np.uint32)
    counter[:, 0], counter[:, 1] = blocks & LOW, blocks >> SHIFT
    counter[:, 2], counter[:, 3] = stream & 0xFFFFFFFF, stream >> 32
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)
    return philox(counter, key).reshape(-1)[first % 4 : first % 4 + count]


def half_words(seed: int, stream: int, count: int, *, first: int = 0) -> NDArray[np.uint16]:
    """Half-word first, first + 1, ... of a stream: the low bits of a word come before its high bits."""
    words = random_words(seed, stream, -(-(first % 2 + count) // 2), first=first // 2)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1).astype(np.uint16)
    return halves.reshape(-1)[first % 2 : first % 2 + count]


def random_subset(seed: int, stream: int, n: int, count: int) -> NDArray[np.uint32]:
    """The indices of the ``count`` smallest of n words, ties by index, ascending."""
    order = np.argsort(random_words(seed, stream, n), kind="stable")
    return np.sort(order[:count]).astype(np.uint32)

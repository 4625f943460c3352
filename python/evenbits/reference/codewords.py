"""Rows and codewords, plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def nearest_codeword(x: Array, columns: Array, half: Array) -> Array:
    """The first k of the least half[k] - sum_j x_j columns[j, k], float32 in the order of j."""
    score = np.repeat(half[None], len(x), axis=0)
    for j, row in enumerate(columns):
        score = score - x[:, j : j + 1] * row
    nearest: Array = np.argmin(score, axis=1).astype(np.uint8)
    return nearest


def sum_codewords(codes: Array, books: list[Array], n: int) -> Array:
    """Row i is the sum over layers of books[layer][codes[layer, i]], each 0 beyond its width."""
    y = np.zeros((codes.shape[1], n), np.float32)
    for chosen, book in zip(codes, books, strict=True):
        width = min(n, book.shape[1])
        y[:, :width] += book[chosen, :width]
    return y


def group_sums(x: Array, group: Array, count: int) -> Array:
    sums = np.zeros((count, x.shape[1]))
    for row, g in zip(x, group, strict=True):
        sums[g] += row
    return sums


def indexed_product(x: Array, index: Array, matrices: Array) -> Array:
    y = np.zeros((len(x), matrices.shape[2]))
    for j in range(x.shape[1]):
        y += x[:, j : j + 1] * matrices[index, j]
    return y


def windows(x: Array, narrow: Array, wide: Array | None) -> Array:
    if wide is None:
        return narrow[x]
    pairs = x.reshape(-1, 2)
    return np.where(pairs[:, ::-1] == 0, wide[pairs], narrow[pairs]).reshape(x.shape)

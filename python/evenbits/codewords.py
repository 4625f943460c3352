"""Rows beside codewords: the nearest one, sums of those chosen, and sums over groups of rows. The same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evenbits import _core
from evenbits._arrays import Array

COLUMNS = 16
"""Codewords go to the kernel in multiples of this, as its columns."""


class Codewords:
    """Up to 256 codewords, (count, n) of float32, among which rows find the nearest."""

    def __init__(self, words: Array) -> None:
        self.words = np.ascontiguousarray(words, np.float32)
        count, n = self.words.shape
        padded = -(-count // COLUMNS) * COLUMNS
        self.columns = np.zeros((n, padded), np.float32)
        self.columns[:, :count] = self.words.T
        self.half = np.full(padded, np.inf, np.float32)
        self.half[:count] = half_squares(self.words)

    def nearest(self, rows: Array, *, workers: int = 1) -> NDArray[np.uint8]:
        """The codeword nearest to each row, of equals the first: rows (count, n) of float32."""
        return self._search(np.ascontiguousarray(rows, np.float32), False, workers)

    def take(self, rows: Array, *, workers: int = 1) -> NDArray[np.uint8]:
        """The same for the first n numbers of each row, from which the codeword is taken: rows becomes what is left."""
        return self._search(rows, True, workers)

    def _search(self, rows: Array, subtract: bool, workers: int) -> NDArray[np.uint8]:
        codes = np.zeros(len(rows), np.uint8)
        if rows.size:
            _core.nearest_codeword(rows, rows.shape[1], self.columns, self.half, subtract, codes, workers)
        return codes


def half_squares(words: Array) -> Array:
    """Half the squared length of each row, the squares added in double precision from the first to the last."""
    squares = np.square(words.astype(np.float64))
    total = np.add.accumulate(squares, axis=1)[:, -1] if squares.shape[1] else np.zeros(len(words))
    return (total / 2).astype(np.float32)


def group_sums(x: Array, group: Array, count: int) -> NDArray[np.float64]:
    """(count, n): the sums of the rows of x (rows, n) that each group has, in their order."""
    sums = np.zeros((count, x.shape[1]))
    if x.size:
        _core.group_sums(np.ascontiguousarray(x, np.float64), x.shape[1], np.ascontiguousarray(group, np.uint32), sums)
    return sums


def products(x: Array, matrix: Array, index: Array | None = None, *, workers: int = 1) -> NDArray[np.float64]:
    """x @ matrix, or row i of x times matrix[index[i]]: sums in the order of a row's elements, which those of BLAS are not."""
    y = np.zeros((len(x), matrix.shape[-1]))
    if y.size and x.shape[1]:
        which = None if index is None else np.ascontiguousarray(index, np.uint32)
        a, b = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(matrix, np.float64)
        _core.indexed_product(a, x.shape[1], which, b, matrix.shape[-1], y, workers)
    return y

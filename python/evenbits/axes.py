"""Rows that hold arrays, in the order of memory, and what works along each axis of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from evenbits import _core
from evenbits._arrays import Array
from evenbits.matrices import base_matrix, base_order
from evenbits.random import random_signs

APART = 48
"""What belongs to axis k begins at element k * 2^APART of a stream."""


def along(x: Array, axis: int, transform: Callable[[Array], Array]) -> Array:
    """A function of rows, applied along an axis of an array."""
    rows = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    made = transform(rows.reshape(-1, rows.shape[-1]))
    return np.ascontiguousarray(np.moveaxis(made.reshape(*rows.shape[:-1], made.shape[-1]), -1, axis))


def rotate(x: Array, shape: tuple[int, ...], lengths: tuple[int, ...], seed: int, stream: int) -> Array:
    """Rows of arrays of that shape, float32, as rows of those lengths: a random rotation along each axis, after zeros."""
    return _rotated(x, shape, lengths, seed, stream, inverse=False)


def rotate_back(y: Array, shape: tuple[int, ...], lengths: tuple[int, ...], seed: int, stream: int) -> Array:
    """The inverse of ``rotate``."""
    return _rotated(y, shape, lengths, seed, stream, inverse=True)


def _rotated(x: Array, shape: tuple[int, ...], lengths: tuple[int, ...], seed: int, stream: int, inverse: bool) -> Array:
    y = x.reshape(len(x), *(lengths if inverse else shape))
    for k, (d, n) in enumerate(zip(shape, lengths, strict=True)):
        signs = random_signs(seed, stream, n, first=k << APART) * np.float32(1 / math.sqrt(n))

        def turned(rows: Array, d: int = d, n: int = n, signs: Array = signs) -> Array:
            wide = np.zeros((len(rows), n), np.float32)
            wide[:, : rows.shape[1]] = rows
            _core.rotate(wide, wide, base_matrix(base_order(n) or 1), signs, inverse, 1)
            return wide[:, :d] if inverse else wide

        y = along(y, k + 1, turned)
    return y.reshape(len(x), -1)

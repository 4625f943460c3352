"""The transforms as matrices in doubles, entry by entry; the numbers they are made of are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def cosine_involution(signs: Array) -> Array:
    """C^T diag(signs) C, C the orthonormal DCT-II."""
    n = signs.size
    k, i = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    c = np.cos(np.pi * k * (2 * i + 1) / (2 * n)) * np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n))
    result: Array = c.T @ np.diag(signs) @ c
    return result


def reflection(vector: Array) -> Array:
    """I - 2 w w^T / |w|^2."""
    w = np.asarray(vector, np.float64)
    result: Array = np.eye(w.size) - 2 * np.outer(w, w) / (w @ w)
    return result


def dense(vectors: list[Array], signs: Array) -> Array:
    """diag(signs) R_{n-1} ... R_0: R_k the reflection that takes ``vectors[k]``, of the coordinates from k on, to an axis."""
    n, q = signs.size, np.diag(np.asarray(signs, np.float64))
    for k in range(n - 1, -1, -1):
        w = np.zeros(n)
        w[k:] = vectors[k]
        w[k] += np.copysign(np.linalg.norm(vectors[k]), vectors[k][0])
        q = q @ reflection(w)
    return q


def butterfly(orders: list[Array], pairs: list[list[Array]]) -> Array:
    """For each order: rows in that order, then rotations of (i, i + h), h = 1, 2, 4, ..., along the vectors of ``pairs``."""
    n = orders[0].size
    q = np.eye(n)
    for order, layers in zip(orders, pairs, strict=True):
        q = q[order]
        h = 1
        for vectors in layers:
            rotation = np.eye(n)
            first = [i for i in range(n - h) if i // h % 2 == 0]
            for i, (a, b) in zip(first, vectors.T, strict=True):
                c, s = (a, b) / np.hypot(a, b)
                rotation[i, i], rotation[i, i + h], rotation[i + h, i], rotation[i + h, i + h] = c, s, -s, c
            q = rotation @ q
            h *= 2
    return q

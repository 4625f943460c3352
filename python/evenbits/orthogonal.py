"""Orthogonal transforms P for the second basis of x = u + P v.

``transform_of(kind, axes, seed, stream)`` makes them, ``KINDS`` are their names. All but "dct" are additions, multiplications,
divisions and square roots in a fixed order, with numbers of Philox, so that they give the same bytes on every machine.
Sources: Merkulov et al., arXiv 2404.09737 (butterfly, Householder, dense; Kronecker products); Cherniuk et al., arXiv 2609.11687
(the involution of the cosine transform); Stewart, SIAM J. Numer. Anal. 17 (1980) (dense).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from evenbits._arrays import Array
from evenbits._groups import dot
from evenbits.axes import APART, along
from evenbits.cosine_frames import cosine_transform
from evenbits.decomposition import SECOND, Involution, Transform
from evenbits.matrices import base_order
from evenbits.random import random_bits, random_signs

BUTTERFLIES = 3
Layer = tuple[Array, Array, Array]
"""Of every coordinate the other one of its pair, or itself, and the cosine and sine that they go into the rotation with."""
MOST_DENSE = 1 << 12
"""Order of the largest dense matrix: one takes n^2 numbers to hold and n^3 operations to make."""


class Cosines(Transform):
    """P = C^T diag(signs) C with the cosine transform C (DCT-II): symmetric, P P = I. By scipy: not the same bytes everywhere."""

    def __call__(self, x: Array) -> Array:
        y = cosine_transform(x)
        y *= random_signs(self.seed, self.stream + SECOND, self.n, first=self.first)
        return cosine_transform(y, inverse=True)


class Butterfly(Transform):
    """Three times: a random permutation, then random rotations of the pairs (i, i + h), h = 1, 2, 4, ... below n."""

    @property
    def _layers(self) -> list[tuple[Array, list[Layer]]]:
        return _butterfly(self.n, self.seed, self.stream, self.first)

    def __call__(self, x: Array) -> Array:
        y = x
        for order, layers in self._layers:
            y = np.take(y, order, axis=1)
            for other, c, s in layers:
                y = y * c + np.take(y, other, axis=1) * s
        return y

    def adjoint(self, x: Array) -> Array:
        y = x
        for order, layers in reversed(self._layers):
            for other, c, s in reversed(layers):
                y = y * c - np.take(y, other, axis=1) * s
            y = np.take(y, np.argsort(order, kind="stable"), axis=1)
        return y


class Householder(Transform):
    """P = I - 2 w w^T with a random unit vector w: symmetric, P P = I, and hardly a change of basis (the papers' bad example)."""

    @cached_property
    def _vector(self) -> Array:
        w = nearly_gaussian(self.seed, self.stream + SECOND, self.n, self.first)[None]
        w *= np.float32(1 / np.sqrt(dot(w, w)[0]))
        return w

    def __call__(self, x: Array) -> Array:
        w = np.ascontiguousarray(np.broadcast_to(self._vector, x.shape))
        y: Array = x - (2 * dot(x, w)).astype(np.float32)[:, None] * w
        return y


class Dense(Transform):
    """A random orthogonal matrix without structure: the product of n - 1 reflections of random vectors, and random signs."""

    @property
    def matrices(self) -> tuple[Array, Array]:
        """P and P^T."""
        return _dense(self.n, self.seed, self.stream, self.first)

    def __call__(self, x: Array) -> Array:
        return _times(self.matrices[1], x)

    def adjoint(self, x: Array) -> Array:
        return _times(self.matrices[0], x)


@dataclass(frozen=True)
class Product(Transform):
    """P = P_1 (x) P_2 (x) ...: one transform along each axis of rows that hold arrays. Of matrices, P V = P_1 V P_2^T."""

    factors: tuple[Transform, ...] = ()

    def __call__(self, x: Array) -> Array:
        return self._along(x, inverse=False)

    def adjoint(self, x: Array) -> Array:
        return self._along(x, inverse=True)

    def _along(self, x: Array, inverse: bool) -> Array:
        y = x.reshape(len(x), *(f.n for f in self.factors))
        for axis, factor in enumerate(self.factors, 1):
            y = along(y, axis, factor.adjoint if inverse else factor)
        return y.reshape(x.shape)


class _Flat(Involution):
    """A product of involutions whose Hadamard matrices make one: H_1 (x) H_2 is that of all coordinates, n_2 a power of 2."""

    factors: tuple[Involution, ...]

    def __init__(self, factors: tuple[Involution, ...]) -> None:
        super().__init__(math.prod(f.n for f in factors), factors[0].seed, factors[0].stream)
        object.__setattr__(self, "factors", factors)

    @cached_property
    def signs(self) -> Array:
        signs = self.factors[0].signs
        for factor in self.factors[1:]:
            signs = np.multiply.outer(signs, factor.signs).reshape(-1)
        return signs


KINDS: dict[str, type[Transform]] = {
    "involution": Involution,
    "dct": Cosines,
    "butterfly": Butterfly,
    "householder": Householder,
    "dense": Dense,
}
PORTABLE = tuple(kind for kind in KINDS if kind != "dct")
"""The transforms that give the same bytes on every machine."""


def transform_of(kind: str, axes: tuple[int, ...], seed: int, stream: int = 0) -> Transform:
    """The transform of rows that hold arrays of shape ``axes``, or vectors if there is one."""
    factors = tuple(KINDS[kind](n, seed, stream, k << APART) for k, n in enumerate(axes))
    if len(factors) == 1:
        return factors[0]
    if kind == "involution" and all(n & (n - 1) == 0 for n in axes[1:]):
        return _Flat(factors)  # type: ignore[arg-type]
    return Product(math.prod(axes), seed, stream, 0, factors)


def no_transform(kind: str, n: int) -> str | None:
    """Why there is no transform of that kind and length, or None."""
    if kind == "involution" and base_order(n) is None:
        return f"no Hadamard matrix of order {n} is known"
    if kind == "dense" and n > MOST_DENSE:
        return f"a dense matrix of order {n} is too large; the most is {MOST_DENSE}"
    return None


def nearly_gaussian(seed: int, stream: int, count: int, first: int = 0) -> Array:
    """Float32 numbers of mean 0: sums of four 16-bit ones, so their directions are all but even; exact on every machine."""
    bits = random_bits(seed, stream, 4 * count, first=4 * first).reshape(count, 4)
    centre = np.float32(2 * 65535)
    numbers: Array = bits.sum(axis=1, dtype=np.int64).astype(np.float32) - centre
    return numbers


@lru_cache(maxsize=8)
def _butterfly(n: int, seed: int, stream: int, first: int) -> list[tuple[Array, list[Layer]]]:
    made, place = [], first
    for _ in range(BUTTERFLIES):
        order = np.argsort(random_bits(seed, stream + SECOND, n, bits=32, first=place), kind="stable")
        layers: list[Layer] = []
        place += n
        for h in (1 << k for k in range((n - 1).bit_length())):
            i = np.arange(n - h)
            i = i[i // h % 2 == 0]
            a, b = nearly_gaussian(seed, stream + SECOND, 2 * i.size, place).reshape(2, -1).astype(np.float64)
            size = np.sqrt(a * a + b * b)
            zero = size == 0
            c, s = ((np.where(zero, other, f) / np.where(zero, 1, size)).astype(np.float32) for f, other in ((a, 1), (b, 0)))
            place += 2 * i.size
            other, cosine, sine = np.arange(n), np.ones(n, np.float32), np.zeros(n, np.float32)
            other[i], other[i + h] = i + h, i
            cosine[i], cosine[i + h], sine[i], sine[i + h] = c, c, s, -s
            layers.append((other, cosine, sine))
        made.append((order, layers))
    return made


@lru_cache(maxsize=4)
def _dense(n: int, seed: int, stream: int, first: int) -> tuple[Array, Array]:
    """The matrix and its transpose. Reflection k is one of the coordinates from k on, so rows before it stay as they are."""
    w = np.zeros((n, n), np.float32)
    for k in range(n):
        g = nearly_gaussian(seed, stream + SECOND, n - k, first + k * n)
        norm = np.float32(np.sqrt(dot(g[None], g[None])[0]))
        g[0] += norm if g[0] >= 0 else -norm
        norm = dot(g[None], g[None])[0]
        w[k, k:] = g * np.float32(np.sqrt(2 / norm)) if norm > 0 else 0
    q = np.eye(n, dtype=np.float32) * random_signs(seed, stream + SECOND, n, first=first + n * n)[:, None]
    for begin in range(0, n, 16):
        rows = q[begin : begin + 16]
        for k in range(min(begin + 16, n) - 1, -1, -1):
            rows -= dot(rows, np.broadcast_to(w[k], rows.shape)).astype(np.float32)[:, None] * w[k]
    return q, np.ascontiguousarray(q.T)


def _times(matrix: Array, x: Array) -> Array:
    """x M of float32 rows x, one row of M after the other."""
    y, term = np.zeros((2, len(x), matrix.shape[1]), np.float32)
    for k, row in enumerate(matrix):
        np.multiply(x[:, k : k + 1], row, out=term)
        y += term
    return y

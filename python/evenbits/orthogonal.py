"""Orthogonal transforms P for the second basis of x = u + P v, and the decomposition into both.

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

from evenbits import _core
from evenbits._arrays import Array
from evenbits.axes import APART, along
from evenbits.cosine_frames import cosine_transform
from evenbits.matrices import base_matrix, base_order
from evenbits.random import random_bits, random_signs, recent_signs

SECOND = 1 << 63
"""Added to a stream's number to draw what P is made of; frames, which draw their support there, have none."""
PAIR_MOMENTUM = 0.9
BUTTERFLIES = 3
Layer = tuple[Array, Array, Array, Array]
"""The coordinates i and j of its rotations, their cosines and sines."""
MOST_DENSE = 1 << 13
"""Order of the largest dense matrix: one takes n^2 numbers to hold and n^3 operations to make."""


@dataclass(frozen=True)
class Transform:
    """An orthogonal transform P of rows of n numbers, made of elements first, first + 1, ... of a stream."""

    n: int
    seed: int
    stream: int
    first: int = 0

    def __call__(self, x: Array) -> Array:
        """P x of float32 rows."""
        raise NotImplementedError

    def adjoint(self, x: Array) -> Array:
        """P^T x, which is P x unless a transform says otherwise."""
        return self(x)

    def split(self, x: Array, schedule: str, iterations: int, tolerance: float) -> tuple[Array, Array, Array]:
        """(u, v, residuals): float32 rows x = s (u + P v) with s the root mean square of a row, and |x - x'| / |x|.

        Steps u += c sign(r), c = |r|_1 / n, and v += c sign(P^T r), c = |P^T r|_1 / n, r being what is left of x / s: of the
        two the one with the greater c ("greedy"), or u, u, v, v ("alternating"), until |r| <= tolerance |x / s|.
        """
        r, residuals = _in_units(x), np.zeros(len(x))
        u, v = np.zeros_like(r), np.zeros_like(r)
        active = np.arange(len(x))
        for k in range(iterations + 1):
            residuals[active] = np.sqrt(_dot(r, r) / self.n)
            going = residuals[active] > tolerance
            active, r = active[going], r[going]
            if k == iterations or not active.size:
                break
            y = self.adjoint(r) if schedule == "greedy" or k % 4 > 1 else r
            of_r, of_y = (_dot(np.abs(f), np.ones_like(f)) for f in (r, y))
            first = of_r > of_y if schedule == "greedy" else np.full(len(r), k % 4 < 2)
            step = np.where(first[:, None], np.sign(r), np.sign(y))
            step *= (np.where(first, of_r, of_y) / self.n).astype(np.float32)[:, None]
            u[active[first]] += step[first]
            v[active[~first]] += step[~first]
            r[first] -= step[first]
            if not first.all():
                r[~first] -= self(np.ascontiguousarray(step[~first]))
        return u, v, residuals

    def joint_codes(
        self, x: Array, split: int, levels: tuple[int, int, int, int], peaks: tuple[float, float, float, float], iterations: int
    ) -> Array:
        """Codes i + levels_u j of float32 rows, chosen together so that s (u_i + P v_j) is near the row.

        Levels are evenly spaced up to the peaks, in units of s, for u and v of coordinates below ``split``, then of the others.
        The way of ``sign_frame``: projected gradient steps with momentum, away from the thresholds with a force that grows.
        """
        f32, momentum, concavity = np.float32, np.float32(PAIR_MOMENTUM), _concavity(levels)
        below = np.arange(self.n) < split
        count, peak = ([np.where(below, f32(a[k]), f32(a[k + 2])).astype(f32) for k in (0, 1)] for a in (levels, peaks))
        last = [c - f32(1) for c in count]
        step = [np.where(m > 0, f32(2) * p / np.maximum(m, f32(1)), f32(0)) for m, p in zip(last, peak, strict=True)]
        inverse = [np.divide(f32(1), s, out=np.zeros_like(s), where=s > 0) for s in step]
        target = _in_units(x)
        c = before = [np.zeros_like(target)] * 2
        for k in range(iterations):
            growth = f32(concavity * k / iterations)
            w, before = [a + (a - b) * momentum for a, b in zip(c, before, strict=True)], c
            r = target - w[0] - self(w[1])
            c = []
            for i, gradient in enumerate((r, self.adjoint(r))):
                place = np.clip((w[i] + peak[i]) * inverse[i], f32(0), last[i])
                cell = np.minimum(place.astype(np.int32).astype(f32), last[i] - f32(1))
                threshold = (cell + f32(0.5)) * step[i] - peak[i]
                c.append(np.clip((w[i] + (w[i] - threshold) * growth) + gradient * f32(0.5), -peak[i], peak[i]))
        index = [((a + p) * s + f32(0.5)).astype(np.int32) for a, p, s in zip(c, peak, inverse, strict=True)]
        codes: Array = (index[0] + count[0].astype(np.int32) * index[1]).astype(np.uint8)
        return codes


class Involution(Transform):
    """P = H diag(signs) H / n, H a Hadamard matrix: symmetric, P P = I, made of additions; its signs are random."""

    @property
    def signs(self) -> Array:
        if self.first:
            return random_signs(self.seed, self.stream + SECOND, self.n, first=self.first)
        return recent_signs(self.seed, self.stream + SECOND, self.n)

    @property
    def base(self) -> Array:
        return base_matrix(base_order(self.n) or 1)

    def __call__(self, x: Array) -> Array:
        y = np.empty_like(x)
        if x.size:
            _core.hadamard(x, y, self.base, None, self.signs, 1 / math.sqrt(self.n), 1)
            _core.hadamard(y, y, self.base, None, None, 1 / math.sqrt(self.n), 1)
        return y

    def split(self, x: Array, schedule: str, iterations: int, tolerance: float) -> tuple[Array, Array, Array]:
        u, v, residuals = np.empty_like(x), np.empty_like(x), np.empty(len(x))
        _core.kashin_split(x, u, v, self.base, self.signs, schedule == "greedy", iterations, tolerance, residuals, 1)
        return u, v, residuals

    def joint_codes(
        self, x: Array, split: int, levels: tuple[int, int, int, int], peaks: tuple[float, float, float, float], iterations: int
    ) -> Array:
        codes = np.empty(x.shape, np.uint8)
        path = iterations, PAIR_MOMENTUM, _concavity(levels)
        _core.kashin_joint(x, codes, self.base, self.signs, split, levels, peaks, *path, 1)
        return codes


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
            y = y[..., order]
            for i, j, c, s in layers:
                a, b = y[..., i], y[..., j]
                y[..., i], y[..., j] = a * c + b * s, b * c - a * s
        return np.ascontiguousarray(y)

    def adjoint(self, x: Array) -> Array:
        y = x.copy()
        for order, layers in reversed(self._layers):
            for i, j, c, s in reversed(layers):
                a, b = y[..., i], y[..., j]
                y[..., i], y[..., j] = a * c - b * s, b * c + a * s
            back = np.empty_like(y)
            back[..., order] = y
            y = back
        return y


class Householder(Transform):
    """P = I - 2 w w^T with a random unit vector w: symmetric, P P = I, and hardly a change of basis (the papers' bad example)."""

    @cached_property
    def _vector(self) -> Array:
        w = nearly_gaussian(self.seed, self.stream + SECOND, self.n, self.first)[None]
        w *= np.float32(1 / np.sqrt(_dot(w, w)[0]))
        return w

    def __call__(self, x: Array) -> Array:
        w = np.ascontiguousarray(np.broadcast_to(self._vector, x.shape))
        y: Array = x - (2 * _dot(x, w)).astype(np.float32)[:, None] * w
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
            layers.append((i, i + h, c, s))
        made.append((order, layers))
    return made


@lru_cache(maxsize=4)
def _dense(n: int, seed: int, stream: int, first: int) -> tuple[Array, Array]:
    """The matrix and its transpose. Reflection k is one of the coordinates from k on, so rows before it stay as they are."""
    w = np.zeros((n, n), np.float32)
    for k in range(n):
        g = nearly_gaussian(seed, stream + SECOND, n - k, first + k * n)
        norm = np.float32(np.sqrt(_dot(g[None], g[None])[0]))
        g[0] += norm if g[0] >= 0 else -norm
        norm = _dot(g[None], g[None])[0]
        w[k, k:] = g * np.float32(np.sqrt(2 / norm)) if norm > 0 else 0
    q = np.eye(n, dtype=np.float32) * random_signs(seed, stream + SECOND, n, first=first + n * n)[:, None]
    for begin in range(0, n, 16):
        rows = q[begin : begin + 16]
        for k in range(min(begin + 16, n) - 1, -1, -1):
            rows -= _dot(rows, np.broadcast_to(w[k], rows.shape)).astype(np.float32)[:, None] * w[k]
    return q, np.ascontiguousarray(q.T)


def _times(matrix: Array, x: Array) -> Array:
    """x M of float32 rows x, one row of M after the other."""
    y, term = np.zeros((2, len(x), matrix.shape[1]), np.float32)
    for k, row in enumerate(matrix):
        np.multiply(x[:, k : k + 1], row, out=term)
        y += term
    return y


def _dot(x: Array, y: Array) -> Array:
    out = np.empty((len(x), 1))
    _core.dot(np.ascontiguousarray(x), np.ascontiguousarray(y), x.shape[1], x.shape[1], out, 1)
    return out[:, 0]


def _in_units(x: Array) -> Array:
    """Rows in units of their root mean squares."""
    size = np.sqrt(_dot(x, x) / x.shape[1]).astype(np.float32)
    units: Array = x * np.divide(np.float32(1), size, out=np.zeros_like(size), where=size > 0)[:, None]
    return units


def _concavity(levels: tuple[int, int, int, int]) -> float:
    return 0.4 if max(levels) == 2 else 0.2

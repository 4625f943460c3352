"""Codebooks, plainly. Matrices have a row of parameters for each row: one for every `group` elements."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _spread(parameter: Array, group: int, n: int) -> Array:
    spread: Array = np.repeat(parameter, group, axis=-1)[..., :n]
    return spread


def nearest_level(x: Array, thresholds: Array, scale: Array, group: int) -> Array:
    """The number of thresholds that are at most x * scale."""
    y = x * _spread(scale, group, x.shape[-1])
    counts: Array = np.sum(thresholds <= y[..., None], axis=-1)
    return counts.astype(np.uint8)


def dequantize(codes: Array, table: Array, scale: Array, zero: Array | None, group: int) -> Array:
    """(table[code] - zero) * scale."""
    n = codes.shape[-1]
    y: Array = table[codes] if zero is None else table[codes] - _spread(zero, group, n)
    return y * _spread(scale, group, n)


def lloyd_max(levels: int, law: str) -> Array:
    """Newton's method on c = g(c), the means g of the law between the midpoints of c; in float64."""
    odd, k = levels % 2, levels // 2
    density, mass, moment = LAWS[law]
    # the positive levels, from equal steps of a law with tails thrice as long
    c = np.array([START[law]((levels // 2 + odd + i + 0.5) / levels) for i in range(k)])
    step = c
    while np.any(np.abs(step) > 1e-11):  # the step after it is at the level of rounding errors
        t = [c[0] / 2 if odd else 0.0, *((c[1:] + c[:-1]) / 2)]
        f = np.array([density(s) for s in t] + [0.0])
        p = -np.diff([mass(s) for s in t] + [0.0])
        g = -np.diff([moment(s) for s in t] + [0.0]) / p
        below = f[:-1] * (g - t) / (2 * p)  # how g_i moves with c_(i-1), and with c_(i+1)
        above = f[1:] * ([*t[1:], 0.0] - g) / (2 * p)
        below[0] *= odd  # an even codebook has its threshold 0 for ever
        motion = np.diag(below + above) + np.diag(below[1:], -1) + np.diag(above[:-1], 1)
        step = np.linalg.solve(np.eye(k) - motion, g - c)
        c = c + step
    return np.concatenate([-c[::-1], np.zeros(odd), c])


Function = Callable[[float], float]
# density, P(x > t), E[x; x > t], for t >= 0
LAWS: dict[str, tuple[Function, Function, Function]] = {
    "gaussian": (
        lambda t: math.exp(-t * t / 2) / math.sqrt(2 * math.pi),
        lambda t: math.erfc(t / math.sqrt(2)) / 2,
        lambda t: math.exp(-t * t / 2) / math.sqrt(2 * math.pi),
    ),
    "laplacian": (
        lambda t: math.exp(-math.sqrt(2) * t) / math.sqrt(2),
        lambda t: math.exp(-math.sqrt(2) * t) / 2,
        lambda t: math.exp(-math.sqrt(2) * t) * (t + math.sqrt(0.5)) / 2,
    ),
}


def _gaussian_quantile(p: float) -> float:
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle / math.sqrt(2)) / 2 > 1 - p else (low, middle)
    return low


START: dict[str, Function] = {
    "gaussian": lambda p: math.sqrt(3) * _gaussian_quantile(p),
    "laplacian": lambda p: -3 / math.sqrt(2) * math.log(2 - 2 * p),
}


def kmeans(x: Array, levels: int, iterations: int = 200) -> Array:
    """Lloyd's algorithm on the sorted numbers from four partitions, the best of which counts."""
    v = sorted(float(a) + 0.0 for a in np.ravel(x))
    distinct = sorted(set(v))
    if len(distinct) <= levels:
        return np.array(distinct)
    exponent = math.frexp(max(-v[0], v[-1]))[1]
    v = [math.ldexp(a, -exponent) for a in v]
    n, sums = len(v), [0.0, *accumulate(v)]
    mean, best, spread = sums[-1] / n, distinct, -1.0
    for values in _starts(v, levels):
        bounds = sorted({0, n, *(bisect_left(v, value) for value in values)})
        for _ in range(iterations):
            bounds = _fill(v, bounds, levels)
            c = [min(max((sums[j] - sums[i]) / (j - i), v[i]), v[j - 1]) for i, j in pairwise(bounds)]
            counts = [j - i for i, j in pairwise(bounds)]
            moved = sorted({0, n, *(bisect_left(v, (a + b) / 2) for a, b in pairwise(c))})
            if moved == bounds:
                break
            bounds = moved
        between = 0.0
        for a, count in zip(c, counts, strict=True):
            between += count * ((a - mean) * (a - mean))
        if between > spread:
            best, spread = c, between
    return np.array([math.ldexp(a, exponent) for a in best])


def _starts(v: list[float], k: int) -> list[list[float]]:
    """Equal counts, equal widths, cubes of equal widths, and levels as dense as the cube root of the density."""
    n, parts = len(v), range(1, k)
    cubes = [(2 * i / k - 1) * (2 * i / k - 1) * (2 * i / k - 1) for i in parts]
    m = min(n, 16384)
    sample = [v[i * (n - 1) // (m - 1)] for i in range(m)]
    weights = [0.0]
    for a, b in pairwise(sample):
        root, power = 1.0, (b - a) * (b - a)
        for _ in range(8):
            power = math.sqrt(math.sqrt(power))
            root *= power
        weights.append(weights[-1] + root)
    return [
        [v[i * n // k] for i in parts],
        [v[0] + (v[-1] - v[0]) * (i / k) for i in parts],
        [cube * max(-v[0], v[-1]) for cube in cubes],
        [sample[bisect_left(weights, weights[-1] * (i / k))] for i in parts],
    ]


def _fill(v: list[float], bounds: list[int], k: int) -> list[int]:
    """Halves intervals until there are k: the one with the greatest width times root of the count."""
    while len(bounds) <= k:
        errors = [(v[j - 1] - v[i]) * math.sqrt(j - i) for i, j in pairwise(bounds)]
        worst = errors.index(max(errors))
        if not errors[worst] > 0:
            break
        i, j = bounds[worst : worst + 2]
        middle = (v[i] + v[j - 1]) / 2
        cut = bisect_left(v, middle) if middle > v[i] else next(a for a in range(i, j) if v[a] > v[i])
        bounds = [*bounds[: worst + 1], cut, *bounds[worst + 1 :]]
    return bounds

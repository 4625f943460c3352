"""Rate and distortion: the least error that any code of so many bits can have, for Gaussians and Laplacians.

Sources: [CT] Cover and Thomas, Elements of Information Theory, chapter 10; [I] Isik, Weissman and No, arXiv 2102.08329.
They are for codes of many values at a time; a code of one value at a time, such as Lloyd and Max's, has 1.4 to 2.7 times the
error for a Gaussian at 1 bit and more, and up to 5.2 times for a Laplacian.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import real

SMALL, MOST = 1e-50, 1e50
"""Between which sizes numbers may lie: products of six of them are finite."""


def bits_of(bits: float) -> float:
    return real(bits, "bits", 0, 1e6)


def positive(value: float, name: str) -> float:
    return real(value, name, SMALL, MOST)


def gaussian_distortion(bits: float, variance: float = 1.0) -> float:
    """variance 4^(-bits): the least mean squared error of any code of a Gaussian. [CT]"""
    return float(positive(variance, "variance") * 4 ** -bits_of(bits))


def gaussian_rate(distortion: float, variance: float = 1.0) -> float:
    """max(0, log2(variance / distortion) / 2): the bits that a mean squared error takes, for a Gaussian. [CT]"""
    return max(0.0, math.log2(positive(variance, "variance") / positive(distortion, "distortion")) / 2)


def reverse_water_filling(variances: ArrayLike, bits: float) -> tuple[float, NDArray[np.float64]]:
    """The level k and the least errors min(variance, k) of independent Gaussians that share ``bits`` bits in all. [CT]

    k is such that sum max(0, log2(variance / k) / 2) = bits: the variances above it are the largest j of them, and
    log2 k = (their sum of logarithms - 2 bits) / j. Returns k and the errors in the order of the variances.
    """
    v = np.asarray(variances, np.float64)
    if v.ndim != 1 or not np.isfinite(v).all() or (v < 0).any():
        raise ValueError("variances must be one row of finite numbers, none below 0")
    budget = bits_of(bits)
    logs = np.log2(np.sort(v[v > 0])[::-1])
    if not logs.size:
        return 0.0, np.zeros_like(v)
    water = (np.cumsum(logs) - 2 * budget) / np.arange(1, logs.size + 1)
    # with j + 1 components in use the level must not exceed the variance of any of them
    j = int(np.flatnonzero(water <= logs)[-1])
    k = float(2 ** water[j])
    return k, np.minimum(v, k)


def laplacian_absolute_distortion(bits: float, scale: float = 1.0) -> float:
    """scale 2^(-bits): the least mean absolute error of any code of a Laplacian, of density exp(-|x|/scale) / (2 scale). [CT]"""
    return float(positive(scale, "scale") * 2 ** -bits_of(bits))


def laplacian_absolute_rate(distortion: float, scale: float = 1.0) -> float:
    """max(0, log2(scale / distortion)): the bits that a mean absolute error takes, for a Laplacian; also for an exponential law
    of that mean whose codes never exceed the value. [CT], [I]"""
    return max(0.0, math.log2(positive(scale, "scale") / positive(distortion, "distortion")))


def laplacian_zero_mass(distortion: float, scale: float = 1.0) -> float:
    """min(1, distortion / scale)^2 = 4^(-bits): how often the best code of a Laplacian is 0, at a mean absolute error. [I]

    The value is what the code says plus a Laplacian of that error, so by characteristic functions the code is 0 with this
    probability and otherwise a Laplacian of the same scale: pruning is what the least error asks for.
    """
    return min(1.0, positive(distortion, "distortion") / positive(scale, "scale")) ** 2


def exponential_zero_mass(distortion: float, mean: float = 1.0) -> float:
    """min(1, distortion / mean) = 2^(-bits): the same for an exponential law and codes that never exceed the value. [I]"""
    return min(1.0, positive(distortion, "distortion") / positive(mean, "mean"))


def refinement_overhead(n: float, candidates: float = 1.0) -> float:
    """1 + 1 / log(n / candidates): bits of announcing one of n weights, for what that gains, over the least bits for it. [I]

    The weight exceeds mean log(n / candidates), as so many of n exponential ones do; to say which takes log(n / candidates) + 1
    nats, and the mean error falls by mean log(n / candidates) / n. It nears 1 for few candidates: the slope at rate 0.
    """
    n, candidates = positive(n, "n"), positive(candidates, "candidates")
    if candidates >= n:
        raise ValueError(f"candidates is {candidates}; it must be below n, which is {n}")
    return 1 + 1 / math.log(n / candidates)


def laplacian_distortion_limit(bits: float, variance: float = 1.0) -> float:
    """variance e/pi 4^(-bits): Shannon's lower bound of a Laplacian's least mean squared error, .4 % away from 1.5 bits on.

    2^(2 h - 2 bits) / (2 pi e), h = log2(2 e scale) its entropy and variance = 2 scale^2. [CT]
    """
    return math.e / math.pi * gaussian_distortion(bits, variance)


@lru_cache(maxsize=256)
def laplacian_distortion(bits: float, variance: float = 1.0) -> float:
    """The least mean squared error of any code of a Laplacian, to about .1 %; it has no closed form.

    By Blahut's and Arimoto's iteration for a discretized law, at the slope that gives ``bits``, found by bisection; from 3 bits
    on by Shannon's lower bound, which is then .01 % away.
    """
    budget, variance = bits_of(bits), positive(variance, "variance")
    if budget == 0:
        return variance
    if budget >= 3:
        return laplacian_distortion_limit(budget, variance)
    low, high = 0.1, 100.0  # of the slopes: the rate grows with them
    for _ in range(14):
        slope = math.sqrt(low * high)
        rate, distortion = _laplacian_point(slope)
        low, high = (slope, high) if rate < budget else (low, slope)
    tangent = variance * (distortion + (rate - budget) * math.log(2) / slope)  # to the rate asked for
    return max(tangent, laplacian_distortion_limit(budget, variance))


def _laplacian_point(slope: float) -> tuple[float, float]:
    """Rate and distortion of the code that minimizes ln 2 * rate + slope * distortion; variance 1."""
    a = math.sqrt(2)
    edges = np.linspace(0, 12, 601)
    tail, first = np.exp(-a * edges), np.exp(-a * edges) * (edges + 1 / a)
    p = -np.diff(tail)
    x, y = np.diff(-first) / p, np.linspace(0, 12, 301)  # magnitudes: means of cells, and where their codes may lie
    p /= p.sum()
    same, other = (np.square(x[:, None] - sign * y) for sign in (1, -1))
    kernel = (np.exp(-slope * same) + np.exp(-slope * other)) / 2
    q = np.exp(-a * y)
    q /= q.sum()
    for _ in range(800):
        q *= kernel.T @ (p / (kernel @ q))
    total = kernel @ q
    moment = (np.exp(-slope * same) * same + np.exp(-slope * other) * other) / 2
    distortion = float(p @ (moment @ q / total))
    return (-slope * distortion - float(p @ np.log(total))) / math.log(2), distortion

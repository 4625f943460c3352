"""What path-following quantization guarantees, as functions.

A layer has n inputs and m rows of data Y with columns Y_t; weights v are rounded to multiples of ``step`` without an end (an
infinite alphabet, or one that is never left), nearest or stochastically; u_t = sum_{s <= t} (v_s - q_s) Y_s. ``largest`` is the
greatest |Y_t|, ``least`` the least. Where the network before the layer is quantized, v are the aligned weights, and what the
alignment leaves comes on top of u_n.

Sources: [ZS] Zhang and Saab, arXiv 2309.10975, for the probabilities; "derived here" marks what is proved in the docstring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import Array, integer, real
from evenbits.rate_distortion import MOST, positive


def path_energies(weights: ArrayLike, quantized: ArrayLike, data: ArrayLike) -> tuple[Array, Array, Array]:
    """|u_t|^2, |P_t u_{t-1}|^2 and e_t^2 |Y_t|^2 for every t: the first is the sum of the others. Derived here.

    P_t projects off Y_t and e_t = v_t + <Y_t, u_{t-1}> / |Y_t|^2 - q_t is what rounding leaves, at most step / 2 for the nearest:
    u_t = P_t u_{t-1} + e_t Y_t, at a right angle. weights and quantized (n,), data (m, n) with no column of zeros.
    """
    v, q, y = (np.asarray(a, np.float64) for a in (weights, quantized, data))
    if y.ndim != 2 or v.shape != y.shape[1:] or q.shape != v.shape:
        raise ValueError(f"weights {v.shape}, quantized {q.shape} and data {y.shape} do not fit; they must be (n,), (n,), (m, n)")
    u = np.zeros(len(y))
    out = np.empty((3, len(v)))
    for t in range(len(v)):
        column, norm = y[:, t], float(y[:, t] @ y[:, t])
        along = float(column @ u) / norm
        projected, left = u - along * column, v[t] + along - q[t]
        u = u + (v[t] - q[t]) * column
        out[:, t] = u @ u, projected @ projected, left * left * norm
    return out[0], out[1], out[2]


def nearest_path_bound(step: float, data: ArrayLike) -> float:
    """step^2 / 4 sum_t |Y_t|^2: what |u_n|^2 does not exceed with nearest rounding. ``path_energies``, as |P_t u| <= |u|."""
    return positive(step, "step") ** 2 / 4 * float((np.asarray(data, np.float64) ** 2).sum())


def covariance_bound(step: float, largest: float) -> float:
    """step^2 / 4 largest^2: what no eigenvalue of Cov(u_n) exceeds with stochastic rounding; E u_n = 0 and E q = v.

    Derived here: q_t has a variance of at most step^2 / 4 given the past, so C_t <= P_t C_{t-1} P_t + step^2 / 4 Y_t Y_t^T, and
    P c I P + c (I - P) = c I. Hence E |u_n|^2 is at most m times as much.
    """
    return (positive(step, "step") * positive(largest, "largest")) ** 2 / 4


def dominating_covariance(step: float, data: ArrayLike) -> Array:
    """S_n of S_t = P_t S_{t-1} P_t + (pi step^2 / 2) Y_t Y_t^T: u_n is below N(0, S_n) in convex order. [ZS]

    Returns (m, m); none of its eigenvalues exceeds pi step^2 / 2 largest^2.
    """
    y = np.asarray(data, np.float64)
    s = np.zeros((len(y), len(y)))
    c = math.pi * positive(step, "step") ** 2 / 2
    for column in y.T:
        norm = float(column @ column)
        if norm > 0:
            p = np.eye(len(y)) - np.outer(column, column) / norm
            s = p @ s @ p + c * np.outer(column, column)
    return s


def path_tail(level: float, rows: int, step: float, largest: float) -> float:
    """How probable |u_n|_inf >= level is at most: sqrt(2) m exp(-level^2 / (4 s^2)), s^2 = pi step^2 / 2 largest^2. [ZS]"""
    s = math.pi / 2 * (positive(step, "step") * positive(largest, "largest")) ** 2
    return min(1.0, math.sqrt(2) * integer(rows, "rows", 1, 2**62) * math.exp(-(real(level, "level", 0, MOST) ** 2) / (4 * s)))


def path_error(p: float, inputs: int, rows: int, step: float, largest: float) -> tuple[float, float, float]:
    """Bounds of |u_n|_inf and |u_n|_2, and how probable it is at most that a neuron exceeds them. [ZS]

    step sqrt(2 pi p ln n) largest, sqrt(m) times as much, and sqrt(2) m / n^p: ``path_tail`` there.
    """
    n, m = integer(inputs, "inputs", 2, 2**62), integer(rows, "rows", 1, 2**62)
    peak = positive(step, "step") * math.sqrt(2 * math.pi * positive(p, "p") * math.log(n)) * positive(largest, "largest")
    return peak, math.sqrt(m) * peak, min(1.0, math.sqrt(2) * m / float(n) ** p)


def network_error(
    p: float, widths: Sequence[int], rows: int, step: float, largest: Sequence[float]
) -> tuple[float, float]:
    """What no column of F(X) - F'(X) exceeds in norm, for a network of layers and ReLU, and how probable an excess is at most.

    sum_i B_i prod_{k >= i} a_k, a_k = step sqrt(2 pi p m ln N_k), sqrt(2) m sum_i N_{i+1} / N_i^p: each layer adds a_i times
    the norms of its inputs, B_i (``largest``) and the error so far. For weights aligned perfectly. widths: N_0 to N_L. [ZS]
    """
    sizes = [integer(width, "widths", 2, 2**62) for width in widths]
    if len(sizes) != len(largest) + 1 or not largest:
        raise ValueError(f"widths has {len(sizes)} entries and largest {len(largest)}; there is one more width than layers")
    m, error = integer(rows, "rows", 1, 2**62), 0.0
    for n, norm in zip(sizes, largest, strict=False):
        gain = positive(step, "step") * math.sqrt(2 * math.pi * positive(p, "p") * m * math.log(n))
        error = gain * (real(norm, "largest", 0, MOST) + error)
    failure = sum(math.sqrt(2) * m * after / float(n) ** p for n, after in pairwise(sizes))
    return error, min(1.0, failure)


def sufficient_top(p: float, inputs: int, greatest: float, step: float, *, largest: float, least: float) -> float:
    """(greatest + 2 s sqrt(p ln n)) / step, s = step sqrt(pi / 2) largest / least: the K that no |code| exceeds.

    With probability 1 - sqrt(2) n^(1 - p) or more; ``greatest`` is the largest |v_t|. log2(2 K + 1) bits do: for Gaussian weights
    K grows as sqrt(ln n), and bits as log log n. Derived here from the tail of <Y_t, u> / |Y_t|^2. [ZS]
    """
    n = integer(inputs, "inputs", 2, 2**62)
    if positive(least, "least") > positive(largest, "largest"):
        raise ValueError(f"least is {least}, above largest, which is {largest}")
    spread = math.sqrt(math.pi / 2) * largest / least
    return real(greatest, "greatest", 0, MOST) / positive(step, "step") + 2 * spread * math.sqrt(positive(p, "p") * math.log(n))


def isotropic_gain(inputs: int, rows: int) -> float:
    """(m / n) (1 - (1 - 1/m)^n): |u_n|^2 of path following as a share of that of nearest rounding, on data of independent
    entries and with nearest rounding in both; twice as much with stochastic rounding, at small steps. Derived here.

    A random direction keeps 1 - 1/m of |u|^2 off it, and e_t^2 |Y_t|^2 comes anew: a geometric sum.
    """
    n, m = integer(inputs, "inputs", 1, 2**62), integer(rows, "rows", 1, 2**62)
    return m / n * -math.expm1(n * math.log1p(-1 / m)) if m > 1 else 1 / n


def isotropic_energy(inputs: int, rows: int, step: float, norm: float, rounding: str = "nearest") -> float:
    """E |u_n|^2 on such data with columns of that norm: m (1 - (1 - 1/m)^n) step^2 / 12 norm^2, or / 6 for "stochastic"."""
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f"rounding is {rounding!r}; known are 'nearest', 'stochastic'")
    spread = positive(step, "step") ** 2 / (12 if rounding == "nearest" else 6)
    return integer(inputs, "inputs", 1, 2**62) * isotropic_gain(inputs, rows) * spread * positive(norm, "norm") ** 2


def fresh_ratio(rounding: str = "nearest") -> float:
    """sqrt(2), or 2 for "stochastic": the error of path following over that of nearest rounding on rows that it has not seen, for
    data of independent entries and n much greater than m. What it gains on its own rows is fitting there. Derived here.
    """
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f"rounding is {rounding!r}; known are 'nearest', 'stochastic'")
    return math.sqrt(2) if rounding == "nearest" else 2.0

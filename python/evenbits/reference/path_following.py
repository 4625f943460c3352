"""Path-following quantization: the plain recursions, one column after the other, with the error u of every sample at hand.

W is neurons x inputs, X and Y rows x inputs: what a layer sees in the float network and in the quantized one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Round = Callable[[Array, int], Array]
"""What a column of numbers becomes: given the numbers of all neurons, and which column they are."""


def follow(w: Array, x: Array, y: Array, rounded: Round) -> tuple[Array, Array]:
    """Order 1: u += w_t X_t, q_t = rounded(<Y_t, u> / |Y_t|^2), u -= q_t Y_t. Returns q and u = w X^T - q Y^T."""
    u, q = np.zeros((len(w), len(x))), np.zeros_like(w)
    for t in range(w.shape[1]):
        u += np.outer(w[:, t], x[:, t])
        norm = y[:, t] @ y[:, t]
        q[:, t] = rounded(u @ y[:, t] / norm if norm > 0 else np.zeros(len(w)), t)
        u -= np.outer(q[:, t], y[:, t])
    return q, u


def aligned(w: Array, x: Array, y: Array, order: int, live: Array) -> tuple[Array, Array]:
    """Weights v with Y v near X w, after ``order`` sweeps, and u = w X^T - v Y^T. Columns that are not live keep their weight."""
    u, v = np.zeros((len(w), len(x))), w.copy()
    for sweep in range(order):
        for t in range(w.shape[1]):
            if sweep == 0:
                u += np.outer(w[:, t], x[:, t])
                v[:, t] = u @ y[:, t] / (y[:, t] @ y[:, t]) if live[t] else w[:, t]
                u -= np.outer(v[:, t], y[:, t])
            elif live[t]:
                change = u @ y[:, t] / (y[:, t] @ y[:, t])
                v[:, t] += change
                u -= np.outer(change, y[:, t])
    return v, u


def follow_aligned(v: Array, y: Array, rounded: Round, live: Array) -> tuple[Array, Array]:
    """From aligned weights: q_t = rounded(v_t + <Y_t, u> / |Y_t|^2), u += (v_t - q_t) Y_t."""
    u, q = np.zeros((len(v), len(y))), np.zeros_like(v)
    for t in range(v.shape[1]):
        q[:, t] = rounded(v[:, t] + (u @ y[:, t] / (y[:, t] @ y[:, t]) if live[t] else 0), t)
        u += np.outer(v[:, t] - q[:, t], y[:, t])
    return q, u


# The kernels, operation by operation.


def multiply_add(a: Array, b: Array, c: Array) -> Array:
    """c + a b in float64: the products of an element are added one after the other, each rounded before."""
    out = c.astype(np.float64)
    for k in range(a.shape[1]):
        out += np.multiply.outer(a[:, k].astype(np.float64), b[k].astype(np.float64))
    return out


def levels(
    a: Array,
    step: Array,
    *,
    low: float,
    high: float,
    offset: float = 0.0,
    shrink: float = 0.0,
    gap: float = 0.0,
    bits: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Integers k, the numbers (k + offset) step that they stand for, and which of them had to be clamped to low ... high.

    Nearest, ties upwards; or with bits (uint16), floor + 1 where bits + 1/2 < 65536 times the fraction. shrink: numbers come
    nearer to 0 first, by so much. gap: the levels are 0 and +-(gap + |k| - 1) steps, those above the gap go to the nearest.
    """
    one, half, kind = a.dtype.type(1), a.dtype.type(0.5), a.dtype.type
    if shrink:
        a = np.copysign(np.maximum(np.abs(a) - kind(shrink), kind(0)), a)
    with np.errstate(over="ignore"):
        y = a / step - kind(offset)
    if gap:
        size = np.minimum(np.abs(y) - kind(gap), kind(high))
        k = np.where(size > 0, np.floor(size + half) + one, kind(0))
        clamped = k > high
        k = np.minimum(k, kind(high))
        return np.copysign(k, y), np.copysign(np.where(k > 0, kind(gap) - one + k, kind(0)) * step, y), clamped
    y = np.clip(y, kind(low) - one, kind(high) + one)
    k = np.floor(y + half) if bits is None else np.floor(y)
    if bits is not None:
        k = k + (bits.astype(a.dtype) + half < (y - k) * kind(65536))
    clamped = (k < low) | (k > high)
    k = np.clip(k, kind(low), kind(high))
    return k, (k + kind(offset)) * step, clamped


def recursion(w: Array, base: Array, h: Array, pivot: Array, rounded: Round | None) -> tuple[Array, Array]:
    """For all t in order: v = base_t - sum_{s<t} z_s H_st, a = w_t + v / pivot_t (w_t where pivot_t is 0), z_t = q_t - w_t.

    q_t is rounded(a, t); without rounding q_t and z_t are a. The sum runs over s in order, from base on. Returns q and z.
    """
    q, z = np.zeros_like(w), np.zeros_like(w)
    for t in range(w.shape[1]):
        v = base[:, t].copy()
        for s in range(t):
            v -= z[:, s] * h[s, t]
        a = w[:, t] + v / pivot[t] if pivot[t] > 0 else w[:, t].copy()
        q[:, t] = a if rounded is None else rounded(a, t)
        z[:, t] = a if rounded is None else q[:, t] - w[:, t]
    return q, z

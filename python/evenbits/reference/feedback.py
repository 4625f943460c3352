"""The columns of a layer coded one after the other, each with the errors of those before it: what is right, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def factor(h: Array) -> Array:
    """The upper triangular M with a diagonal of ones of h = M D M^T: the last column first, each taken off those before it."""
    h, m = h.copy(), np.eye(len(h))
    for t in range(len(h) - 1, -1, -1):
        m[:t, t] = h[:t, t] / h[t, t]
        h[:t, :t] -= np.outer(m[:t, t] * h[t, t], m[:t, t])
    return m


def follow(w: Array, h: Array, code: Callable[[int, Array], Array]) -> Array:
    """q, like w (neurons, inputs): q_t is what ``code`` makes of w_t + sum_{s<t} M_st (w_s - q_s), summed over s in order."""
    m, q = factor(h), np.zeros_like(w)
    for t in range(w.shape[1]):
        target = w[:, t].copy()
        for s in range(t):
            target += m[s, t] * (w[:, s] - q[:, s])
        q[:, t] = code(t, target)
    return q

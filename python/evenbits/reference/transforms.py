from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def sylvester(x: Array) -> Array:
    """Levels at distances 1, 2, 4, ...: (a, b) becomes (a + b, a - b)."""
    y, n = np.array(x), x.shape[-1]
    h = 1
    while h < n:
        a, b = np.moveaxis(y.reshape(*y.shape[:-1], -1, 2, h), -2, 0)
        y = np.stack([a + b, a - b], axis=-2).reshape(y.shape)
        h *= 2
    return y


def hadamard_transform(
    x: Array, base: Array, scale: float = 1.0, before: Array | None = None, after: Array | None = None
) -> Array:
    """scale * after o (H (before o x)) with H = base (x) Sylvester; the base sums pairs, then fours, then those in order."""
    x = np.asarray(x)
    m, n = len(base), x.shape[-1]
    y = x if before is None else x * before
    y = sylvester(y.reshape(*x.shape[:-1], m, n // m))
    if m > 1:
        b = base.astype(x.dtype)[..., None]  # b[i, j] goes with column j of the blocks
        v = [y[..., j, None, :] for j in range(m)]
        pairs = [v[j] + b[:, j] * b[:, j + 1] * v[j + 1] for j in range(0, m, 2)]
        fours = [b[:, j] * (pairs[j // 2] + b[:, j] * b[:, j + 2] * pairs[j // 2 + 1]) for j in range(0, m, 4)]
        y = functools.reduce(np.add, fours)
    y = y.reshape(x.shape)
    y = y if scale == 1 else y * x.dtype.type(scale)
    return y if after is None else y * after


def rotate(x: Array, base: Array, factors: Array, inverse: bool = False) -> Array:
    """Transforms with n factors each, row by row of ``factors``, before them or, backwards, behind them."""
    for f in factors[::-1] if inverse else factors:
        x = hadamard_transform(x, base, 1.0, None, f) if inverse else hadamard_transform(x, base, 1.0, f)
    return x

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenbits.reference.reductions import dot
from evenbits.reference.transforms import hadamard_transform

Array = NDArray[Any]


def kashin(x: Array, base: Array, signs: Array, iterations: int, eta: float, delta: float, closing: bool) -> Array:
    """Lyubarskii and Vershynin's iteration in float32, a row at a time; x and signs are 0 off the frame's support."""
    f32 = np.float32
    n = x.shape[-1]
    scale = float(f32(1 / np.sqrt(float(n))))
    out = np.zeros_like(x)
    for row, a in zip(x.reshape(-1, n), out.reshape(-1, n), strict=True):
        limit = f32(np.sqrt(dot(row, row) / (float(f32(delta)) * n)))
        residual = row
        for _ in range(iterations):
            b = hadamard_transform(residual, base, scale, before=signs)
            c = np.clip(b, -limit, limit)
            a += c
            residual = residual - hadamard_transform(c, base, scale, after=signs)
            limit = f32(limit * f32(eta))
        if closing:
            a += hadamard_transform(residual, base, scale, before=signs)
    return out

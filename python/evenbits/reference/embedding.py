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


def democratic(x: Array, base: Array, signs: Array, iterations: int) -> Array:
    """Douglas and Rachford's iteration in float32 for min |a|_inf, S a = x; x and signs are 0 off the frame's support."""
    f32 = np.float32
    n = x.shape[-1]
    root = np.sqrt(float(n))
    scale = float(f32(1 / root))
    out = np.zeros_like(x)
    for row, a in zip(x.reshape(-1, n), out.reshape(-1, n), strict=True):
        norm = np.sqrt(dot(row, row))
        excess, limit = norm * root / 16, f32(norm / root)
        target = row * signs
        z = target
        a[:] = hadamard_transform(z, base, scale)
        for k in range(iterations):
            for _ in range(2):
                above = np.maximum(np.abs(a) - limit, f32(0))
                count = np.count_nonzero(np.abs(a) > limit)
                step = float(limit) + (dot(above, np.ones_like(above)) - excess) / count if count else 0.0
                limit = f32(max(step, 0.0))
            p = hadamard_transform(np.clip(a, -limit, limit), base, scale)
            last = k + 1 == iterations
            z = np.where(signs != 0, target, p) if last else z + f32(1.5) * np.where(signs != 0, target - p, p - z)
            a[:] = hadamard_transform(z, base, scale)
    return out

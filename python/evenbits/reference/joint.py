from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenbits.reference.reductions import dot
from evenbits.reference.transforms import hadamard_transform

Array = NDArray[Any]


def sign_frame(
    x: Array, base: Array, signs: Array, box: Array, iterations: int, level: float, momentum: float, concavity: float
) -> Array:
    """Relaxed signs in float32, a row at a time; x and signs are 0 off the frame's support, box is 0 where no sign is kept."""
    f32 = np.float32
    n = x.shape[-1]
    scale = float(f32(1 / np.sqrt(float(n))))
    out = np.zeros_like(x)
    for row, result in zip(x.reshape(-1, n), out.reshape(-1, n), strict=True):
        size = f32(level * np.sqrt(dot(row, row)))
        target = row * (f32(1) / size if size > 0 else f32(0))
        a = last = np.zeros(n, f32)
        for k in range(iterations):
            w, last = a + (a - last) * f32(momentum), a
            residual = target - hadamard_transform(w, base, scale, after=signs)
            b = hadamard_transform(residual, base, scale, before=signs)
            a = np.clip(w * f32(1 + concavity * k / iterations) + b, -box, box)
        result[:] = a * size
    return out

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dot(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Sum of x * y in doubles: 16 interleaved partial sums, then halves added to halves."""
    products = x.astype(np.float64) * y.astype(np.float64)
    padded = np.zeros((max(1, -(-products.size // 16)), 16))
    padded.reshape(-1)[: products.size] = products
    partial = np.zeros(16)
    for block in padded:
        partial = partial + block
    for h in (8, 4, 2, 1):
        partial = partial[:h] + partial[h:]
    return float(partial[0])

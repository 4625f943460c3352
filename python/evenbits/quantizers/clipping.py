"""Where to clip: levels from -clip to clip, or from 0, and the clip of the least error in a power."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import Array, as_floats, integer, real, require_finite
from evenbits._groups import dot
from evenbits.quantizers.powell import golden_section

GRID = 40
"""The error is not unimodal: so many clips from GRID to 1 of the greatest magnitude are tried before the best is refined."""
REFINEMENTS = 20
LEAST = 0.05


def on_levels(x: Array, clip: float, levels: int, signed: bool = True) -> NDArray[np.float32]:
    """x rounded to the nearest of so many equal steps from -clip to clip, or from 0; ties to the even step."""
    low = np.float32(clip if signed else 0.0)
    step = np.float32((2.0 if signed else 1.0) * clip / (levels - 1))
    if not step > 0:
        return np.zeros(x.shape, np.float32)
    code = np.clip(np.rint((x + low) / step), 0, levels - 1)
    y: NDArray[np.float32] = (code * step - low).astype(np.float32, copy=False)
    return y


def power_error(x: Array, y: Array, p: float) -> float:
    """Mean |x - y|^p: for whole p up to 4 from products in one order, the same on every machine."""
    e = np.abs(x - y).reshape(-1)
    factors = {1.0: (e, np.ones_like(e)), 2.0: (e, e), 3.0: (e, e * e), 4.0: (e * e, e * e)}
    if p not in factors:
        mean: np.float64 = np.mean(e.astype(np.float64) ** p)
        return float(mean)
    a, b = factors[p]
    return float(dot(a[None], b[None])[0] / e.size)


def clipping_level(x: ArrayLike, levels: int, *, p: float = 2.0, signed: bool = True) -> float:
    """The clip of the least mean |x - Q(x)|^p, Q rounding to ``levels`` equal steps from -clip (or 0) to clip; 0 for zeros.

    p = 2 is the squared error; greater powers clip less, which suits networks better at few bits. Unsigned levels are for what is
    not negative. A grid of clips, then the golden section beside the best: within a thousandth of the greatest magnitude.
    Raises ValueError for NaN, infinity, an empty x, and levels and powers out of range.
    Source: Nahshan et al., "Loss aware post-training quantization", arXiv 1911.07190.
    """
    a = as_floats(x, double=False)
    require_finite(a)
    count, power = integer(levels, "levels", 2, 65536), real(p, "p", 0.5, 16)
    if not a.size:
        raise ValueError("x is empty; a clip needs at least one number")
    peak = float(np.abs(a).max())
    if peak == 0:
        return 0.0
    scaled = a.reshape(-1) / np.float32(peak)
    errors: dict[float, float] = {}

    def error(clip: float) -> float:
        if clip not in errors:
            errors[clip] = power_error(scaled, on_levels(scaled, clip, count, signed), power)
        return errors[clip]

    grid = [LEAST + (1 - LEAST) * i / (GRID - 1) for i in range(GRID)]
    best = min(range(GRID), key=lambda i: error(grid[i]))
    golden_section(error, grid[max(0, best - 1)], grid[min(GRID - 1, best + 1)], REFINEMENTS)
    return peak * min(errors, key=lambda clip: errors[clip])

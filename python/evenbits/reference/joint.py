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


def involution(x: Array, base: Array, signs: Array) -> Array:
    """P x = H (signs o H x) / n in float32."""
    scale = float(np.float32(1 / np.sqrt(float(x.shape[-1]))))
    return hadamard_transform(hadamard_transform(x, base, scale, after=signs), base, scale)


def _in_units(row: Array) -> Array:
    f32 = np.float32
    size = f32(np.sqrt(dot(row, row) / row.size))
    return row * (f32(1) / size if size > 0 else f32(0))


def kashin_split(
    x: Array, base: Array, signs: Array, greedy: bool, most: int, tolerance: float
) -> tuple[Array, Array, NDArray[np.float64]]:
    """Factors u and v with x / rms(x) near u + P v, and what is left of each row, by steps along signs."""
    f32, n = np.float32, x.shape[-1]
    u, v, left = np.zeros_like(x), np.zeros_like(x), np.zeros(len(x))
    for i, row in enumerate(x):
        r = _in_units(row)
        y = involution(r, base, signs)
        for k in range(most):
            if dot(r, r) <= tolerance * tolerance * n:
                break
            of_r, of_y = dot(np.abs(r), np.ones_like(r)), dot(np.abs(y), np.ones_like(y))
            if of_r > of_y if greedy else k % 4 < 2:
                step = np.sign(r) * f32(of_r / n)
                u[i], r, y = u[i] + step, r - step, y - involution(step, base, signs)
            else:
                step = np.sign(y) * f32(of_y / n)
                v[i], y, r = v[i] + step, y - step, r - involution(step, base, signs)
        left[i] = np.sqrt(dot(r, r) / n)
    return u, v, left


def kashin_joint(
    x: Array,
    base: Array,
    signs: Array,
    split: int,
    levels: tuple[int, int, int, int],
    peaks: tuple[float, float, float, float],
    iterations: int,
    momentum: float,
    concavity: float,
) -> NDArray[np.uint8]:
    """Codes of pairs of evenly spaced levels; levels and peaks of u and v below ``split``, then of both from there on."""
    f32, n = np.float32, x.shape[-1]
    below = np.arange(n) < split
    count, peak = ([np.where(below, f32(a[k]), f32(a[k + 2])).astype(f32) for k in (0, 1)] for a in (levels, peaks))
    last = [c - f32(1) for c in count]
    step = [np.where(m > 0, f32(2) * p / np.maximum(m, f32(1)), f32(0)) for m, p in zip(last, peak, strict=True)]
    inverse = [np.divide(f32(1), s, out=np.zeros_like(s), where=s > 0) for s in step]
    codes = np.zeros(x.shape, np.uint8)
    for row, code in zip(x, codes, strict=True):
        target = _in_units(row)
        c = before = [np.zeros(n, f32)] * 2
        for k in range(iterations):
            growth = f32(concavity * k / iterations)
            w, before = [a + (a - b) * f32(momentum) for a, b in zip(c, before, strict=True)], c
            r = target - w[0] - involution(w[1], base, signs)
            c = []
            for i, gradient in enumerate((r, involution(r, base, signs))):
                place = np.clip((w[i] + peak[i]) * inverse[i], f32(0), last[i])
                cell = np.minimum(place.astype(np.int32).astype(f32), last[i] - f32(1))
                threshold = (cell + f32(0.5)) * step[i] - peak[i]
                c.append(np.clip((w[i] + (w[i] - threshold) * growth) + gradient * f32(0.5), -peak[i], peak[i]))
        index = [((a + p) * s + f32(0.5)).astype(np.int32) for a, p, s in zip(c, peak, inverse, strict=True)]
        code[:] = index[0] + count[0].astype(np.int32) * index[1]
    return codes

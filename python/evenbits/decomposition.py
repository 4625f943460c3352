"""An orthogonal transform P of rows, the decomposition x = u + P v, and codes for both factors at once.

Sources: Merkulov et al., arXiv 2404.09737 (greedy steps); Cherniuk et al., arXiv 2609.11687 (alternating steps). The involution
of Hadamard matrices and the codes that are decided together are this library's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evenbits import _core
from evenbits._arrays import Array
from evenbits._groups import dot
from evenbits.matrices import base_matrix, base_order
from evenbits.random import random_signs, recent_signs

SECOND = 1 << 63
"""Added to a stream's number to draw what P is made of; frames, which draw their support there, have none."""
PAIR_MOMENTUM = 0.9


@dataclass(frozen=True)
class Transform:
    """An orthogonal transform P of rows of n numbers, made of elements first, first + 1, ... of a stream."""

    n: int
    seed: int
    stream: int
    first: int = 0

    def __call__(self, x: Array) -> Array:
        """P x of float32 rows."""
        raise NotImplementedError

    def adjoint(self, x: Array) -> Array:
        """P^T x, which is P x unless a transform says otherwise."""
        return self(x)

    def split(self, x: Array, schedule: str, iterations: int, tolerance: float) -> tuple[Array, Array, Array]:
        """(u, v, residuals): float32 rows x = s (u + P v) with s the root mean square of a row, and |x - x'| / |x|.

        Steps u += c sign(r), c = |r|_1 / n, and v += c sign(P^T r), c = |P^T r|_1 / n, r being what is left of x / s: of the
        two the one with the greater c ("greedy"), or u, u, v, v ("alternating"), until |r| <= tolerance |x / s|.
        """
        r, residuals = _in_units(x), np.zeros(len(x))
        u, v = np.zeros_like(r), np.zeros_like(r)
        active = np.arange(len(x))
        for k in range(iterations + 1):
            residuals[active] = np.sqrt(dot(r, r) / self.n)
            going = residuals[active] > tolerance
            active, r = active[going], r[going]
            if k == iterations or not active.size:
                break
            y = self.adjoint(r) if schedule == "greedy" or k % 4 > 1 else r
            of_r, of_y = (dot(np.abs(f), np.ones_like(f)) for f in (r, y))
            first = of_r > of_y if schedule == "greedy" else np.full(len(r), k % 4 < 2)
            step = np.where(first[:, None], np.sign(r), np.sign(y))
            step *= (np.where(first, of_r, of_y) / self.n).astype(np.float32)[:, None]
            u[active[first]] += step[first]
            v[active[~first]] += step[~first]
            r[first] -= step[first]
            if not first.all():
                r[~first] -= self(np.ascontiguousarray(step[~first]))
        return u, v, residuals

    def joint_codes(
        self, x: Array, split: int, levels: tuple[int, int, int, int], peaks: tuple[float, float, float, float], iterations: int
    ) -> Array:
        """Codes i + levels_u j of float32 rows, chosen together so that s (u_i + P v_j) is near the row.

        Levels are evenly spaced up to the peaks, in units of s, for u and v of coordinates below ``split``, then of the others.
        The way of ``sign_frame``: projected gradient steps with momentum, away from the thresholds with a force that grows.
        """
        f32, momentum, concavity = np.float32, np.float32(PAIR_MOMENTUM), _concavity(levels)
        below = np.arange(self.n) < split
        count, peak = ([np.where(below, f32(a[k]), f32(a[k + 2])).astype(f32) for k in (0, 1)] for a in (levels, peaks))
        last = [c - f32(1) for c in count]
        step = [np.where(m > 0, f32(2) * p / np.maximum(m, f32(1)), f32(0)) for m, p in zip(last, peak, strict=True)]
        inverse = [np.divide(f32(1), s, out=np.zeros_like(s), where=s > 0) for s in step]
        target = _in_units(x)
        c = before = [np.zeros_like(target)] * 2
        for k in range(iterations):
            growth = f32(concavity * k / iterations)
            w, before = [a + (a - b) * momentum for a, b in zip(c, before, strict=True)], c
            r = target - w[0] - self(w[1])
            c = []
            for i, gradient in enumerate((r, self.adjoint(r))):
                place = np.clip((w[i] + peak[i]) * inverse[i], f32(0), last[i])
                cell = np.minimum(place.astype(np.int32).astype(f32), last[i] - f32(1))
                threshold = (cell + f32(0.5)) * step[i] - peak[i]
                c.append(np.clip((w[i] + (w[i] - threshold) * growth) + gradient * f32(0.5), -peak[i], peak[i]))
        index = [((a + p) * s + f32(0.5)).astype(np.int32) for a, p, s in zip(c, peak, inverse, strict=True)]
        codes: Array = (index[0] + count[0].astype(np.int32) * index[1]).astype(np.uint8)
        return codes


class Involution(Transform):
    """P = H diag(signs) H / n, H a Hadamard matrix: symmetric, P P = I, made of additions; its signs are random."""

    @property
    def signs(self) -> Array:
        if self.first:
            return random_signs(self.seed, self.stream + SECOND, self.n, first=self.first)
        return recent_signs(self.seed, self.stream + SECOND, self.n)

    @property
    def base(self) -> Array:
        return base_matrix(base_order(self.n) or 1)

    def __call__(self, x: Array) -> Array:
        y = np.empty_like(x)
        if x.size:
            _core.hadamard(x, y, self.base, None, self.signs, 1 / math.sqrt(self.n), 1)
            _core.hadamard(y, y, self.base, None, None, 1 / math.sqrt(self.n), 1)
        return y

    def split(self, x: Array, schedule: str, iterations: int, tolerance: float) -> tuple[Array, Array, Array]:
        u, v, residuals = np.empty_like(x), np.empty_like(x), np.empty(len(x))
        _core.kashin_split(x, u, v, self.base, self.signs, schedule == "greedy", iterations, tolerance, residuals, 1)
        return u, v, residuals

    def joint_codes(
        self, x: Array, split: int, levels: tuple[int, int, int, int], peaks: tuple[float, float, float, float], iterations: int
    ) -> Array:
        codes = np.empty(x.shape, np.uint8)
        path = iterations, PAIR_MOMENTUM, _concavity(levels)
        _core.kashin_joint(x, codes, self.base, self.signs, split, levels, peaks, *path, 1)
        return codes


def _in_units(x: Array) -> Array:
    """Rows in units of their root mean squares."""
    size = np.sqrt(dot(x, x) / x.shape[1]).astype(np.float32)
    units: Array = x * np.divide(np.float32(1), size, out=np.zeros_like(size), where=size > 0)[:, None]
    return units


def _concavity(levels: tuple[int, int, int, int]) -> float:
    return 0.4 if max(levels) == 2 else 0.2

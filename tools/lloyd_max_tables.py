"""Computes python/evenbits/data/lloyd_max.npz: the optimal quantizers of the unit-variance Gaussian and Laplacian.

    python tools/lloyd_max_tables.py [path]                 (needs mpmath; takes a minute)

Both laws are symmetric and log-concave, so for every count of levels there is one stationary quantizer, it is the best
one, and it is symmetric (Fleischer 1964; for densities that are not strictly log-concave, as the Laplacian, Trushkin
1982 and Kieffer 1983). So the positive levels c_1 < ... < c_K suffice. With t_i = (c_i + c_(i+1)) / 2, t_K = infinity,
and t_0 = 0 (even count) or c_1 / 2 (odd count, whose middle level is 0), they solve

    c_i = g_i = (R(t_(i-1)) - R(t_i)) / (Q(t_(i-1)) - Q(t_i)),      Q(t) = P(x > t),   R(t) = E[x; x > t].

The derivative A of g by c is tridiagonal; Newton's method runs until more than 40 digits stand.
The best uniform quantizer, levels (i - (M - 1) / 2) step, is a root in `step` of the derivative of its error.

The file holds, for each law, <law>_levels: the positive levels for 2, 3, ..., 256 levels one after the other, and
<law>_steps: the best uniform steps for 2, 3, ..., 256 levels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import mpmath
import numpy as np
from mpmath import exp, mpf

mpmath.mp.dps = 50
TOLERANCE = mpf(10) ** -40
MOST = 256
SQRT2, SQRT2PI = mpmath.sqrt(2), mpmath.sqrt(2 * mpmath.pi)


class Law(NamedTuple):
    density: Callable[[mpf], mpf]
    mass: Callable[[mpf], mpf]  # Q
    moment: Callable[[mpf], mpf]  # R
    start: Callable[[float], float]  # quantile function of the density to the power 1/3, nearly the density of levels


LAWS = {
    "gaussian": Law(
        lambda t: exp(-t * t / 2) / SQRT2PI,
        lambda t: mpmath.erfc(t / SQRT2) / 2,
        lambda t: exp(-t * t / 2) / SQRT2PI,
        NormalDist(sigma=3**0.5).inv_cdf,
    ),
    "laplacian": Law(
        lambda t: exp(-SQRT2 * t) / SQRT2,
        lambda t: exp(-SQRT2 * t) / 2,
        lambda t: exp(-SQRT2 * t) * (t + 1 / SQRT2) / 2,
        lambda p: -3 / 2**0.5 * log(2 - 2 * p),
    ),
}


def newton_step(law: Law, c: list[mpf], odd: bool) -> list[mpf]:
    """The correction d of c, (I - A) d = g - c with the centroids g: elimination downwards, substitution upwards."""
    k = len(c)
    t = [c[0] / 2 if odd else mpf(0), *((a + b) / 2 for a, b in pairwise(c))]
    density = [*map(law.density, t), mpf(0)]
    mass, moment = [*map(law.mass, t), mpf(0)], [*map(law.moment, t), mpf(0)]
    upper, d = [], []  # row i after elimination: d_i = d[i] + upper[i] d_(i+1)
    for i in range(k):
        p = mass[i] - mass[i + 1]
        g = (moment[i] - moment[i + 1]) / p
        left = density[i] * (g - t[i]) / (2 * p) if i or odd else mpf(0)  # of g_i by c_(i-1): the threshold 0 stays
        right = density[i + 1] * (t[i + 1] - g) / (2 * p) if i + 1 < k else mpf(0)  # of g_i by c_(i+1)
        pivot = 1 - left - right - (left * upper[-1] if i else 0)
        d.append((g - c[i] + (left * d[-1] if i else 0)) / pivot)
        upper.append(right / pivot)
    for i in reversed(range(k - 1)):
        d[i] += upper[i] * d[i + 1]
    return d


def positive_levels(law: Law, levels: int) -> list[mpf]:
    odd = levels % 2
    c = [mpf(law.start((levels // 2 + odd + i + 0.5) / levels)) for i in range(levels // 2)]
    for _ in range(30):
        d = newton_step(law, c, bool(odd))
        c = [x + y for x, y in zip(c, d, strict=True)]
        if all(abs(x) < TOLERANCE for x in d):
            return c
    raise ArithmeticError(f"no convergence for {levels} levels")


def slope(law: Law, levels: int, step: mpf) -> mpf:
    """Minus a quarter of the derivative of the uniform quantizer's mean square error by the step."""
    s = [mpf(2 * i - levels + 1) / 2 for i in range(levels - levels // 2, levels)]
    t = [step * max(x - mpf(1) / 2, 0) for x in s]
    mass, moment = [*map(law.mass, t), mpf(0)], [*map(law.moment, t), mpf(0)]
    return sum(x * (moment[i] - moment[i + 1] - x * step * (mass[i] - mass[i + 1])) for i, x in enumerate(s))


def best_step(law: Law, levels: int, start: mpf) -> mpf:
    """The root near `start`, the best step for one level less."""
    low, high = start / 2, start * 1.1
    assert slope(law, levels, low) > 0 > slope(law, levels, high)
    return mpmath.findroot(lambda step: slope(law, levels, step), (low, high), solver="anderson", tol=1e-80)


def main(path: Path) -> None:
    tables = {}
    for name, law in LAWS.items():
        tables[f"{name}_levels"] = [float(c) for m in range(2, MOST + 1) for c in positive_levels(law, m)]
        steps = [mpf(2)]
        for m in range(2, MOST + 1):
            steps.append(best_step(law, m, steps[-1]))
        tables[f"{name}_steps"] = [float(s) for s in steps[1:]]
    np.savez(path, **{name: np.array(values) for name, values in tables.items()})


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else Path(__file__).parents[1] / "python/evenbits/data/lloyd_max.npz")

"""Models of few bytes for entropy-coded trellises: what their tables would say, by a curve.

All but a and b are signed. For every context: by how many eighths of a bit 0 takes more than |k| = 1; then, for every context, by
how many 1/64 of a step |k| = 1 means less than on the grid. Then a, b, f and g. A number v of the grid takes
(A (v - 1) + B (v^2 - 1)) / 2^17 sixteenths of a bit more than 1 would, A = 2^24 2^((1 - a) / 8), but 0 if a is, and B likewise:
a alone is a Laplacian's law, b alone a Gaussian's. From |k| = 2 on v means (f + g (v - 2) / 16) / 64 less. The greatest |k| is
the third after the last one for which 2 |k| - 1 takes no more than 14 bits, but at most 1023.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array
from evenbits.trellis import LONGEST, MOST_LEVEL, POWERS, Model, grid, log2, tallied

LAWS = ("laplacian", "gaussian")
"""Those of a and of b."""
CURVES = np.array([0] + [POWERS[2 * j & 15] >> (j >> 3) for j in range(255)])
"""A and B, by a and b."""
WEIGHTS = np.array([POWERS[n & 15] >> (n >> 4) for n in range(16 * 24)])
"""2^24 times what is as likely as a code of so many sixteenths of a bit."""
RARE = 3
"""Indices that are too rare for a slot and have one still: far cheaper than an outlier."""
FEWEST = 2
"""Numbers whose mean is worth a byte."""


def bytes_of(contexts: int) -> int:
    return 2 * contexts + 4


def _curve(a: Array, b: Array, v: Array) -> Array:
    """Sixteenths of a bit that the numbers v take more than 1."""
    lengths: Array = (CURVES[a] * (v - 1) + CURVES[b] * (v * v - 1)) >> 17
    return lengths


def model_of(law: NDArray[np.uint8]) -> Model:
    """The model of these bytes."""
    contexts = (len(law) - 4) // 2
    signed = law.view(np.int8).astype(np.int64)
    zeros, firsts, (f, g) = signed[:contexts], signed[contexts : 2 * contexts], signed[-2:]
    a, b = law[-4:-2].astype(np.int64)
    odd = 2 * np.arange(1, MOST_LEVEL + 1) - 1
    top = min(int(np.searchsorted(_curve(a, b, odd), 14 * 16, "right")) + RARE, MOST_LEVEL)
    v = grid(top, contexts).astype(np.int64)
    lengths = _curve(a, b, v)
    lengths[:, 0] = lengths[:, 1] + 2 * zeros
    lengths -= lengths.min(axis=1, keepdims=True)
    offsets = (16 * f + g * (v - 2) + 8) >> 4
    offsets[:, 0], offsets[:, 1] = 0, firsts
    return Model(np.minimum(lengths, LONGEST).astype(np.uint8), np.clip(offsets, -127, 127).astype(np.int8), law)


def fitted_law(counts: Array, sums: Array, contexts: int, law: str | None = None) -> Model:
    """The model of few bytes that suits what symbols came, and the sums of what they stood for; of either law or of both."""
    n, total = tallied(counts, sums, contexts)
    used = int(np.flatnonzero(n.any(axis=0))[-1]) + 1
    n, total = n[:, :used], total[:, :used]
    v = grid(n.shape[1] - 1, contexts)
    pairs = n.reshape(contexts // 2, 2, -1).sum(axis=0)[:, 1:].astype(np.int64)
    a, b = _best_curve(pairs, v[:2, 1:].astype(np.int64), law)
    plane = np.zeros(bytes_of(contexts), np.int64)
    plane[-4], plane[-3] = a, b
    lengths = model_of(plane.astype(np.uint8)).lengths.astype(np.int64)
    rest, first = n[:, 1:].sum(axis=1), lengths[:, 1]
    all_weights = WEIGHTS[np.minimum(lengths[:, 1:] - first[:, None], len(WEIGHTS) - 1)].sum(axis=1) / WEIGHTS[0]
    zeros = 8 * (log2(rest + 0.1) - log2(2 * (n[:, 0] + 0.1) * all_weights))
    off = 64 * (v - total / np.maximum(n, 1))
    plane[:contexts] = np.clip(np.rint(zeros), -128, 127)
    if n.shape[1] > 1:
        plane[contexts : 2 * contexts] = np.where(n[:, 1] >= FEWEST, np.clip(np.rint(off[:, 1]), -127, 127), 0)
        plane[-2:] = _line(n[:, 2:], v[:, 2:] - 2, off[:, 2:])
    return model_of((plane & 255).astype(np.uint8))


def _best_curve(n: Array, v: Array, law: str | None) -> tuple[int, int]:
    """a and b for which numbers v > 0 of either quantizer that came n times take the fewest bits."""

    def cheapest(i: int, other: int) -> tuple[float, int]:
        """What the best a, if i is 0, or b takes, and which it is: of every sixteenth, then of those near it."""
        _, near = cheapest_of(np.arange(0, 256, 16), i, other)
        return cheapest_of(np.arange(max(near - 15, 0), min(near + 16, 256)), i, other)

    def cheapest_of(tried: Array, i: int, other: int) -> tuple[float, int]:
        curve = [np.full((len(tried), 1, 1), other)] * 2
        curve[i] = tried[:, None, None]
        a, b = curve
        lengths = np.minimum(_curve(a, b, v), len(WEIGHTS) - 1)
        whole = (n * lengths).sum(axis=(1, 2)) / 16
        cost = whole + (n.sum(axis=1) * log2(WEIGHTS[lengths].sum(axis=2).astype(np.float64))).sum(axis=1)
        best = int(np.argmin(cost))
        return float(cost[best]), int(tried[best])

    if not n.sum():
        return 0, 1
    (_, best), i = min((cheapest(i, 0), i) for i, name in enumerate(LAWS) if law in (None, name))
    found = {i: best, 1 - i: 0}
    if law is None:
        for j in (1 - i, i):
            found[j] = cheapest(j, found[1 - j])[1]
    return found[0], found[1]


def _line(n: Array, v: Array, off: Array) -> tuple[int, int]:
    """f and g: the line through offsets that lie at v and came n times."""
    weights, at, to = (part.reshape(-1).tolist() for part in (n, v, off))
    whole = math.fsum(weights)
    if whole < FEWEST:
        return 0, 0
    x = math.fsum(w * u for w, u in zip(weights, at, strict=True)) / whole
    y = math.fsum(w * u for w, u in zip(weights, to, strict=True)) / whole
    square = math.fsum(w * (u - x) * (u - x) for w, u in zip(weights, at, strict=True))
    product = math.fsum(w * (u - x) * (z - y) for w, u, z in zip(weights, at, to, strict=True))
    g = min(max(round(16 * product / square), -127), 127) if square > 0 and whole > 8 else 0
    return min(max(round(y - g * x / 16), -127), 127), g

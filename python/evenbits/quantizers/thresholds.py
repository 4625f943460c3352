"""Ordinary scalar quantizers, a coordinate each, before a linear decision: what classification-aware ones are compared with.

Each gives boundaries to ``Thresholds``, which labels the tuples of cells by their majority. Source of the problem and of greedy
insertion: Hanna et al., "On distributed quantization for classification", arXiv 1911.00216; of ``on_the_line`` arXiv
2107.09716, here in O(S (n + R S)) for S distinct coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenbits._arrays import as_floats, integer, require_finite
from evenbits.codebooks import kmeans
from evenbits.quantizers.base import choice

Floats = NDArray[np.float64]


class Thresholds:
    """Cells between boundaries of each coordinate of x o factors, and a side, 1 or -1, for each tuple of cells.

    A number on a boundary belongs to the cell below it. Tuples without points take the side of their cells' midpoints.
    """

    def __init__(self, boundaries: Sequence[ArrayLike], x: ArrayLike, w: ArrayLike, factors: ArrayLike | None = None) -> None:
        points, self.w = rows_of(x), np.asarray(w, np.float64)
        self.factors = np.ones(points.shape[1]) if factors is None else np.asarray(factors, np.float64)
        self.boundaries = [np.sort(np.asarray(b, np.float64)) for b in boundaries]
        self.shape = tuple(len(b) + 1 for b in self.boundaries)
        votes = np.bincount(self.indices(points), side(points, self.w), math.prod(self.shape))
        grid = np.stack(np.meshgrid(*map(midpoints, self.boundaries), indexing="ij"), -1).reshape(len(votes), -1)
        self.sides = np.where(votes != 0, np.sign(votes), side(grid / self.factors, self.w))

    def indices(self, x: ArrayLike) -> NDArray[np.intp]:
        """The tuple of each row."""
        z = rows_of(x) * self.factors
        cells = [np.searchsorted(b, z[:, i]) for i, b in enumerate(self.boundaries)]
        return np.ravel_multi_index(cells, self.shape)

    def disagreement(self, x: ArrayLike) -> float:
        """The part of the rows that are decided otherwise than w . x >= 0 says."""
        return float(np.mean(self.sides[self.indices(x)] != side(rows_of(x), self.w)))


def rows_of(x: ArrayLike) -> Floats:
    a = as_floats(x).astype(np.float64)
    require_finite(a)
    if a.ndim != 2 or not a.size:
        raise ValueError(f"x has shape {a.shape}; it must be rows of coordinates")
    return a


def side(x: Floats, w: Floats) -> Floats:
    return np.where(x @ w >= 0, 1.0, -1.0)


def midpoints(boundaries: Floats) -> Floats:
    if not len(boundaries):
        return np.zeros(1)
    return np.concatenate([[boundaries[0] - 1], (boundaries[1:] + boundaries[:-1]) / 2, [boundaries[-1] + 1]])


def per_coordinate(x: ArrayLike, w: ArrayLike, levels: int, *, kind: str = "lloyd_max") -> Thresholds:
    """The same number of levels for each coordinate: of least squared error ("lloyd_max"), or in equal steps ("uniform")."""
    points, count = rows_of(x), integer(levels, "levels", 1, 256)
    choice(kind, "kind", ("lloyd_max", "uniform"))
    if kind == "uniform":
        boundaries = [np.linspace(c.min(), c.max(), count + 1)[1:-1] for c in points.T]
    else:
        books = [kmeans(c, count) for c in points.T]
        boundaries = [(b[1:] + b[:-1]) / 2 for b in books]
    return Thresholds(boundaries, points, w)


def on_the_line(x: ArrayLike, w: ArrayLike, levels: int) -> Thresholds:
    """Two coordinates: the best boundaries that both share once x is scaled so that the decision is z_1 >= z_2.

    Then errors lie in the boxes on the diagonal alone, and dynamic programming over the coordinates finds the least number.
    """
    points, count = rows_of(x), integer(levels, "levels", 1, 256)
    direction = np.asarray(w, np.float64)
    if points.shape[1] != 2 or direction.shape != (2,) or not direction.all():
        raise ValueError(f"x has {points.shape[1]} coordinates and w is {w!r}; this takes two, and a w without zeros")
    factors = direction * np.array([1.0, -1.0])
    z = points * factors
    positive = side(points, direction) > 0
    values = np.unique(z)
    s = len(values)
    low, high = np.searchsorted(values, z.min(axis=1)), np.searchsorted(values, z.max(axis=1))
    errors = np.empty((s + 1, s))  # [l + 1, i]: of the box from values[l], exclusive (-1: from -infinity), to values[i]
    plus, minus = np.bincount(high[positive], minlength=s), np.bincount(high[~positive], minlength=s)
    order = np.argsort(low, kind="stable")
    first = 0
    for box in range(s + 1):
        while first < len(order) and low[order[first]] < box:  # a point that begins below the box
            point = order[first]
            (plus if positive[point] else minus)[high[point]] -= 1
            first += 1
        errors[box] = np.minimum(np.cumsum(plus), np.cumsum(minus))
    best, choices = errors[0].copy(), []
    for _ in range(count - 1):
        total = best[:, None] + errors[1:]
        total[np.tril_indices(s)] = np.inf
        last = total.argmin(axis=0)
        found = total[last, np.arange(s)]
        choices.append(np.where(found < best, last, -1))
        best = np.minimum(found, best)
    boundaries, i = [], s - 1
    for chosen in reversed(choices):
        if chosen[i] >= 0:
            i = int(chosen[i])
            boundaries.append(float(values[i]))
    return Thresholds([boundaries, boundaries], points, direction, factors)


def greedy_insertion(x: ArrayLike, w: ArrayLike, levels: int) -> Thresholds:
    """One boundary after the other, where it takes most off the errors; all midpoints of all coordinates are tried each time."""
    points, count = rows_of(x), integer(levels, "levels", 1, 256)
    direction = np.asarray(w, np.float64)
    sides = side(points, direction)
    d = points.shape[1]
    candidates = [np.unique((np.sort(c)[1:] + np.sort(c)[:-1]) / 2) for c in points.T]
    boundaries: list[list[float]] = [[] for _ in range(d)]
    for _ in range(d * (count - 1)):
        best: tuple[float, int, float] = (math.inf, 0, 0.0)
        for i in range(d):
            if len(boundaries[i]) == count - 1:
                continue
            cells = [np.searchsorted(np.sort(b), points[:, j]) for j, b in enumerate(boundaries)]
            flat = np.ravel_multi_index(cells, [len(b) + 1 for b in boundaries])
            for c in candidates[i]:
                votes = np.bincount(2 * flat + (points[:, i] > c), sides)
                wrong = (len(points) - np.abs(votes).sum()) / 2
                if wrong < best[0]:
                    best = wrong, i, float(c)
        if best[0] < math.inf:
            boundaries[best[1]].append(best[2])
    return Thresholds(boundaries, points, direction)

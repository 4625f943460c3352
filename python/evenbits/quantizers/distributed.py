"""Several encoders, each of which sees its own part of a row and sends an index, and one decoder that sees all indices.

Source: Severo, Domanovitz, Khisti, "Regularized classification-aware quantization", BSC 2021, arXiv 2107.09716. Its alternation,
for parts of several coordinates as well, on sums over groups of points: what a step costs hardly depends on their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenbits._arrays import Array
from evenbits.codewords import Codewords, group_sums, products
from evenbits.random import random_bits, random_subset

Floats = NDArray[np.float64]
PUSH = 1e-3
"""A codeword that changes sides goes so much farther than the hyperplane, relative to its distance."""
STRETCH = 3.0
"""Distances along the decision of n coordinates become 1 + STRETCH gamma n times as long."""
LLOYD = 25
DENSE = 1 << 22
"""Groups of points times numbers each, beyond which points are not grouped."""


@dataclass(frozen=True)
class Cells:
    """A part of the coordinates, and prototypes whose cells are what an encoder can tell apart."""

    columns: NDArray[np.intp]
    prototypes: Floats
    """(P, coordinates); of one coordinate they ascend."""
    stretch: Floats | None = None
    """A matrix that points of several coordinates go through first."""

    @classmethod
    def of(
        cls, x: Floats, columns: NDArray[np.intp], count: int, decision: Floats, gamma: float, seed: int, stream: int
    ) -> Cells:
        """At most ``count`` prototypes of the points x: quantiles, or k-means of parts, in the order of the decision.

        Distances of parts along the decision count the more, the more decisions do.
        """
        part, w = np.ascontiguousarray(x[:, columns]), decision[columns]
        if len(columns) == 1:
            values = np.sort(part[:, 0])
            places = (2 * np.arange(count) + 1) * len(values) // (2 * count)
            return cls(columns, np.unique(values[places])[:, None])
        square = float(products(w[None], w[:, None])[0, 0])
        stretch = np.eye(len(w)) + (STRETCH * gamma * len(w) / square * np.outer(w, w) if square > 0 else 0.0)
        part = products(part, stretch)
        start = part[random_subset(seed, stream, len(part), min(count, len(part)))]
        prototypes = kmeans(part, np.unique(start, axis=0))
        order = np.argsort(products(prototypes, w[:, None])[:, 0], kind="stable")
        return cls(columns, prototypes[order], stretch)

    def find(self, x: Floats, workers: int = 1) -> NDArray[np.uint32]:
        """The cell of each point: of a number half-way between two prototypes, the upper one's."""
        if len(self.columns) == 1:
            p = self.prototypes[:, 0]
            return np.searchsorted((p[1:] + p[:-1]) / 2, x[:, self.columns[0]], side="right").astype(np.uint32)
        assert self.stretch is not None
        part = products(x[:, self.columns], self.stretch, workers=workers)
        return Codewords(self.prototypes).nearest(part, workers=workers).astype(np.uint32)


def kmeans(x: Floats, centers: Floats, iterations: int = LLOYD) -> Floats:
    """Lloyd's algorithm on rows, distances in float32; a centre without points stays."""
    for _ in range(iterations):
        cells = Codewords(centers).nearest(x)
        counts = np.bincount(cells, minlength=len(centers))[:, None]
        moved = np.where(counts > 0, group_sums(x, cells, len(centers)) / np.maximum(counts, 1), centers)
        if np.array_equal(moved, centers):
            break
        centers = moved
    return centers


class Alternation:
    """Encoders and decoder on the way to the least loss: the mean of (1 - gamma) |x - c|^2 + gamma [c on the wrong side].

    Side is 1 where w . c + b >= 0, |w| = 1, and -1 elsewhere; that of a point is given. Tuples of indices count in C order.
    """

    def __init__(
        self, x: Floats, sides: Floats, w: Floats, b: float, gamma: float, cells: Sequence[Cells], levels: Sequence[int]
    ) -> None:
        self.w, self.b, self.gamma, self.cells, self.levels = w, b, gamma, cells, tuple(levels)
        self.found = [c.find(x) for c in cells]
        self.count, self.d, self.tuples = len(x), x.shape[1], math.prod(levels)
        self.points = np.column_stack([np.ones(len(x)), sides, x])
        self.energy = float(group_sums(np.square(x).reshape(-1, 1), np.zeros(x.size, np.uint32), 1)[0, 0])

    def start(self, seed: int, stream: int) -> None:
        """One index for consecutive prototypes, as many for each for stream 0, cut at random for others; codewords for them.

        (Where prototypes begin with any index, tuples without points, of which there may be many, decide at random.)
        """
        self.maps, first = [], 0
        for cells, r in zip(self.cells, self.levels, strict=True):
            p = len(cells.prototypes)
            if stream == 0:
                self.maps.append((np.arange(p) * r // p).astype(np.uint32))
            else:
                words = random_bits(seed, stream, p, bits=32, first=first)
                cuts = np.sort(np.argsort(words[1:], kind="stable")[: r - 1]) + 1
                self.maps.append(np.searchsorted(cuts, np.arange(p), side="right").astype(np.uint32))
            first += p
        self.codewords: Floats | None = None
        self.trace = [self._decode()]

    def run(self, iterations: int, tolerance: float) -> Alternation:
        """Alternate until a round takes less than ``tolerance`` off the loss."""
        for _ in range(iterations):
            before = self.trace[-1]
            for i in range(len(self.cells)):
                self._encode(i)
            self.trace.append(self._decode())
            if before - self.trace[-1] < tolerance:
                break
        return self

    def copy(self) -> Alternation:
        """As it is now, whatever becomes of this one."""
        kept = copy(self)
        kept.maps, kept.trace = list(self.maps), list(self.trace)
        return kept

    def tuples_of(self, found: Sequence[Array]) -> NDArray[np.uint32]:
        """The number of the tuple of points in these cells."""
        total = np.zeros(len(found[0]), np.uint32)
        for cells, chosen, r in zip(found, self.maps, self.levels, strict=True):
            total = total * np.uint32(r) + chosen[cells]
        return total

    def sides(self, codewords: Floats) -> Floats:
        return np.where(self._distances(codewords) >= 0, 1.0, -1.0)

    def _distances(self, codewords: Floats) -> Floats:
        distances: Floats = products(codewords, self.w[:, None])[:, 0] + self.b
        return distances

    def _coefficients(self, codewords: Floats) -> Floats:
        """What the loss of points is in their number, sum of sides and sum, but for their energy: (codewords, d + 2)."""
        keep, side = 1 - self.gamma, self.sides(codewords)
        square = products(np.square(codewords), np.ones((self.d, 1)))[:, 0]
        return np.column_stack([keep * square + self.gamma / 2, -self.gamma / 2 * side, -2 * keep * codewords])

    def _encode(self, i: int) -> None:
        """Give each prototype of encoder i the index of the least loss; of equals, the one it has."""
        assert self.codewords is not None
        r, before, after = self.levels[i], math.prod(self.levels[:i]), math.prod(self.levels[i + 1 :])
        rest = np.zeros(self.count, np.uint32)
        for j, (cells, chosen) in enumerate(zip(self.found, self.maps, strict=True)):
            if j != i:
                rest = rest * np.uint32(self.levels[j]) + chosen[cells]
        table = self._coefficients(self.codewords).reshape(before, r, after, -1)
        matrices = np.ascontiguousarray(np.moveaxis(table, 1, 3)).reshape(before * after, -1, r)
        prototypes = len(self.cells[i].prototypes)
        groups = prototypes * before * after
        if groups <= self.count and groups * (self.d + 2) <= DENSE:
            sums = group_sums(self.points, self.found[i] * np.uint32(before * after) + rest, groups)
            number = np.arange(groups, dtype=np.uint32)
            costs = products(sums, matrices, number % np.uint32(before * after))
            cost = group_sums(costs, number // np.uint32(before * after), prototypes)
        else:
            cost = group_sums(products(self.points, matrices, rest), self.found[i], prototypes)
        best = cost.argmin(axis=1).astype(np.uint32)
        kept = cost[np.arange(prototypes), self.maps[i]] <= cost.min(axis=1)
        self.maps[i] = np.where(kept, self.maps[i], best)

    def _decode(self) -> float:
        """Give each tuple the best of the mean, the mean moved across the hyperplane, and the codeword it has; the loss."""
        sums = group_sums(self.points, self.tuples_of(self.found), self.tuples)
        used = sums[:, 0] > 0
        mean = np.divide(sums[:, 2:], sums[:, :1], out=self._fillers(), where=used[:, None])
        distance = self._distances(mean)
        across = mean - (distance + PUSH * np.where(distance == 0, 1, distance))[:, None] * self.w
        choices = [mean, across] if self.gamma else [mean]
        if self.codewords is not None:
            choices.append(self.codewords)
        losses = np.stack([self._losses(sums, c) for c in choices])
        best = losses.argmin(axis=0)
        best[~used] = 0
        self.codewords = np.stack(choices)[best, np.arange(self.tuples)]
        least = losses[best, np.arange(self.tuples)]
        return ((1 - self.gamma) * self.energy + float(np.add.accumulate(least)[-1])) / self.count

    def _losses(self, sums: Floats, codewords: Floats) -> Floats:
        """Of the points of each tuple, but for their energy."""
        c = self._coefficients(codewords)
        total = c[:, 0] * sums[:, 0]
        for j in range(1, c.shape[1]):
            total = total + c[:, j] * sums[:, j]
        return total

    def _fillers(self) -> Floats:
        """Codewords for tuples without points: the means that their indices have by themselves."""
        full = np.zeros((*self.levels, self.d))
        for i, (cells, r) in enumerate(zip(self.cells, self.levels, strict=True)):
            sums = group_sums(self.points, self.maps[i][self.found[i]], r)
            mean = sums[:, 2 + cells.columns] / np.maximum(sums[:, :1], 1)
            full[..., cells.columns] = mean.reshape(*(r if j == i else 1 for j in range(len(self.levels))), -1)
        return full.reshape(self.tuples, self.d)

"""Path following from sums of products (the Gram form), or from the rows themselves: the same codes, but for rounding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from evenbits._arrays import Array
from evenbits.path_following import Rounding, add_gram, multiply_add, recursion

BLOCK = 128
"""Columns between two updates of the rows' errors; with it bits would change."""


@dataclass(frozen=True)
class GramForm:
    """gram = Y^T Y and cross = X^T Y (None: X is Y), inputs x inputs."""

    gram: Array
    cross: Array | None
    portable: bool = True
    workers: int = 1
    name: ClassVar[str] = "gram"

    @property
    def diagonal(self) -> Array:
        return self.gram.diagonal()

    def ordered(self, order: Array) -> GramForm:
        """Columns in another order."""
        gram, cross = (None if s is None else np.ascontiguousarray(s[np.ix_(order, order)]) for s in (self.gram, self.cross))
        assert gram is not None
        return GramForm(gram, cross, self.portable, self.workers)

    def _product(self, a: Array, b: Array) -> Array:
        return multiply_add(a, b, np.zeros((len(a), b.shape[1])), portable=self.portable, workers=self.workers)

    def aligned(self, w: Array, live: Array, sweeps: int) -> Array:
        """Weights v with Y v near X w: sweeps of Gauss and Seidel from nothing, columns that are not live keeping theirs."""
        if self.cross is None:
            return w
        base = self._product(w, np.triu(self.cross))
        v, _ = recursion(np.where(live, 0.0, w), base, self.gram, live, workers=self.workers)
        if sweeps > 1:
            target, still = self._product(w, self.cross), np.zeros_like(w)
            for _ in range(sweeps - 1):
                v = v + recursion(still, target - self._product(v, self.gram), self.gram, live, workers=self.workers)[0]
        return v

    def codes(self, v: Array, live: Array, step: Array, rounding: Rounding, bits: Array | None) -> tuple[Array, Array]:
        """The integers that v is rounded to, and how many of every row were clamped."""
        return recursion(v, None, self.gram, live, step, rounding, bits, workers=self.workers)


@dataclass(frozen=True)
class SampleForm:
    """Rows x of the float network and y of the quantized one, float64 (the same array if they are the same)."""

    x: Array
    y: Array
    portable: bool = True
    workers: int = 1
    name: ClassVar[str] = "samples"

    @cached_property
    def blocks(self) -> list[tuple[slice, Array]]:
        """The blocks of columns, and Y^T Y within each."""
        out = []
        for begin in range(0, self.y.shape[1], BLOCK):
            part = slice(begin, min(begin + BLOCK, self.y.shape[1]))
            columns = np.ascontiguousarray(self.y[:, part])
            gram = np.zeros((columns.shape[1],) * 2)
            add_gram(columns, gram, portable=self.portable, workers=self.workers)
            out.append((part, gram))
        return out

    @cached_property
    def diagonal(self) -> Array:
        return np.concatenate([gram.diagonal() for _, gram in self.blocks])

    @cached_property
    def _turned(self) -> tuple[Array, Array]:
        y = np.ascontiguousarray(self.y.T)
        return (y if self.x is self.y else np.ascontiguousarray(self.x.T)), y

    def ordered(self, order: Array) -> SampleForm:
        """Columns in another order."""
        y = np.ascontiguousarray(self.y[:, order])
        return SampleForm(y if self.x is self.y else np.ascontiguousarray(self.x[:, order]), y, self.portable, self.workers)

    def _add(self, a: Array, b: Array, c: Array) -> Array:
        return multiply_add(a, b, c, portable=self.portable, workers=self.workers)

    def aligned(self, w: Array, live: Array, sweeps: int) -> Array:
        """Weights v with Y v near X w: sweeps of Gauss and Seidel from nothing, columns that are not live keeping theirs."""
        if self.x is self.y:
            return w
        x_rows, y_rows = self._turned
        v, error = np.empty_like(w), np.zeros((len(w), len(self.x)))
        for part, gram in self.blocks:
            own = np.ascontiguousarray(w[:, part])
            cross = self._add(x_rows[part], self.y[:, part], np.zeros(gram.shape))
            base = self._add(own, np.triu(cross), self._add(error, self.y[:, part], np.zeros(own.shape)))
            v[:, part] = found = recursion(np.where(live[part], 0.0, own), base, gram, live[part], workers=self.workers)[0]
            self._add(own, x_rows[part], error)
            self._add(-found, y_rows[part], error)
        for _ in range(sweeps - 1):
            for part, gram in self.blocks:
                base = self._add(error, self.y[:, part], np.zeros((len(w), len(gram))))
                change = recursion(np.zeros_like(base), base, gram, live[part], workers=self.workers)[0]
                v[:, part] += change
                self._add(-change, y_rows[part], error)
        return v

    def codes(self, v: Array, live: Array, step: Array, rounding: Rounding, bits: Array | None) -> tuple[Array, Array]:
        """The integers that v is rounded to, and how many of every row were clamped."""
        codes, clamped = np.empty(v.shape, np.int32), np.zeros(len(v), np.uint32)
        error = np.zeros((len(v), len(self.y)))
        for part, gram in self.blocks:
            own = np.ascontiguousarray(v[:, part])
            random = None if bits is None else np.ascontiguousarray(bits[:, part])
            base = self._add(error, self.y[:, part], np.zeros(own.shape)).astype(own.dtype)
            z = np.empty_like(own)
            codes[:, part], beyond = recursion(own, base, gram, live[part], step, rounding, random, error=z, workers=self.workers)
            clamped += beyond
            self._add(-z.astype(np.float64), self._turned[1][part], error)
        return codes, clamped


def least_maximum(w: Array, x: Array, y: Array, live: Array) -> Array:
    """The weights v of least maximum with Y v = X w, row by row: a linear program, by the HiGHS of scipy.

    Columns that are not live keep their weight. Raises ValueError where there are no such v: then X w is beyond what Y makes,
    which is so as a rule unless there are more inputs than rows.
    """
    try:
        from scipy.optimize import linprog
    except ModuleNotFoundError:
        raise ImportError("order='perfect' solves linear programs: install scipy") from None
    n, m = y.shape[1], y.shape[0]
    out = w.copy()
    free = np.flatnonzero(live)
    count = len(free)
    one, eye = np.ones((count, 1)), np.eye(count)
    below = np.block([[eye, -one], [-eye, -one]])
    equal = np.hstack([y[:, free], np.zeros((m, 1))])
    cost = np.append(np.zeros(count), 1.0)
    rest = np.setdiff1d(np.arange(n), free)
    for i, row in enumerate(w):
        target = x @ row - y[:, rest] @ row[rest]
        bounds = [(None, None)] * count + [(0, None)]
        found = linprog(cost, below, np.zeros(2 * count), equal, target, bounds, method="highs")
        if found.x is None:
            raise ValueError(
                f"order is 'perfect', and no weights have the outputs of row {i} on {m} quantized rows of {n} inputs "
                f"({found.message.strip()}); take fewer rows, or a number of sweeps"
            )
        out[i, free] = found.x[:-1]
    return out

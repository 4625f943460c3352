"""What the columns of a layer become one after the other, each with what those before it have become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evenbits._arrays import Array
from evenbits.path_following import Calibration, multiply_add, recursion
from evenbits.quantizers.error_feedback import damped, factors

BLOCK = 64
"""Columns between two updates of all that are still to come; no bit depends on it."""


@dataclass(frozen=True)
class Group:
    """Inputs in the order in which they are coded: H = M D M^T, their damped Gram matrix in the quantized network."""

    m: Array
    d: Array
    change: Array | None
    """X^T Y - Y^T Y, where the full network's inputs X are others."""

    @classmethod
    def of(cls, data: Calibration, damping: float, order: Array) -> Group:
        def placed(sums: Array) -> Array:
            return np.ascontiguousarray(sums[np.ix_(order, order)])

        m, d = factors(placed(damped(data.gram, damping)), portable=data.portable)
        return cls(m, d, None if data.cross is None else placed(data.cross - data.gram))

    def aligned(self, w: Array, portable: bool, workers: int) -> Array:
        """Weights (neurons, inputs) whose outputs on Y are nearest to those of w on X: w + w (X^T Y - Y^T Y) H^-1."""
        if self.change is None:
            return w
        base = multiply_add(w, self.change, np.zeros(w.shape), portable=portable, workers=workers)
        still, live = np.zeros_like(w), np.ones(w.shape[1], bool)
        turned = np.ascontiguousarray(self.m[::-1, ::-1].T)
        scaled, _ = recursion(still, np.ascontiguousarray(base[:, ::-1]), turned, live, workers=workers)
        solved, _ = recursion(still, np.ascontiguousarray(scaled[:, ::-1]) / self.d, self.m, live, workers=workers)
        return np.asarray(w + solved)


class Columns:
    """The columns of weights (neurons, inputs), float64, of which as many neurons belong to every one of some groups.

    columns: "natural", or by falling "norm" of what the inputs are.
    """

    def __init__(self, w: Array, groups: Sequence[Calibration], damping: float, columns: str, workers: int) -> None:
        self.portable, self.workers = all(data.portable for data in groups), workers
        size = np.add.accumulate([data.gram.diagonal() for data in groups])[-1]
        self.order = np.argsort(-size, kind="stable") if columns == "norm" else np.arange(len(size))
        self.groups = [Group.of(data, damping, self.order) for data in groups]
        own = np.split(np.ascontiguousarray(w[:, self.order]), len(groups))
        aligned = [group.aligned(part, self.portable, workers) for group, part in zip(self.groups, own, strict=True)]
        self.targets = [np.ascontiguousarray(part.T) for part in aligned]

    def follow(self, code: Callable[[int, Array], Array]) -> None:
        """Call ``code`` with every column's number and what it should become; it returns what it has become."""
        left, n = [part.copy() for part in self.targets], len(self.order)
        errors = [np.zeros_like(part) for part in left]
        each = list(zip(self.groups, self.targets, left, errors, strict=True))
        for begin in range(0, n, BLOCK):
            end = min(begin + BLOCK, n)
            for t in range(begin, end):
                if t > begin:
                    for group, _, rest, error in each:
                        self._add(group.m[begin:t, t : t + 1].T, error[begin:t], rest[t : t + 1])
                found = np.split(code(int(self.order[t]), np.concatenate([rest[t] for rest in left])), len(each))
                for (_, target, _, error), q in zip(each, found, strict=True):
                    error[t] = target[t] - q
            if end < n:
                for group, _, rest, error in each:
                    self._add(group.m[begin:end, end:].T, error[begin:end], rest[end:])

    def _add(self, a: Array, b: Array, c: Array) -> None:
        multiply_add(a, b, c, portable=self.portable, workers=self.workers)

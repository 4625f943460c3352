"""Rows cut into groups: sums over them, and parameters that a group's elements share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core
from evenbits._arrays import Array, as_floats, integer, require_finite

PLAIN = 2**24
"""Python's numbers up to here become floats without ado: integers exactly, all of them finite. A shorter way."""


def dot(x: Array, y: Array, group: int | None = None, *, workers: int = 1) -> Array:
    """Sums of x * y over the groups of every row, in doubles: (rows, groups); or over the rows: (rows,)."""
    n = x.shape[1]
    out = np.empty((len(x), 1 if group is None else -(-n // group)))
    _core.dot(np.ascontiguousarray(x), np.ascontiguousarray(y), n, n if group is None else group, out, workers)
    return out[:, 0] if group is None else out


class Groups:
    """The last axis of ``shape`` in groups of ``group`` elements, the last of which may be shorter; None: rows."""

    def __init__(self, shape: tuple[int, ...], group: Any) -> None:
        self.n = shape[-1] if shape else 1
        self.size = self.n if group is None else min(self.n, integer(group, "group", 1, 2**63 - 1))
        self.shape = shape[:-1] if group is None else (*shape[:-1], -(-self.n // max(1, self.size)))

    def parameter(self, value: ArrayLike | Any, name: str, dtype: type[np.floating[Any]]) -> Array:
        """One finite number for each group, from a scalar or an array that broadcasts to ``self.shape``."""
        if (type(value) is float or type(value) is int) and -PLAIN <= value <= PLAIN:
            same = np.empty(self.shape, dtype)
            same.fill(value)
            return same
        a = as_floats(value, name, double=dtype is np.float64).astype(dtype, copy=False)
        require_finite(a, name)
        if a.shape == self.shape:
            return a
        try:
            return np.ascontiguousarray(np.broadcast_to(a, self.shape))
        except ValueError:
            raise ValueError(
                f"{name} has shape {a.shape}, which doesn't broadcast to {self.shape}: one number for each group"
            ) from None

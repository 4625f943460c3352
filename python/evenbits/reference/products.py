"""Products with coded matrices, in the kernels' order of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def product(
    x: NDArray[Any], weights: NDArray[Any], scale: NDArray[Any], group: int, zero: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """x (columns, n) times rows of levels (rows, n) with a scale and a zero for each group of each row, in float32.

    An octet, eight elements from a multiple of 8 on or those of them in one group, is summed from its first to its last
    element; times the scale it goes to total (j / 8) mod 16, j its first; totals are halved together.
    """
    x, w = x.astype(np.float32), weights.astype(np.float32)
    columns, n = x.shape
    of = np.arange(n) // group
    if zero is not None:
        w = w - zero.astype(np.float32)[:, of]
    totals = np.zeros((16, columns, len(w)), np.float32)
    j = 0
    while j < n:
        stop = min(j - j % 8 + 8, (of[j] + 1) * group, n)
        octet = w[:, j] * x[:, j, None]
        for k in range(j + 1, stop):
            octet = octet + w[:, k] * x[:, k, None]
        totals[j // 8 % 16] += scale.astype(np.float32)[:, of[j]] * octet
        j = stop
    for half in (8, 4, 2, 1):
        totals = totals[:half] + totals[half:]
    y: NDArray[np.float32] = totals[0]
    return y


def product_bytes(
    x: NDArray[Any],
    units: NDArray[Any],
    center: float,
    step: float,
    scale: NDArray[Any],
    group: int,
    zero: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """The same for columns rounded to 8 bits, a cell of them to its largest magnitude / 127, and rows of whole units.

    Cells hold 32 elements, or 8 if groups are several and no multiples of 32. A cell adds, where an octet does above, scale *
    (its own scale * (sum of unit * q - center * sum of q)).
    """
    f = np.float32
    (columns, n), rows = x.shape, len(units)
    cell = 32 if group % 32 == 0 or group >= n else 8
    length = -(-n // cell) * cell
    cells, coded = np.zeros((columns, length), f), np.zeros((rows, length), np.int64)
    cells[:, :n], coded[:, :n] = x, units
    cells, coded = cells.reshape(columns, -1, cell), coded.reshape(rows, -1, cell)
    most = np.abs(cells).max(axis=-1)
    counts = most >= 2.0**-100
    inverse = np.divide(f(127), most, out=np.zeros_like(most), where=counts)
    q, sizes = np.rint(cells * inverse[..., None]).astype(np.int64), np.where(counts, most / f(127), f(0))
    totals = np.zeros((16, columns, rows), f)
    for o in range(q.shape[1]):
        g = cell * o // group
        middle = zero[:, g].astype(f) if zero is not None else np.full(rows, center, f)
        whole = (q[:, o] @ coded[:, o].T).astype(f) - middle * q[:, o].sum(axis=-1).astype(f)[:, None]
        totals[o % 16] += scale[:, g].astype(f) * (sizes[:, o, None] * whole)
    for half in (8, 4, 2, 1):
        totals = totals[:half] + totals[half:]
    y: NDArray[np.float32] = totals[0] * f(step)
    return y

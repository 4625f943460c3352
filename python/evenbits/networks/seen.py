"""What a layer sees of the calibration data: sums of products, means, and a few rows that are held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from evenbits._arrays import Array, as_array
from evenbits.networks.graph import Pair
from evenbits.networks.layers import Layer
from evenbits.path_following import Calibration, multiply_add
from evenbits.random import random_subset

SEARCHED = 512
"""About so many of the rows held out choose the step; the error is measured on all of them."""


class Seen:
    """A ``Calibration`` for every group of inputs, and what errors of the layer are measured by.

    Of ``rows`` rows in all, every batch gives an equal share, drawn at random; those of every ``hold``-th batch are held out.
    portable: as of a ``Calibration``; means are in one order anyway. same: whether the rows are the same on every machine.
    """

    def __init__(
        self,
        layer: Layer,
        pairs: Iterator[Pair],
        batches: int,
        *,
        rows: int,
        hold: int,
        seed: int,
        stream: int,
        portable: bool = True,
        same: bool = True,
        workers: int = 1,
    ) -> None:
        self.layer, self.portable, self.same = layer, portable, same
        groups, _, inputs = layer.grouped.shape
        self.groups = [Calibration(inputs, held_out=0, portable=portable) for _ in range(groups)]
        self.count, self.energy = 0, 0.0
        self.sums = np.zeros((2, groups, inputs))
        self.held: list[tuple[Array, Array]] = []
        share = -(-rows // batches)
        weights = layer.grouped.astype(np.float64).swapaxes(1, 2)
        for number, pair in enumerate(pairs):

            def pick(count: int, number: int = number) -> Array | None:
                if count <= share:
                    return None
                return random_subset(seed, stream * 2**20 + number, count, share).astype(np.int64)

            x = layer.rows(_values(pair[0], layer.name), pick)
            y = x if pair[0] is pair[1] else layer.rows(_values(pair[1], layer.name), pick)
            if hold and number % hold == hold - 1:
                self.held.append((x, y))
                few = -(-SEARCHED * hold // max(batches, 1))
                for i, group in enumerate(self.groups):
                    group.hold_out(x[i, :few], None if y is x else y[i, :few])
                continue
            for i, group in enumerate(self.groups):
                group.update(x[i], None if y is x else y[i], workers=workers)
            self.count += x.shape[1]
            self.energy += float(((x @ weights) ** 2).sum())
            for sums, values in zip(self.sums, (x, y), strict=True):
                for i, own in enumerate(values):
                    multiply_add(np.ones((1, len(own)), own.dtype), own, sums[i : i + 1], workers=workers)

    def error(self, matrix: Array) -> float:
        """|X W^T - Y Q^T| / |X W^T| over the calibration rows, Q in the shape of the layer's matrix."""
        w, left = self.layer.grouped.astype(np.float64), self.energy
        q = matrix.reshape(w.shape).astype(np.float64)
        for i, group in enumerate(self.groups):
            cross = group.gram if group.cross is None else group.cross
            left += float((q[i] * (q[i] @ group.gram - 2 * (w[i] @ cross))).sum())
        return _ratio(left, self.energy)

    def held_out_error(self, matrix: Array) -> float | None:
        """The same over the rows that were held out, or None if there are none."""
        if not self.held:
            return None
        w = self.layer.grouped.astype(np.float64).swapaxes(1, 2)
        q = matrix.reshape(self.layer.grouped.shape).astype(np.float64).swapaxes(1, 2)
        energy = left = 0.0
        for x, y in self.held:
            full = x @ w
            energy += float((full**2).sum())
            left += float(((full - y @ q) ** 2).sum())
        return _ratio(left, energy)

    def shift(self, matrix: Array) -> Array:
        """By how much the mean of every neuron's output has moved: what is to be added to its bias."""
        if not self.count:
            return np.zeros(len(matrix))
        w, full, few = self.layer.grouped, *(self.sums / self.count)
        q = matrix.reshape(w.shape)
        moved: Array = np.add.accumulate(w * full[:, None] - q * few[:, None], axis=2)[:, :, -1]
        return moved.reshape(-1)


def _ratio(left: float, energy: float) -> float:
    return float(np.sqrt(max(left, 0.0) / energy)) if energy > 0 else (0.0 if left <= 0 else float("inf"))


def _values(value: Any, name: str) -> Array:
    x = as_array(value, f"the input of {name}")
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError(f"the input of {name} holds NaN or infinity; look at the calibration data and the layers before it")
    return x

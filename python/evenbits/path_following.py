"""The recursions of path-following quantization, and what they need to know of the data a layer sees.

A row w of weights becomes q column by column, so that the error on the data so far, u = sum_s (w_s X_s - q_s Y_s), is made up
for by the next column: q_t is what w_t + <Y_t, u> / |Y_t|^2 is rounded to. X is what the layer sees in the float network, Y in
the quantized one. All of it follows from the sums of products Y^T Y and X^T Y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evenbits import _core
from evenbits._arrays import Array, as_array, as_floats, integer, require_finite, workers_of

__all__ = ["Calibration", "Rounding", "StoredRows", "add_gram", "multiply_add", "recursion"]

UNBOUNDED = 2**30


@dataclass(frozen=True)
class Rounding:
    """What the numbers of a recursion become: (k + offset) step for the integer k, low <= k <= high, that is nearest.

    Ties go up. shrink: numbers come nearer to 0 first, by so much. gap > 0: the levels are 0 and +-(gap + |k| - 1) step, and
    those above gap steps go to the nearest that is not 0.
    """

    low: int = -UNBOUNDED
    high: int = UNBOUNDED
    offset: float = 0.0
    shrink: float = 0.0
    gap: float = 0.0

    def apply(self, a: Array, step: Array, bits: Array | None = None) -> tuple[Array, Array, Array]:
        """Integers k, the numbers they stand for, and whether they had to be clamped. bits: uint16 that decide at random."""
        if self.shrink:
            a = np.copysign(np.maximum(np.abs(a) - self.shrink, 0), a)
        y = a / step - self.offset
        if self.gap:
            size = np.minimum(np.abs(y) - self.gap, self.high)
            k = np.where(size > 0, np.floor(size + 0.5) + 1, 0)
            clamped, k = k > self.high, np.minimum(k, self.high)
            return np.copysign(k, y), np.copysign(np.where(k > 0, self.gap - 1 + k, 0) * step, y), clamped
        y = np.clip(y, self.low - 1, self.high + 1)
        k = np.floor(y if bits is not None else y + 0.5)
        if bits is not None:
            k = k + (bits + 0.5 < (y - k) * 65536)
        clamped = (k < self.low) | (k > self.high)
        k = np.clip(k, self.low, self.high)
        return k, (k + self.offset) * step, clamped


class Calibration:
    """Sums of products of what a layer sees, batch by batch: rows are not stored, memory is some ``inputs`` x ``inputs`` numbers.

    held_out: every so many-th row (default 8, from the 8th) up to ``kept`` of them (default 128) is left out of the sums and
    kept, to measure errors on; 0: none. As many of the others are kept as well, the first ones. portable: sums in one order, the
    same on every machine and for every way to cut rows into batches; False leaves them to BLAS.
    """

    def __init__(self, inputs: int | None = None, *, held_out: int = 8, kept: int = 128, portable: bool = True) -> None:
        self.inputs = None if inputs is None else integer(inputs, "inputs", 1, 2**24)
        self.held_out, self.kept = integer(held_out, "held_out", 0, 2**30), integer(kept, "kept", 1, 2**20)
        if self.held_out == 1:
            raise ValueError("held_out is 1, which leaves no row to calibrate with; take 2 or more, or 0")
        self.portable = bool(portable)
        self.rows = 0
        """Rows that the sums are made of."""
        self._seen = 0
        self.gram: Array = np.zeros((0, 0))
        """Y^T Y, float64."""
        self.cross: Array | None = None
        """X^T Y, or None as long as Y is X."""
        self._samples: dict[str, list[tuple[Array, Array]]] = {"calibration": [], "fresh": []}
        self._stored: list[tuple[Array, Array]] = []

    def update(self, x: ArrayLike, quantized: ArrayLike | None = None, *, workers: int = 1) -> Calibration:
        """Add rows: x (..., inputs) of the float network, ``quantized`` of the same shape of the quantized one (default: x)."""
        threads = workers_of(workers)
        first, second = self._rows(x, "x", threads), None
        if quantized is not None:
            second = self._rows(quantized, "quantized", threads)
            if second.shape != first.shape:
                raise ValueError(f"quantized has {len(second)} rows of {second.shape[1]} and x {len(first)} of {first.shape[1]}")
            if second is first:
                second = None
            elif second.dtype != first.dtype:
                first, second = first.astype(np.float64), second.astype(np.float64)
        if self.inputs is None:
            self.inputs = first.shape[1]
        index = np.arange(self._seen, self._seen + len(first))
        self._seen += len(first)
        if self.held_out:
            out = np.flatnonzero(index % self.held_out == self.held_out - 1)[: self.kept - self._count("fresh")]
            self._keep("fresh", first, second, out)
            rest = np.delete(np.arange(len(first)), out)
            if out.size:
                first = np.ascontiguousarray(first[rest])
                second = None if second is None else np.ascontiguousarray(second[rest])
        self._keep("calibration", first, second, np.arange(min(len(first), self.kept - self._count("calibration"))))
        self._add(first, second, threads)
        return self

    def hold_out(self, x: ArrayLike, quantized: ArrayLike | None = None) -> Calibration:
        """Rows to measure errors on, besides those that ``held_out`` says."""
        first = self._rows(x, "x", 1)
        second = None if quantized is None else self._rows(quantized, "quantized", 1)
        self._keep("fresh", first, second, np.arange(len(first)))
        return self

    def samples(self, which: str) -> tuple[Array, Array]:
        """The kept rows of both networks, float64: "calibration" or "fresh"."""
        pairs = self._samples[which]
        if not pairs:
            empty = np.zeros((0, self.inputs or 0))
            return empty, empty
        return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])

    def _rows(self, x: ArrayLike, name: str, workers: int) -> Array:
        a = as_floats(as_array(x, name), name)
        if a.ndim == 0 or (self.inputs is not None and a.shape[-1] != self.inputs) or a.shape[-1] == 0:
            raise ValueError(f"{name} has shape {a.shape}; its last axis must be the {self.inputs or 'layer'}'s inputs")
        require_finite(a, name, workers)
        return a.reshape(-1, a.shape[-1])

    def _count(self, which: str) -> int:
        return sum(len(x) for x, _ in self._samples[which])

    def _keep(self, which: str, x: Array, y: Array | None, rows: Array) -> None:
        if rows.size:
            kept = x[rows].astype(np.float64)
            self._samples[which].append((kept, kept if y is None else y[rows].astype(np.float64)))

    def _add(self, x: Array, y: Array | None, workers: int) -> None:
        self.rows += len(x)
        if not self.gram.size:
            self.gram = np.zeros((x.shape[1], x.shape[1]))
        if y is not None and self.cross is None:
            self.cross = self.gram.copy()
        second = x if y is None else y
        add_gram(second, self.gram, portable=self.portable, workers=workers)
        if self.cross is not None:
            multiply_add(x.T, second, self.cross, portable=self.portable, workers=workers)
        if not np.isfinite(self.gram).all():
            raise ValueError("x is too large: sums of products overflow; scale it")


class StoredRows(Calibration):
    """Calibration data whose rows are kept, for few rows of many inputs. Otherwise as ``Calibration``."""

    def stored(self) -> tuple[Array, Array]:
        """All rows of both networks, float64, but for those held out; the same array if they are the same."""
        if not self._stored:
            empty = np.zeros((0, self.inputs or 0))
            return empty, empty
        x = np.concatenate([x for x, _ in self._stored])
        same = all(x is y for x, y in self._stored)
        return x, x if same else np.concatenate([y for _, y in self._stored])

    def _add(self, x: Array, y: Array | None, workers: int) -> None:
        self.rows += len(x)
        kept = x.astype(np.float64)
        self._stored.append((kept, kept if y is None else y.astype(np.float64)))


def add_gram(x: Array, sums: Array, *, portable: bool = True, workers: int = 1) -> None:
    """sums += x^T x, as ``multiply_add``, in half the time."""
    if portable:
        _core.add_gram(x, sums, workers)
    else:
        multiply_add(x.T, x, sums, portable=False)


def multiply_add(a: Array, b: Array, c: Array, *, portable: bool = True, workers: int = 1) -> Array:
    """c += a b, in float64, in place, for matrices of float32 or of float64; c is C-contiguous.

    The products of an element are added one after the other, in the same order on every machine, unless ``portable`` is false.
    """
    if portable:
        _core.multiply_add(a, b, c, workers)
    else:
        c += a.astype(np.float64) @ b.astype(np.float64)
    return c


def recursion(
    w: Array,
    base: Array | None,
    gram: Array,
    live: Array,
    step: Array | None = None,
    rounding: Rounding | None = None,
    bits: Array | None = None,
    *,
    error: Array | None = None,
    workers: int = 1,
) -> tuple[Array, Array]:
    """For all columns t in order: v = base_t - sum_{s<t} z_s H_st, a = w_t + v / H_tt (w_t where t is not live), z_t = q_t - w_t.

    With ``rounding``, q_t is what a is rounded to, by ``bits`` (uint16, as w) at random; returns the integers (int32) and how
    many of every row had to be clamped. Without, q_t and z_t are a; returns them. w, base: (rows, n) of float64, or of float32
    and everything is; gram (n, n) float64, live (n,), step (rows,). z goes to ``error`` as well, if it is given.
    """
    rows, n = w.shape
    kind = w.dtype.type
    pivot = np.where(live, gram.diagonal(), 0).astype(kind)
    clamped = np.zeros(rows, np.uint32)
    if rounding is None:
        z = np.empty((rows, n), kind)
        _core.follow_path(w, base, gram, pivot, None, None, 0.0, 0.0, 0.0, 0.0, 0.0, None, z, None, workers)
        return z, clamped
    assert step is not None
    most = 2**20 if kind is np.float32 else UNBOUNDED
    r = float(max(rounding.low, -most)), float(min(rounding.high, most)), rounding.offset, rounding.shrink, rounding.gap
    codes = np.empty((rows, n), np.int32)
    steps = np.ascontiguousarray(step, kind)
    _core.follow_path(w, base, gram, pivot, steps, bits, *r, codes, error, clamped, workers)
    return codes, clamped

"""One layer on its way to codes by path following: columns, steps, and which error came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evenbits._arrays import LARGEST, Array, bfloat16_bits
from evenbits._chunks import CHUNK
from evenbits.encoded import stored_scales
from evenbits.path_following import Calibration, Rounding, StoredRows, multiply_add
from evenbits.quantizers.path_forms import GramForm, SampleForm, least_maximum
from evenbits.random import random_bits
from evenbits.rounding import rounding_error
from evenbits.spec import DITHER

if TYPE_CHECKING:
    from evenbits.quantizers.path_following import PathFollowing

CLIPS = tuple(i / 16 for i in range(4, 25))
"""What ``clip="search"`` tries."""
TRIED = 64
"""Steps that ``radius="optimal"`` tries."""
SAMPLE = 1 << 14
"""Weights that it looks at, evenly spaced: about so many, and 1024 of each row where rows have their own."""
PARTS = 256
"""``threshold`` of the hard variant is a multiple of step / PARTS, so that all levels are float32 numbers."""


@dataclass(frozen=True)
class Found:
    """Integers, steps of the rows, what they mean, and how many had to be clamped."""

    codes: Array
    step: Array
    rounding: Rounding
    saturated: int

    def values(self, rows: slice) -> Array:
        """What the codes of some rows decode to."""
        return values_of(self.codes[rows], self.rounding) * self.step[rows, None]


class Layer:
    """Weights w (neurons, inputs), float64, and the data they meet."""

    def __init__(self, quantizer: PathFollowing, w: Array, data: Calibration, workers: int) -> None:
        self.q, self.w, self.data, self.workers = quantizer, w, data, workers
        self.portable = quantizer.portable and data.portable
        self.form: GramForm | SampleForm
        if isinstance(data, StoredRows):
            self.form = SampleForm(*data.stored(), self.portable, workers)
        else:
            self.form = GramForm(data.gram, data.cross, self.portable, workers)
        diagonal = self.form.diagonal
        self.order = None
        if quantizer.columns == "norm":
            self.order = np.argsort(-diagonal, kind="stable")
            self.form, diagonal = self.form.ordered(self.order), diagonal[self.order]
        mean = in_order(diagonal) / max(len(diagonal), 1)
        self.live = (diagonal > 0) & (diagonal >= quantizer.dead * mean)
        own = self._columns(w)
        if isinstance(quantizer.order, str):
            assert isinstance(self.form, SampleForm)
            self.aligned = least_maximum(own, self.form.x, self.form.y, self.live)
        else:
            self.aligned = self.form.aligned(own, self.live, quantizer.order)
        self._targets: dict[str, tuple[Array, float, float]] = {}

    def _columns(self, w: Array) -> Array:
        return w if self.order is None else np.ascontiguousarray(w[:, self.order])

    def choose(self) -> Found:
        """The codes; with clip="search", those of least error."""
        q = self.q
        if q.step is not None or not isinstance(q.clip, str):
            return self._codes(1.0 if isinstance(q.clip, str) else q.clip)
        which = "fresh" if len(self.data.samples("fresh")[0]) else "calibration"
        best, least = None, math.inf
        clips = CLIPS
        if q.sparsity == "hard":
            clips = tuple(clip for clip in CLIPS if clip * self._radius().min(initial=math.inf) > q.threshold) or CLIPS
        for clip in clips:
            found = self._codes(clip)
            error = self.error(found.values, which)
            if error is not None and error < least:
                best, least = found, error
        return best or self._codes(1.0)

    def _codes(self, clip: float) -> Found:
        q = self.q
        step, rounding = self._step(clip)
        bits = None
        if q.rounding == "stochastic":
            rows, n = self.w.shape
            bits = self._columns(random_bits(q.seed, q.stream + DITHER, rows * n).reshape(rows, n))
        kind = np.dtype(q.precision)
        if kind == np.float32 and max(self.form.diagonal.max(initial=0), np.abs(self.aligned).max(initial=0)) > 2.0**100:
            raise ValueError("precision is 'float32', which can't hold sums over data or weights of this size; take 'float64'")
        codes, clamped = self.form.codes(self.aligned.astype(kind), self.live, step.astype(kind), rounding, bits)
        if self.order is not None:
            restored = np.empty_like(codes)
            restored[:, self.order] = codes
            codes = restored
        return Found(codes, step, rounding, int(clamped.sum(dtype=np.int64)))

    def _step(self, clip: float) -> tuple[Array, Rounding]:
        """Steps, such that every level is a float32 number, and the rounding."""
        q, rows = self.q, len(self.w)
        if q.alphabet == "infinite":
            assert q.step is not None
            rounding = Rounding()
            top = 2 * int(min(np.abs(self.w).max(initial=0) / q.step.min(), 2**14)) + 32  # as far as codes are likely to go
        else:
            top, rounding = q.levels // 2, q.levels_around_zero
        if q.sparsity == "soft":
            rounding = replace(rounding, shrink=q.threshold)
        if q.step is not None:
            if q.step.size not in (1, rows):
                raise ValueError(f"step has {q.step.size} entries, and the weights have {rows} rows")
            step = np.broadcast_to(q.step, rows).astype(np.float64)
        elif q.sparsity == "hard":
            radius = clip * self._radius()
            if radius.min(initial=math.inf) <= q.threshold:
                raise ValueError(f"threshold is {q.threshold}, and the greatest level {radius.min():g}; it must be below that")
            step = (radius - q.threshold) / (top - 1)
        else:
            step = clip * self._radius() / top
        if q.sparsity == "hard" and rows:
            gap = max(float(np.rint(q.threshold / step[0] * PARTS)), 1.0) / PARTS
            rounding = replace(rounding, gap=gap)
            return short_steps(step, q.scale_dtype, int((gap + top) * PARTS).bit_length()), rounding
        return short_steps(step, q.scale_dtype, top.bit_length() + (q.alphabet == "mid_rise")), rounding

    def _radius(self) -> Array:
        """The greatest magnitude that the alphabet is to reach, of every row."""
        q = self.q
        w = self.aligned if q.radius_of == "aligned" else self.w
        if q.group:
            return radius_of_rows(q, w)
        if q.radius != "mean_maximum":
            return np.broadcast_to(radius_of_rows(q, w.reshape(1, -1)), len(w))
        own = radius_of_rows(q, w)
        return np.broadcast_to(in_order(own) / max(len(own), 1), len(w))

    def errors(self, found: Found) -> Iterator[float | None]:
        """Of the codes and of nearest rounding with the same steps, on calibration rows and on rows held out."""

        def nearest(rows: slice) -> Array:
            return found.rounding.apply(self.w[rows], found.step[rows, None])[1]

        for which in ("calibration", "fresh"):
            for values in (found.values, nearest):
                yield self.error(values, which)

    def error(self, values: Callable[[slice], Array], which: str) -> float | None:
        """|X W^T - Y Q^T| / |X W^T| on kept rows, for the values of some rows of Q."""
        x, y = self.data.samples(which)
        if not x.size or not self.w.size:
            return None
        if which not in self._targets:
            target = self._outputs(np.ascontiguousarray(x.T), self.w)
            scale = math.ldexp(1.0, -int(np.frexp(np.abs(target).max())[1]))  # squares stay within range
            self._targets[which] = target, in_order(energies(target * scale)), scale
        target, norm, scale = self._targets[which]
        turned, left, step = np.ascontiguousarray(y.T), np.empty(len(self.w)), max(1, CHUNK // self.w.shape[1])
        for begin in range(0, len(self.w), step):
            rows = slice(begin, begin + step)
            left[rows] = energies((target[rows] - self._outputs(turned, values(rows))) * scale)
        return math.sqrt(in_order(left) / norm) if norm > 0 else 0.0

    def _outputs(self, turned: Array, w: Array) -> Array:
        return multiply_add(w, turned, np.zeros((len(w), turned.shape[1])), portable=self.portable, workers=self.workers)


def radius_of_rows(quantizer: PathFollowing, w: Array) -> Array:
    """By the quantizer's rule, from the weights of each row alone."""
    if quantizer.radius != "optimal":
        return quantile_of(np.abs(w), {"median": 0.5, "maximum": 1.0}.get(quantizer.radius, quantizer.quantile))
    if not w.size:
        return np.zeros(len(w))
    count = quantizer.levels
    peak, half = np.maximum(w.max(axis=1), -w.min(axis=1)), count // 2
    part = w[:, :: -(-w.size // (SAMPLE * max(1, len(w) // 16)))]
    part = np.divide(part, peak[:, None], out=np.zeros(part.shape), where=peak[:, None] > 0)
    zero = half - 0.5 if quantizer.alphabet == "mid_rise" else half
    best, least = np.zeros(len(w)), np.full(len(w), np.inf)
    for i in range(TRIED, 0, -1):
        step = np.full(len(w), i / TRIED / half)
        error = rounding_error(part, scale=1 / step, zero=zero, step=step, top=count - 1)
        better = error < least
        best[better], least[better] = i / TRIED, error[better]
    return np.asarray(best * peak)


def values_of(k: Array, rounding: Rounding) -> Array:
    """What integers stand for, in steps."""
    if rounding.gap:
        return np.sign(k) * np.where(k == 0, 0, rounding.gap - 1 + np.abs(k))
    return np.asarray(k + rounding.offset)


def energies(rows: Array) -> Array:
    """The sums of squares of rows."""
    return np.asarray(np.add.accumulate(rows * rows, axis=1)[:, -1])


def in_order(values: Array) -> float:
    """The sum, one after the other on every machine."""
    return float(np.add.accumulate(values)[-1]) if values.size else 0.0


def quantile_of(size: Array, p: float) -> Array:
    """Of every row, between the two nearest order statistics."""
    n = size.shape[1]
    if n == 0:
        return np.zeros(len(size))
    if p == 1:
        return np.asarray(size.max(axis=1))
    place = p * (n - 1)
    below = min(int(place), n - 1)
    above = min(below + 1, n - 1)
    ordered = np.partition(size, (below, above), axis=1)
    low = ordered[:, below]
    return np.asarray(low + (ordered[:, above] - low) * (place - below))


def short_steps(step: Array, dtype: str, digits: int) -> Array:
    """Steps of so few bits that ``dtype`` holds them, and float32 their products with numbers of ``digits`` bits; none is 0.

    Rows whose steps are below 2^-60 of the greatest, as those of channels that training has given up, may become 0.
    """
    bits = max(1, min({"float16": 11, "bfloat16": 8}.get(dtype, 24), 24 - digits))
    mantissa, exponent = np.frexp(step)
    short = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    least = {"float16": 2.0**-14}.get(dtype, 2.0**-100)
    over = short > LARGEST[dtype]
    if over.any():
        raise ValueError(f"scale_dtype is {dtype!r}, which can't hold a step of {step[over][0]:.3g}; take a wider one")
    lost = (short < least) & (short > short.max(initial=0) * 2.0**-60)
    if lost.any():
        raise ValueError(f"scale_dtype is {dtype!r}, and a step is {short[lost].min():.3g}; scale the weights")
    return np.asarray(np.maximum(short, least))


def stored(step: Array, dtype: str) -> Array:
    """Short steps in their dtype."""
    out = bfloat16_bits(step.astype(np.float32)) if dtype == "bfloat16" else step.astype(dtype)
    assert (stored_scales(out, dtype).astype(np.float64) == step).all()
    return out

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import LARGEST, Array, as_array, as_floats, bfloat16_bits, integer, real, require_finite, workers_of
from evenbits.encoded import Encoded, as_matrix, stored_scales
from evenbits.packing import Radix, pack, pack_radix, radix_block
from evenbits.path_following import Calibration, Rounding, multiply_add, recursion
from evenbits.quantizers.base import ROUNDINGS, NoSuchRateError, Quantizer, choice, plain_codes, stored_dtype
from evenbits.random import random_bits
from evenbits.spec import DITHER, Spec

ALPHABETS = ("symmetric", "mid_tread", "twos_complement", "mid_rise", "infinite")
RADII = ("mean_maximum", "maximum", "median")
CLIPS = tuple(i / 16 for i in range(4, 25))
"""What ``clip="search"`` tries."""
PARTS = 256
"""``threshold`` of the hard variant is a multiple of step / PARTS, so that all levels are float32 numbers."""


@dataclass(frozen=True)
class PathReport:
    """What came of a layer. Errors are |X W^T - Y Q^T| / |X W^T| on kept rows (None without such rows): of the codes, and of
    plain nearest rounding with the same steps."""

    levels: int
    """Of the alphabet; codes take log2 of it or a little more."""
    step: float
    """The greatest, where every row has its own."""
    saturated: int
    """Numbers beyond the alphabet: none of the guarantees hold for their rows."""
    ignored: int
    """Columns so small in the data that they make up for nothing."""
    rows: int
    """Of calibration data."""
    calibration_error: float | None
    nearest_calibration_error: float | None
    fresh_error: float | None
    nearest_fresh_error: float | None


@dataclass(frozen=True, eq=False)
class PathEncoded(Encoded):
    """An ``Encoded`` with the report on how it came about, which is not stored."""

    report: PathReport = field(repr=False)


class PathFollowing(Quantizer):
    """Codes chosen so that outputs on calibration data stay what they were: each column makes up for those before it.

    Of a layer W (neurons x inputs) with data X: q_t is what w_t + <X_t, u> / |X_t|^2 is rounded to, u the error of the columns
    before it. ``rounding="nearest"`` is GPFQ, "stochastic" SPFQ, whose weights are unbiased.
    alphabet: "symmetric" (default: 2^bits - 1 levels), "mid_tread" (2^bits + 1, the one that papers call ``bits`` bits),
    "twos_complement" or "mid_rise" (2^bits), or "infinite", which takes ``step`` instead of ``bits``.
    step: a number, or one a neuron with per="row"; by default clip * radius / (levels on one side).
    radius: "mean_maximum" (default: the mean over neurons of the ``quantile`` of |w|, 1 being the maximum), "maximum" or "median"
    (of |w|). per: one step for the "tensor" (default) or for every "row", with the row's own radius. radius_of: "weights"
    (default) or "aligned" ones, the largest of which belong to nearly dead columns. clip: a number (default 1), or "search": the
    one of i/16 that gives the least error on rows held out (on calibration rows if there are none).
    order: sweeps that align weights with quantized inputs before they are rounded (default 1, the plain method); "perfect": the
    weights of least maximum with exactly the same outputs, by a linear program (needs scipy, and more inputs than rows).
    columns: in "natural" order (default), or by falling "norm".
    sparsity: "soft" (numbers shrink by ``threshold`` first) or "hard" (no level between 0 and ``threshold``).
    dead: columns whose squared norm is below so much of the mean make up for nothing (default 0.01).
    form: "gram" (sums of products), "samples" (the error of every row), or "auto" (default): the one that takes less work.
    held_out: every so many-th row of calibration data is kept to measure errors on (default 8; 0: none).
    portable: False leaves sums over data to BLAS, whose bits differ between machines.
    Sources: Lybrand and Saab, JMLR 22 (2021); Zhang, Zhou and Saab, arXiv 2201.11113; Zhang and Saab, arXiv 2309.10975. The care
    for dead columns, "search" and the report are this library's own.
    """

    method = "path_following"
    grid = "mid_tread"

    def __init__(
        self,
        bits: float | Fraction | None = None,
        *,
        step: ArrayLike | None = None,
        alphabet: str = "symmetric",
        rounding: str = "nearest",
        order: int | str = 1,
        per: str = "tensor",
        radius: str = "mean_maximum",
        radius_of: str = "weights",
        quantile: float = 1.0,
        clip: float | str = 1.0,
        columns: str = "natural",
        sparsity: str | None = None,
        threshold: float = 0.0,
        dead: float = 0.01,
        form: str = "auto",
        held_out: int = 8,
        portable: bool = True,
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        self.alphabet = choice(alphabet, "alphabet", ALPHABETS)
        if (bits is None) != (alphabet == "infinite"):
            raise ValueError(f"alphabet is {alphabet!r} and bits is {bits}; the infinite alphabet, and no other, has no bits")
        if alphabet == "infinite" and step is None:
            raise ValueError("alphabet is 'infinite' and step is None; say how far apart the levels are")
        super().__init__(1 if bits is None else bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.rounding = choice(rounding, "rounding", ROUNDINGS)
        self.group = {"row": -1, "tensor": 0}[choice(per, "per", ("row", "tensor"))]
        self.grid = "mid_rise" if alphabet == "mid_rise" else "table" if sparsity == "hard" else "mid_tread"
        self.step = None if step is None else _steps(step, per)
        self.radius = choice(radius, "radius", RADII)
        self.radius_of = choice(radius_of, "radius_of", ("weights", "aligned"))
        self.quantile = real(quantile, "quantile", 0, 1)
        self.clip = choice(clip, "clip", ("search",)) if isinstance(clip, str) else real(clip, "clip", 1e-6, 1e6)
        self.order = choice(order, "order", ("perfect",)) if isinstance(order, str) else integer(order, "order", 1, 10_000)
        self.columns = choice(columns, "columns", ("natural", "norm"))
        self.sparsity = None if sparsity is None else choice(sparsity, "sparsity", ("soft", "hard"))
        self.threshold = real(threshold, "threshold", 0, 1e30)
        self.dead = real(dead, "dead", 0, 1)
        self.form = choice(form, "form", ("auto", "gram", "samples"))
        self.held_out = integer(held_out, "held_out", 0, 2**30)
        self.portable = bool(portable)
        if (self.sparsity is None) != (threshold == 0):
            raise ValueError(f"sparsity is {sparsity!r} and threshold is {threshold}; give both, or neither")
        if self.sparsity == "hard" and (per == "row" or rounding == "stochastic" or alphabet != "symmetric"):
            raise ValueError("sparsity is 'hard'; that is for alphabet='symmetric', rounding='nearest' and per='tensor'")

    @property
    def levels(self) -> int:
        """The number of levels of the alphabet. Raises NoSuchRateError if there are too few or too many."""
        if self.alphabet == "infinite":
            raise NoSuchRateError("alphabet is 'infinite'; the number of levels depends on the data")
        half = math.floor(2.0 ** float(self.bits - 1) * (1 + 1e-9))  # log2(3) as a float is 3 levels
        whole = math.floor(2.0 ** float(self.bits) * (1 + 1e-9))
        odd = {"symmetric": (whole + 1) // 2 * 2 - 1, "mid_tread": 2 * half + 1}
        count: int = odd.get(self.alphabet, 2 * half)
        least = 5 if self.sparsity == "hard" else 2 if self.alphabet == "mid_rise" else 3
        most = 256 if self.grid == "table" else 65536
        if not least <= count <= most:
            raise NoSuchRateError(
                f"bits is {float(self.bits):g}: alphabet {self.alphabet!r} has {count} levels then, of {least} to {most}"
            )
        return count

    def spec(self, shape: tuple[int, ...], dtype: str = "float32", levels: int | None = None) -> Spec:
        count = self.levels if levels is None else levels
        codes = plain_codes(count.bit_length() - 1) if count & (count - 1) == 0 else radix_block(count)
        n = shape[-1] if shape else 1
        bits = Fraction(codes.bits, codes.per) if self.alphabet == "infinite" else self.bits
        shape = tuple(integer(length, "shape", 0, 2**40) for length in shape)
        return Spec(self.method, bits, shape, dtype, self.grid, codes, self.scale_dtype, self.group and max(n, 1), n)

    def encode(
        self,
        x: ArrayLike,
        calibration: Calibration | ArrayLike | None = None,
        quantized_calibration: ArrayLike | None = None,
        *,
        workers: int = 1,
    ) -> PathEncoded:
        """The codes of the weights x (neurons, inputs), leading axes being neurons.

        calibration: the layer's inputs in the float network (rows, inputs), and ``quantized_calibration`` the same rows in the
        quantized one, if they differ; or a ``Calibration`` that has seen them. The same input, options and seed give the same
        bytes for every number of workers, on every machine, unless ``portable`` is false or ``order`` "perfect".
        Warns (RuntimeWarning) where the error on rows held out is greater than that of nearest rounding: there are too few
        rows, or they differ. Raises ValueError and TypeError as the other methods do, and for shapes that do not fit.
        """
        source = as_array(x)
        a, threads = as_floats(source), workers_of(workers)
        require_finite(a, workers=threads)
        w = as_matrix(a).astype(np.float64)
        data = self._data(calibration, quantized_calibration, w.shape[1], threads)
        layer = _Layer(self, w, data, threads)
        codes, step, rounding, saturated = layer.codes()
        count = 2 * int(np.abs(codes).max(initial=1)) + 1 if self.alphabet == "infinite" else self.levels
        if count > 65535:
            raise ValueError(f"step is {float(step.min(initial=1)):g}, which gives {count} levels; take a larger one")
        spec = self.spec(a.shape, stored_dtype(source.dtype), count)
        planes = {name: np.zeros(shape, dtype) for name, (dtype, shape) in spec.layout().items()}
        if a.size:
            digits = (codes + count // 2).astype(np.uint8 if count <= 256 else np.uint16)
            planes["codes"][:] = _packed(digits, spec.codes)
            planes["scales"][:] = _stored(step if self.group else step[:1], self.scale_dtype)[:, None]
            if "levels" in planes:
                k = np.arange(count) - count // 2
                planes["levels"][:] = rounding_levels(k, rounding)
        report = layer.report(codes, step, rounding, saturated, count)
        if report.fresh_error is not None and report.fresh_error > (report.nearest_fresh_error or 0):
            warnings.warn(
                f"on rows held out the error is {report.fresh_error:.3g}, and {report.nearest_fresh_error:.3g} with nearest "
                f"rounding: {data.rows} rows of {data.inputs} inputs are too few for data like these",
                RuntimeWarning,
                stacklevel=2,
            )
        return PathEncoded(planes, spec.to_dict(), report)

    def _data(self, calibration: Any, quantized: Any, n: int, workers: int) -> Calibration:
        if calibration is None:
            raise ValueError("calibration is missing; pass the layer's inputs (rows, inputs), or a Calibration")
        if isinstance(calibration, Calibration):
            if quantized is not None:
                raise ValueError("calibration is a Calibration; give quantized_calibration to its update")
            data = calibration
        else:
            data = Calibration(None, held_out=self.held_out, portable=self.portable)
            data.update(calibration, quantized, workers=workers)
        if data.inputs != n:
            raise ValueError(f"calibration has {data.inputs} inputs, and the weights have {n}")
        return data


class _Layer:
    """One layer on its way to codes."""

    def __init__(self, quantizer: PathFollowing, w: Array, data: Calibration, workers: int) -> None:
        self.q, self.w, self.data, self.workers = quantizer, w, data, workers
        diagonal = data.gram.diagonal()
        mean = _in_order(diagonal) / max(len(diagonal), 1)
        self.live = (diagonal > 0) & (diagonal >= quantizer.dead * mean)
        self.order = np.argsort(-diagonal, kind="stable") if quantizer.columns == "norm" else None
        self.gram, self.cross = self._ordered(data.gram), None if data.cross is None else self._ordered(data.cross)
        self.own = self._columns(w)
        if self.order is not None:
            self.live = self.live[self.order]
        self.aligned = self._align()

    def _columns(self, w: Array) -> Array:
        return w if self.order is None else np.ascontiguousarray(w[:, self.order])

    def _ordered(self, gram: Array) -> Array:
        return gram if self.order is None else np.ascontiguousarray(gram[np.ix_(self.order, self.order)])

    def _recursion(self, *args: Any) -> tuple[Array, Any]:
        return recursion(*args, workers=self.workers)

    def _product(self, a: Array, b: Array) -> Array:
        return multiply_add(a, b, np.zeros((len(a), b.shape[1])), portable=self.q.portable, workers=self.workers)

    def _align(self) -> Array:
        """Weights whose outputs on the quantized inputs are near those of the float network."""
        if self.cross is None:
            return self.own
        order = self.q.order
        if isinstance(order, str):
            raise ValueError("order is 'perfect'")
        base = self._product(self.own, np.triu(self.cross))
        v, _ = self._recursion(np.where(self.live, 0.0, self.own), base, self.gram, self.live)
        if order > 1:
            target = self._product(self.own, self.cross)
            for _ in range(order - 1):
                change, _ = self._recursion(np.zeros_like(v), target - self._product(v, self.gram), self.gram, self.live)
                v = v + change
        return v

    def codes(self) -> tuple[Array, Array, Rounding, int]:
        """Integers, steps of the rows, what they mean, and how many had to be clamped."""
        q = self.q
        if q.clip != "search" or q.step is not None:
            return self._codes(q.clip if not isinstance(q.clip, str) else 1.0)
        best, least = None, math.inf
        which = "fresh" if len(self.data.samples("fresh")[0]) else "calibration"
        for clip in CLIPS:
            found = self._codes(clip)
            error = self.error(self._values(found), which)
            if error is not None and error < least:
                best, least = found, error
        return best or self._codes(1.0)

    def _codes(self, clip: float) -> tuple[Array, Array, Rounding, int]:
        q = self.q
        step, rounding = self._step(clip)
        bits = None
        if q.rounding == "stochastic":
            rows, n = self.own.shape
            bits = self._columns(random_bits(q.seed, q.stream + DITHER, rows * n).reshape(rows, n))
        codes, clamped = self._recursion(self.aligned, None, self.gram, self.live, step, rounding, bits)
        if self.order is not None:
            restored = np.empty_like(codes)
            restored[:, self.order] = codes
            codes = restored
        return codes, step, rounding, int(clamped.sum())

    def _step(self, clip: float) -> tuple[Array, Rounding]:
        """Steps, such that every level is a float32 number, and the rounding."""
        q, rows = self.q, len(self.w)
        if q.alphabet == "infinite":
            assert q.step is not None
            rounding = Rounding()
            top = 2 * int(min(np.abs(self.w).max(initial=0) / q.step.min(), 2**14)) + 32  # as far as codes are likely to go
        else:
            count = q.levels
            half = count // 2
            rounding = Rounding(-half, count - half - 1, 0.5 if q.alphabet == "mid_rise" else 0.0)
            top = half
        if q.sparsity == "soft":
            rounding = replace(rounding, shrink=q.threshold)
        if q.step is not None:
            steps = np.broadcast_to(q.step, rows) if q.step.size == 1 or q.step.size == rows else None
            if steps is None:
                raise ValueError(f"step has {q.step.size} entries, and the weights have {rows} rows")
            step = steps.astype(np.float64)
        else:
            radius = clip * self._radius()
            if q.sparsity == "hard":
                if radius.min(initial=math.inf) <= q.threshold:
                    raise ValueError(f"threshold is {q.threshold}, above the greatest level, {radius.min():g}")
                step = (radius - q.threshold) / (top - 1)
            else:
                step = radius / top
        if q.sparsity == "hard" and rows:
            gap = max(np.rint(q.threshold / step[0] * PARTS), 1) / PARTS
            rounding = replace(rounding, gap=float(gap))
            digits = int((gap + top) * PARTS).bit_length()
        else:
            digits = top.bit_length() + (q.alphabet == "mid_rise")
        return _short(step, q.scale_dtype, digits), rounding

    def _radius(self) -> Array:
        q = self.q
        size = np.abs(self.aligned if q.radius_of == "aligned" else self.w)
        rows = len(size)
        if q.radius == "median":
            own = _quantile(size if q.group else size.reshape(1, -1), 0.5)
        elif q.radius == "maximum":
            own = size.max(axis=1, initial=0) if q.group else size.max(initial=0).reshape(1)
        else:
            own = _quantile(size, q.quantile)
            if not q.group:
                own = np.array([_in_order(own) / max(rows, 1)])
        return np.broadcast_to(own, rows).astype(np.float64)

    def _values(self, found: tuple[Array, Array, Rounding, int]) -> Array:
        codes, step, rounding, _ = found
        return rounding_levels(codes, rounding) * step[:, None]

    def error(self, values: Array, which: str) -> float | None:
        """|X W^T - Y Q^T| / |X W^T| on kept rows."""
        x, y = self.data.samples(which)
        if not x.size or not self.w.size:
            return None
        target = self._product(self.w, np.ascontiguousarray(x.T))
        made = self._product(values, np.ascontiguousarray(y.T))
        norm = _in_order((target**2).reshape(-1))
        return math.sqrt(_in_order(((target - made) ** 2).reshape(-1)) / norm) if norm > 0 else 0.0

    def report(self, codes: Array, step: Array, rounding: Rounding, saturated: int, levels: int) -> PathReport:
        values = self._values((codes, step, rounding, saturated))
        nearest = rounding.apply(self.w, step[:, None])[1]
        errors = [self.error(v, which) for which in ("calibration", "fresh") for v in (values, nearest)]
        ignored = int((~self.live).sum())
        return PathReport(levels, float(step.max(initial=0)), saturated, ignored, self.data.rows, *errors)


def rounding_levels(k: Array, rounding: Rounding) -> Array:
    """What integers stand for, in steps."""
    if rounding.gap:
        return np.sign(k) * np.where(k == 0, 0, rounding.gap - 1 + np.abs(k))
    return k + rounding.offset


def _steps(step: ArrayLike, per: str) -> Array:
    a = np.asarray(as_floats(step, "step"), np.float64).reshape(-1)
    if not a.size or not (np.isfinite(a) & (a > 0)).all():
        raise ValueError(f"step is {step!r}; it must be positive")
    if a.size > 1 and per != "row":
        raise ValueError(f"step has {a.size} entries; more than one takes per='row'")
    return a


def _in_order(values: Array) -> float:
    """The sum, one after the other on every machine."""
    return float(np.add.accumulate(values)[-1]) if values.size else 0.0


def _quantile(size: Array, p: float) -> Array:
    """Of every row, between the two nearest order statistics."""
    n = size.shape[1]
    if n == 0:
        return np.zeros(len(size))
    place = p * (n - 1)
    below = min(int(place), n - 1)
    above = min(below + 1, n - 1)
    ordered = np.partition(size, (below, above), axis=1)
    low = ordered[:, below]
    return np.asarray(low + (ordered[:, above] - low) * (place - below))


def _short(step: Array, dtype: str, digits: int) -> Array:
    """Steps of so few bits that ``dtype`` holds them, and float32 their products with numbers of ``digits`` bits; none is 0."""
    bits = max(1, min({"float16": 11, "bfloat16": 8}.get(dtype, 24), 24 - digits))
    mantissa, exponent = np.frexp(step)
    short = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    least = {"float16": 2.0**-14}.get(dtype, 2.0**-100)
    over = short > LARGEST[dtype]
    if over.any():
        raise ValueError(f"scale_dtype is {dtype!r}, which can't hold a step of {step[over][0]:.3g}; take a wider one")
    if ((short > 0) & (short < least)).any():
        raise ValueError(f"scale_dtype is {dtype!r}, and a step is {short[short > 0].min():.3g}; scale the weights")
    return np.where(short > 0, short, least)


def _stored(step: Array, dtype: str) -> Array:
    stored = bfloat16_bits(step.astype(np.float32)) if dtype == "bfloat16" else step.astype(dtype)
    assert (stored_scales(stored, dtype).astype(np.float64) == step).all()
    return stored


def _packed(codes: Array, radix: Radix) -> Array:
    plain = radix.per == 1 and radix.levels == 1 << radix.bits
    return pack(codes, radix.bits) if plain else pack_radix(codes, radix)

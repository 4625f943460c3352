"""One array on its way to codes: embed, choose scales, round, fit the scales, pack; a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from evenbits import _core, _fused
from evenbits._arrays import LARGEST, Array, bfloat16_bits, greatest, peak_exponent, require_finite
from evenbits._chunks import for_row_chunks
from evenbits._groups import dot
from evenbits.codebooks import nearest_level
from evenbits.encoded import stored_scales
from evenbits.meaning import Meaning, per_coordinate
from evenbits.packing import pack_codes
from evenbits.rounding import round_nearest, round_stochastic
from evenbits.spec import DITHER, LAWS, UNIFORM, Spec

if TYPE_CHECKING:
    from evenbits.quantizers.base import Quantizer

TINY = 2.0**-100
"""Smaller scales count as 0: their reciprocals would not be ordinary floats."""
CLIPS = 64
"""The search for the best clipping level tries this many: i / CLIPS of the range, i = 1 to CLIPS."""


SAMPLE = 1 << 20
"""Coordinates that a codebook is learned from: all up to so many, then evenly spaced ones."""


def absmax_step(grid: str, levels: int, peak: Array) -> Array:
    """The step at which a grid's outermost cell (mid_rise) or level reaches ``peak``."""
    if grid == "mid_rise":
        return 2 * peak / levels
    return peak / ((levels - 1) // 2) if grid == "mid_tread" else 2 * peak / (levels - 1)


class Walk:
    """Fills the planes of a spec from the rows of an array, as a quantizer says."""

    def __init__(self, quantizer: Quantizer, spec: Spec, planes: dict[str, Array], source: Array, workers: int) -> None:
        self.quantizer, self.spec, self.planes, self.source, self.workers = quantizer, spec, planes, source, workers
        self.x = source.reshape(spec.rows, spec.d)
        self.group = spec.group or spec.kept
        stochastic = quantizer.rounding == "stochastic"
        self.fits = quantizer.fit != "range" and not stochastic
        # Stochastic codes are unbiased as they are; only what was left out is missing on average.
        self.stochastic = stochastic
        self.gain = spec.length / spec.kept if stochastic and quantizer.fit == "unbiased" else 1.0

    def run(self) -> None:
        self.meaning = Meaning(self.spec, self.planes.get("levels"))
        self.exponent: Array | None = None
        main = self.spec.method == "near_democratic" and self.spec.grid in LAWS and self.x.dtype == np.float32
        if main and _fused.applies(self.spec):
            self._rotated_rows()
            return
        require_finite(self.source, workers=self.workers)
        if self.spec.group == 0:
            self.exponent = peak_exponent(np.array([[greatest(self.x)]]))
            self._tensor()
        else:
            self._learn(None)
            self._sweep(self._rows)

    def _rotated_rows(self) -> None:
        """The main method. Rows of extraordinary size, and those after them in their spans, go the general way."""
        rotated = _fused.Rotated(self.spec, self.meaning.lower)
        left = rotated.encode(self.x, self.quantizer.fit, self.planes["codes"], self.planes["scales"], self.workers)
        if left:
            require_finite(self.source, workers=self.workers)
        for first, last in left:
            self._sweep(self._rows, first, last)

    def _rows(self, begin: int, end: int) -> None:
        """Rows with scales of their own."""
        x, exponent, whole, y = self._coordinates(begin, end)
        scale, zero = self.quantizer.scales(self._measure(whole, y), self.spec)
        if self.quantizer.searches:
            scale = clipped(scale, self._clip_errors(y, scale))
        stored, scale = self._store(scale, exponent)
        codes = self._round(y, scale, zero, begin)
        if self.fits:
            stored = self._store_fit(scale, self._fit_sums(x, whole, y, codes, zero), exponent)
        self.planes["scales"][begin:end] = stored
        if zero is not None:
            self.planes["zeros"][begin:end] = zero
        self.planes["codes"][begin:end] = pack_codes(codes, self.spec.codes)

    def _tensor(self) -> None:
        """All rows with one scale: one sweep for the range, one for the codes."""
        rows = self.spec.rows
        measures = {key: np.empty((rows, 1)) for key in self._measured()}

        def measure(begin: int, end: int) -> None:
            _, _, whole, y = self._coordinates(begin, end)
            for key, value in self._measure(whole, y).items():
                measures[key][begin:end] = value

        self._sweep(measure)
        scale, zero = self.quantizer.scales({key: OVER_ROWS[key](m) for key, m in measures.items()}, self.spec)
        self._learn(scale)
        if self.quantizer.searches:
            errors = np.zeros((1, 1, CLIPS))

            def clip(begin: int, end: int) -> None:
                nonlocal errors  # in the order of the rows: one chunk after the other, the workers inside
                found = self._clip_errors(self._coordinates(begin, end)[3], scale, self.workers)
                errors = in_order(np.concatenate([errors, found]))

            for_row_chunks(rows, self.spec.length, 1, clip)
            scale = clipped(scale, errors)
        stored, scale = self._store(scale, self.exponent)
        sums = np.zeros((2, rows, 1))

        def encode(begin: int, end: int) -> None:
            x, _, whole, y = self._coordinates(begin, end)
            codes = self._round(y, scale, zero, begin)
            if self.fits:
                sums[:, begin:end] = self._fit_sums(x, whole, y, codes, zero)
            self.planes["codes"][begin:end] = pack_codes(codes, self.spec.codes)

        self._sweep(encode)
        if self.fits:
            stored = self._store_fit(scale, (in_order(sums[0]), in_order(sums[1])), self.exponent)
        self.planes["scales"][:] = stored
        if zero is not None:
            self.planes["zeros"][:] = zero

    def _sweep(self, work: Callable[[int, int], None], first: int = 0, last: int | None = None) -> None:
        rows = (self.spec.rows if last is None else last) - first
        for_row_chunks(rows, self.spec.length, self.workers, lambda begin, end: work(first + begin, first + end))

    def _learn(self, scale: Array | None) -> None:
        """Fill the plane of levels, if there is one, from evenly spaced coordinates in units of their scales."""
        if "levels" not in self.planes:
            return
        stride = -(-self.spec.rows * self.spec.kept // SAMPLE)
        found: dict[int, Array] = {}

        def sample(begin: int, end: int) -> None:
            _, _, whole, y = self._coordinates(begin, end)
            own = self.quantizer.scales(self._measure(whole, y), self.spec)[0] if scale is None else scale
            y = y * per_coordinate(reciprocal(own), self.group, y.shape[1]).astype(np.float32)
            found[begin] = y.reshape(-1)[-begin * y.shape[1] % stride :: stride]

        self._sweep(sample)
        values = np.concatenate([found[begin] for begin in sorted(found)])
        self.planes["levels"][:] = self.quantizer.learn(values, self.spec)

    def _coordinates(self, begin: int, end: int) -> tuple[Array, Array | None, Array, Array]:
        """The rows in float32 and their exponents, all their coordinates, and the kept ones."""
        x = self.x[begin:end]
        exponent = self.exponent
        if self.spec.group:
            exponent = peak_exponent(np.abs(x).max(axis=1, keepdims=True))
        if exponent is not None:
            x = np.ldexp(x, -exponent)
        x = np.ascontiguousarray(x, np.float32)
        whole = self.quantizer.embed(x, self.meaning)
        kept = self.meaning.kept
        return x, exponent, whole, whole if kept is None else np.ascontiguousarray(whole[:, kept])

    def _measured(self) -> tuple[str, str]:
        return ("least", "greatest") if self.spec.grid in UNIFORM else ("energy", "count")

    def _measure(self, whole: Array, y: Array) -> dict[str, Array]:
        """What the scales of the groups are chosen by."""
        groups, n = (len(y), -(-y.shape[1] // self.group)), whole.shape[1]
        if self.spec.grid in UNIFORM:
            least, greatest = np.empty((2, *groups), np.float32)
            _core.extremes(y, y.shape[1], self.group, least, greatest, 1)
            return {"least": least.astype(np.float64), "greatest": greatest.astype(np.float64)}
        width = self.group if groups[1] > 1 else n
        count = np.full(groups, float(width))
        count[:, -1] = n - (groups[1] - 1) * width
        return {"energy": dot(whole, whole, width), "count": count}

    def _store(self, scale: Array, exponent: Array | None) -> tuple[Array, Array]:
        """Scales as they are stored, and what they stand for before the exponent is put back and the gain is put on."""
        name, most = self.spec.scale_dtype, self._most(exponent)
        with np.errstate(over="ignore", under="ignore"):
            wide = scale * self.gain
            wide = np.where((wide > most) & (wide < 1.3 * most), most, wide)  # rounding may go a little beyond the largest number
            wide = wide if exponent is None else np.ldexp(wide, exponent)
            stored = bfloat16_bits(wide) if name == "bfloat16" else wide.astype(name)
            if self.stochastic:  # a scale rounded down would cut the largest coordinates off, always the same way
                low = stored_scales(stored, name).astype(np.float64) < wide
                up = stored + 1 if name == "bfloat16" else np.nextafter(stored, np.asarray(np.inf, name))
                stored = np.where(low, up, stored)
            back = stored_scales(stored, name).astype(np.float64)
        require_held(back, wide, name, self.x.dtype)
        back = back / self.gain
        return stored, back if exponent is None else np.ldexp(back, -exponent)

    def _store_fit(self, scale: Array, sums: tuple[Array, Array], exponent: Array | None) -> Array:
        """Fitted scales as they are stored; ``scale`` stays where the fit is no number, or too large a one."""
        ratio = quotient(*sums, scale)
        return self._store(np.where(ratio <= self._most(exponent), ratio, scale), exponent)[0]

    def _most(self, exponent: Array | None) -> Array | float:
        """The largest scale that can be stored, before the exponent is put back."""
        if exponent is None:
            return LARGEST[self.spec.scale_dtype]
        with np.errstate(over="ignore", under="ignore"):
            most: Array = np.ldexp(LARGEST[self.spec.scale_dtype], -exponent)
        return most

    def _round(self, y: Array, scale: Array, zero: Array | None, begin: int) -> Array:
        """Codes of the kept coordinates."""
        inverse, zero = self._for_rows(reciprocal(scale), len(y)), self._for_rows(zero, len(y))
        m, split, n = self.spec.codes.levels, self.meaning.split, y.shape[1]
        if split == 0:
            return self._round_to(y, m, self.meaning.lower, inverse, zero, begin * n)
        codes = np.empty(y.shape, np.uint8 if self.spec.top <= 256 else np.uint16)
        for part, levels, count, first in (
            (slice(0, split), self.meaning.upper, m + 1, begin * split),
            (slice(split, n), self.meaning.lower, m, self.spec.rows * split + begin * (n - split)),
        ):
            if part.start == part.stop:
                continue
            own, offset, group = inverse, zero, n
            if inverse.shape[1] > 1:  # a group may straddle the split: give every coordinate an entry
                own, group = per_coordinate(inverse, self.group, n)[:, part], 1
                offset = None if zero is None else per_coordinate(zero, self.group, n)[:, part]
            codes[:, part] = self._round_to(np.ascontiguousarray(y[:, part]), count, levels, own, offset, first, group)
        return codes

    def _round_to(
        self,
        y: Array,
        count: int,
        levels: Array,
        inverse: Array,
        zero: Array | None,
        first: int,
        group: int | None = None,
    ) -> Array:
        """Codes of one level count; inverse and zero have an entry a group of the rows."""
        spec, group = self.spec, min(group or self.group, y.shape[1])
        inverse = np.ascontiguousarray(inverse)
        if spec.grid not in UNIFORM:
            return nearest_level(y, levels, scale=inverse.astype(np.float32), group=group)
        unit = float(levels[-1] - levels[0]) / (count - 1)  # a step of these levels in units of the scale
        offset = -float(levels[0]) / unit if zero is None else zero / unit
        scale = (inverse / unit).astype(np.float32)
        shift = np.full(scale.shape, offset, np.float32)
        if self.quantizer.rounding == "nearest":
            return round_nearest(y, scale=scale, zero=shift, top=count - 1, group=group)
        return round_stochastic(
            y,
            scale=scale,
            zero=shift,
            top=count - 1,
            seed=spec.seed if spec.draws else self.quantizer.seed,
            stream=(spec.stream if spec.draws else self.quantizer.stream) + DITHER,
            first=first,
            group=group,
        )

    @overload
    def _for_rows(self, groups: Array, rows: int) -> Array: ...
    @overload
    def _for_rows(self, groups: Array | None, rows: int) -> Array | None: ...
    def _for_rows(self, groups: Array | None, rows: int) -> Array | None:
        """A tensor's one entry for each row."""
        return groups if groups is None or len(groups) == rows else np.broadcast_to(groups, (rows, groups.shape[1]))

    def _fit_sums(self, x: Array, whole: Array, y: Array, codes: Array, zero: Array | None) -> tuple[Array, Array]:
        """Numerator and denominator of the fitted scale of every group."""
        groups = -(-y.shape[1] // self.group)
        one = np.ones((len(y), groups), np.float32)
        offset = self._for_rows(zero, len(y))
        levels = self.meaning.look_up(codes, one, None if offset is None else np.ascontiguousarray(offset, np.float32))
        target, made = self.quantizer.approximation(x, y, levels, self.meaning)
        group = self.group if groups > 1 else target.shape[1]
        product = dot(target, made, group)
        if self.quantizer.fit == "least_squares":
            return product, dot(made, made, group)
        energy = dot(whole, whole, whole.shape[1]) if self.meaning.kept is not None else dot(target, target, group)
        return energy, product

    def _clip_errors(self, y: Array, scale: Array, workers: int = 1) -> Array:
        """Squared error of every group at every clipping level: (rows, groups, CLIPS)."""
        groups = (len(y), -(-y.shape[1] // self.group))
        levels = self.meaning.lower
        zero = np.full(groups, -levels[0], np.float32)
        errors, one = np.empty((*groups, CLIPS)), np.empty(groups)
        for i in range(CLIPS):
            step = np.broadcast_to(scale * ((i + 1) / CLIPS), groups)
            scales = reciprocal(step).astype(np.float32), zero, step.astype(np.float32)
            _core.round_error(y, y.shape[1], self.group, *scales, len(levels) - 1, one, workers)
            errors[..., i] = one
        return errors


def clipped(scale: Array, errors: Array) -> Array:
    """The scale at the clipping level of least error; of equal errors the widest."""
    best: Array = CLIPS - errors[..., ::-1].argmin(axis=-1)
    return scale * (best / CLIPS)


def reciprocal(scale: Array) -> Array:
    """1 / scale, or 0 where the scale is too small to matter."""
    inverse: Array = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale >= TINY)
    return inverse


def in_order(rows: Array) -> Array:
    """The sum over the first axis, one row after the other on every machine."""
    return np.add.accumulate(rows, axis=0)[-1:]


OVER_ROWS: dict[str, Callable[[Array], Array]] = {
    "least": lambda rows: rows.min(axis=0, keepdims=True),
    "greatest": lambda rows: rows.max(axis=0, keepdims=True),
    "energy": in_order,
    "count": in_order,
}
"""How a tensor's measures come from those of its rows."""


def quotient(numerator: Array, denominator: Array, otherwise: Array) -> Array:
    """numerator / denominator where that is a positive number."""
    ratio = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
    return np.where(ratio > 0, ratio, otherwise)


def require_held(stored: Array, scale: Array, scale_dtype: str, dtype: np.dtype[Any]) -> None:
    """Raise ValueError where scales of rows of that dtype are infinite or 0 as they are stored."""
    # Only denormal numbers of a float32 row may get lost: they are as small as what is lost.
    lost = ~np.isfinite(stored) | ((stored == 0) & (scale >= (2.0**-126 if dtype == np.float32 else 5e-324)))
    if lost.any():
        size = float(scale[lost].flat[0])
        raise ValueError(f"scale_dtype is {scale_dtype!r}, which can't hold a scale of {size:.3g}; take a wider one, or scale x")

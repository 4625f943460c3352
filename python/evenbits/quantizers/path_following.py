from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import Array, as_array, as_floats, integer, real
from evenbits.encoded import Encoded, as_matrix
from evenbits.packing import pack_codes, radix_block
from evenbits.path_following import Calibration, Rounding, StoredRows
from evenbits.quantizers.base import ROUNDINGS, NoSuchRateError, Quantizer, choice, finite, plain_codes, shape_of
from evenbits.quantizers.path_layer import Layer, stored, values_of
from evenbits.spec import Spec

ALPHABETS = ("symmetric", "mid_tread", "twos_complement", "mid_rise", "infinite")
RADII = ("optimal", "mean_maximum", "maximum", "median")


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
    form: str
    """What codes were chosen by: "gram" or "samples"."""
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
    radius: "optimal" (default: what rounds the weights themselves with least squared error), "mean_maximum" (of the papers' code:
    the mean over neurons of the ``quantile`` of |w|, 1 being the maximum), "maximum" or "median" (of |w|). per: one step for the
    "tensor" (default) or for every "row", with the row's own radius. radius_of: "weights" (default) or "aligned" ones, the
    largest of which belong to nearly dead columns. clip: a number (default 1), or "search": the one of i/16 that gives the least
    error on rows held out (on calibration rows if there are none).
    order: sweeps that align weights with quantized inputs before they are rounded (default 1, the plain method); "perfect": the
    weights of least maximum with exactly the same outputs, by a linear program (needs scipy, and more inputs than rows).
    columns: in "natural" order (default), or by falling "norm".
    sparsity: "soft" (numbers shrink by ``threshold`` first) or "hard" (no level between 0 and ``threshold``).
    dead: columns whose squared norm is below so much of the mean make up for nothing (default 0.01).
    form: "gram" (sums of products), "samples" (the error of every row), or "auto" (default): the one that takes less work.
    held_out: every so many-th row of calibration data is kept to measure errors on (default 8; 0: none).
    precision: of the recursion, "float64" (default) or "float32", which takes half the time and memory.
    portable: False leaves sums over data to BLAS, whose bits differ between machines.
    seed, stream: the weight of a row and a column is rounded by bits of its own, element row * inputs + column of a stream; give
    each layer a stream.
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
        radius: str = "optimal",
        radius_of: str = "weights",
        quantile: float = 1.0,
        clip: float | str = 1.0,
        columns: str = "natural",
        sparsity: str | None = None,
        threshold: float = 0.0,
        dead: float = 0.01,
        form: str = "auto",
        held_out: int = 8,
        precision: str = "float64",
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
        self.precision = choice(precision, "precision", ("float64", "float32"))
        self.portable = bool(portable) and self.order != "perfect"
        if (self.sparsity is None) != (threshold == 0):
            raise ValueError(f"sparsity is {sparsity!r} and threshold is {threshold}; give both, or neither")
        if self.order == "perfect" and self.form == "gram":
            raise ValueError("order is 'perfect', which needs rows, and form is 'gram'; leave form out")
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

    @property
    def levels_around_zero(self) -> Rounding:
        """Rounding to the ``levels`` of a finite alphabet: as many on both sides of 0, or one more below."""
        count, half = self.levels, self.levels // 2
        return Rounding(-half, count - half - 1, 0.5 if self.alphabet == "mid_rise" else 0.0)

    def spec(self, shape: tuple[int, ...], dtype: str = "float32", levels: int | None = None) -> Spec:
        count = self.levels if levels is None else levels
        codes = plain_codes(count.bit_length() - 1) if count & (count - 1) == 0 else radix_block(count)
        n = shape[-1] if shape else 1
        bits = Fraction(codes.bits, codes.per) if self.alphabet == "infinite" else self.bits
        shape = shape_of(shape)
        group = max(n, 1) if self.group else 0
        return Spec(self.method, bits, shape, dtype, self.grid, codes, self.scale_dtype, group, n, portable=self.portable)

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
        a, dtype, threads = finite(x, workers)
        w = as_matrix(a).astype(np.float64)
        data = self._data(calibration, quantized_calibration, w, threads)
        layer = Layer(self, w, data, threads)
        found = layer.choose()
        count = 2 * int(np.abs(found.codes).max(initial=1)) + 1 if self.alphabet == "infinite" else self.levels
        if count > 65536:
            raise ValueError(f"step is {float(found.step.min(initial=1)):g}, which gives {count} levels; take a larger one")
        spec = replace(self.spec(a.shape, dtype, count), portable=layer.portable)
        planes = {name: np.zeros(shape, dtype) for name, (dtype, shape) in spec.layout().items()}
        if a.size:
            digits = (found.codes + count // 2).astype(np.uint8 if count <= 256 else np.uint16)
            planes["codes"][:] = pack_codes(digits, spec.codes)
            planes["scales"][:] = stored(found.step if self.group else found.step[:1], self.scale_dtype)[:, None]
            if "levels" in planes:
                planes["levels"][:] = values_of(np.arange(count) - count // 2, found.rounding)
        errors = layer.errors(found)
        largest = float(found.step.max(initial=0))
        report = PathReport(count, largest, found.saturated, int((~layer.live).sum()), data.rows, layer.form.name, *errors)
        if report.fresh_error is not None and report.fresh_error > (report.nearest_fresh_error or 0):
            warnings.warn(
                f"on rows held out the error is {report.fresh_error:.3g}, and {report.nearest_fresh_error:.3g} with nearest "
                f"rounding: {data.rows} rows of {data.inputs} inputs are too few for data like these",
                RuntimeWarning,
                stacklevel=2,
            )
        return PathEncoded(planes, spec.to_dict(), report)

    def _data(self, calibration: Any, quantized: Any, w: Array, workers: int) -> Calibration:
        """What codes of w are chosen by: sums of products of its inputs; or the rows, where that is less work."""
        return self._known(calibration, quantized, w.shape[1], workers, len(w))

    def _known(self, calibration: Any, quantized: Any, n: int, workers: int, neurons: int | None = None) -> Calibration:
        """What is known of the n inputs; as sums of products where no number of neurons is given."""

        def fresh(x: Array) -> Calibration:
            rows = math.prod(x.shape[:-1])
            few = neurons is not None and 4 * rows * neurons < n * (rows + neurons)  # of 2 n, multiplications of the two forms
            keep = few if self.form == "auto" and self.order != "perfect" else self.form != "gram"
            return (StoredRows if keep else Calibration)(None, held_out=self.held_out, portable=self.portable)

        data = calibrated(calibration, quantized, n, fresh, workers)
        if not isinstance(data, StoredRows) and (self.form == "samples" or self.order == "perfect"):
            what = "form is 'samples'" if self.form == "samples" else "order is 'perfect'"
            raise ValueError(f"{what}, which needs rows; pass them as an array instead of a Calibration")
        return data

    def _sums(self, calibration: Any, quantized: Any, w: Array, workers: int) -> Calibration:
        """What is known of the inputs of w, as sums of products, to be changed."""
        return copy(as_sums(self._known(calibration, quantized, w.shape[1], workers), self.method))


def calibrated(calibration: Any, quantized: Any, n: int, fresh: Callable[[Array], Calibration], workers: int) -> Calibration:
    """What is known of n inputs: a ``Calibration``, or rows, for which ``fresh`` makes the one that they are added to."""
    if calibration is None:
        raise ValueError(
            "calibration is missing; pass the layer's inputs (rows, inputs), or a Calibration; "
            "for whole networks there is evenbits.networks.quantize_network"
        )
    if isinstance(calibration, Calibration):
        if quantized is not None:
            raise ValueError("calibration is a Calibration; give quantized_calibration to its update")
        data = calibration
    else:
        x = as_array(calibration, "calibration")
        data = fresh(x).update(x, quantized, workers=workers)
    if not data.rows:
        raise ValueError("calibration has no rows")
    if data.inputs != n:
        raise ValueError(f"calibration has {data.inputs} inputs, and the weights have {n}")
    return data


def as_sums(data: Calibration, method: str) -> Calibration:
    """The same. Raises TypeError for rows that are kept."""
    if isinstance(data, StoredRows):
        raise TypeError(f"calibration is a StoredRows, and {method} takes sums of products; pass a Calibration, or the rows")
    return data


def _steps(step: ArrayLike, per: str) -> Array:
    a = np.asarray(as_floats(step, "step"), np.float64).reshape(-1)
    if not a.size or not (np.isfinite(a) & (a > 0)).all():
        raise ValueError(f"step is {step!r}; it must be positive")
    if a.size > 1 and per != "row":
        raise ValueError(f"step has {a.size} entries; more than one takes per='row'")
    return a

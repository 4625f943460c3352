from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import count

import numpy as np
from numpy.typing import ArrayLike

from evenbits._arrays import Array, real
from evenbits.codings.streams import default_floats
from evenbits.codings.transposed import Transposed, transpose
from evenbits.encoded import Encoded, as_matrix
from evenbits.path_following import Calibration
from evenbits.quantizers.base import Progress, choice, finite, shape_of
from evenbits.quantizers.feedback import Columns
from evenbits.quantizers.path_following import as_sums, calibrated
from evenbits.quantizers.trellis import Trellis


class TrellisFeedback(Trellis):
    """A bit-shift trellis for every column of a layer's weights, and its error spread over the columns still to come.

    Of a layer W (neurons x inputs) a column, all neurons' weights of one input, is a row of ``Trellis``. With H = Y^T Y of the
    layer's inputs, plus ``damping`` times the mean of its diagonal, and H = M D M^T (M upper triangular with a diagonal of ones),
    what is coded as q_t is w_t + sum_{s<t} M_st (w_s - q_s), which makes |Y (W - Q)^T|^2 = sum_t D_tt |...|^2 small one term
    after the other: ``error_feedback`` with codes of many values at once. Where the full network's inputs X are others, W is
    first replaced by the weights whose outputs on Y are nearest to W's on X.
    damping: 0.2 by default; more where rows are few. columns: by falling "norm" of the inputs (default), or in "natural" order.
    The other options are those of ``Trellis``. portable: False leaves sums over data to BLAS, whose bits differ between machines.
    A column has a scale of its own, which layers of few neurons pay most for.
    Sources: see ``evenbits.bit_shift``; Frantar et al., arXiv 2210.17323; Chee et al., arXiv 2307.13304 (rotations before it).
    """

    method = "trellis_feedback"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        damping: float = 0.2,
        columns: str = "norm",
        portable: bool = True,
        memory: int = 12,
        rotate: bool = True,
        fit: str = "least_squares",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, memory=memory, rotate=rotate, fit=fit, seed=seed, stream=stream, scale_dtype=scale_dtype)
        self.damping, self.portable = real(damping, "damping", 0, 1e6), bool(portable)
        self.columns = choice(columns, "columns", ("natural", "norm"))

    def spec(self, shape: tuple[int, ...], dtype: str = "float32") -> Transposed:  # type: ignore[override]
        shape = shape_of(shape)
        return Transposed.of(super().spec(transpose(shape), dtype), shape, self.portable)

    def encode(
        self,
        x: ArrayLike,
        calibration: Calibration | ArrayLike | None = None,
        quantized_calibration: ArrayLike | None = None,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Encoded:
        """The codes of the weights x (neurons, inputs), leading axes being neurons.

        calibration: the layer's inputs in the float network (rows, inputs), and ``quantized_calibration`` the same rows in the
        quantized one, if they differ; or a ``Calibration`` that has seen them. The same input, options and seed give the same
        bytes for every number of workers, on every machine, unless ``portable`` is false. ``progress(done, total)`` hears of
        values, a column each time.
        Raises ValueError and TypeError as the other methods do, and for shapes that do not fit.
        """
        a, dtype, threads = finite(x, workers)

        def fresh(rows: Array) -> Calibration:
            return Calibration(None, held_out=0, portable=self.portable)

        data = calibrated(calibration, quantized_calibration, as_matrix(a).shape[1], fresh, threads)
        return self._encoded(a, dtype, [as_sums(data, self.method)], threads, progress)

    def encode_groups(self, x: ArrayLike, groups: Sequence[Calibration], *, workers: int = 1) -> Encoded:
        """The same of neurons in groups with inputs of their own, as many in each; a column is that of all groups together."""
        a, dtype, threads = finite(x, workers)
        return self._encoded(a, dtype, groups, threads)

    def _encoded(
        self, a: Array, dtype: str, groups: Sequence[Calibration], workers: int, progress: Progress | None = None
    ) -> Encoded:
        portable = self.portable and all(data.portable for data in groups)
        inner = super().spec(transpose(a.shape), dtype)
        planes = {name: np.zeros(shape, dtype) for name, (dtype, shape) in inner.layout().items()}
        columns = count(1)

        def become(t: int, target: Array) -> Array:
            if not np.isfinite(target).all():
                raise ValueError(f"x is too large: what column {t} should become is beyond float64; scale x down")
            codes, scales = (planes[name][t : t + 1] for name in ("codes", "scales"))
            codes[:], scales[:] = self._rows(inner, target[None])
            found: Array = inner.decoder({"codes": codes, "scales": scales})(0, 1)[0].astype(np.float64)
            if progress:
                progress(next(columns) * found.size, a.size)
            return found

        if a.size:
            with default_floats():
                Columns(as_matrix(a).astype(np.float64), groups, self.damping, self.columns, workers).follow(become)
        return Encoded(planes, Transposed.of(inner, a.shape, portable).to_dict())

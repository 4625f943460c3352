from __future__ import annotations

from typing import Any

import numpy as np

from evenbits._arrays import Array, real
from evenbits.path_following import Calibration, multiply_add
from evenbits.quantizers.path_following import PathFollowing

BLOCK = 64
"""Columns that are taken off the others at a time."""


class ErrorFeedback(PathFollowing):
    """Codes chosen column by column, each error spread over the columns that are still to come, as GPTQ does it.

    With H = Y^T Y of the layer's inputs in the quantized network, plus ``damping`` times the mean of its diagonal, and
    H = M D M^T (M upper triangular with a diagonal of ones): q_t is what w_t - sum_{s<t} M_st (q_s - w_s) is rounded to, which
    makes |Y (w - q)|^2 = sum_t D_tt (M^T (w - q))_t^2 small one term after the other. That is GPTQ without its inverse.
    It looks at the quantized network's inputs alone; ``path_following`` makes |X w - Y q| small instead. Options are those of
    ``PathFollowing``, but for ``order``, ``dead`` and ``form``.
    Source: Frantar et al., arXiv 2210.17323; the triangular form is the nearest-plane view of it.
    """

    method = "error_feedback"

    def __init__(self, bits: Any = None, *, damping: float = 0.01, **options: Any) -> None:
        for name in ("order", "dead", "form"):
            if name in options:
                raise TypeError(f"{self.method} has no option {name!r}; that is for path_following")
        super().__init__(bits, dead=0.0, **options)
        self.damping = real(damping, "damping", 0, 1e6)

    def _data(self, calibration: Any, quantized: Any, w: Array, workers: int) -> Calibration:
        data = self._sums(calibration, quantized, w, workers)
        data.gram, data.cross = self.factor(data.gram), None
        return data

    def factor(self, gram: Array) -> Array:
        """M of the damped Gram matrix; with columns="norm" that of the columns in this order, each times what orders them."""
        h = damped(gram, self.damping)
        if self.columns == "natural":
            return unit_factor(h, portable=self.portable)
        size = h.diagonal().copy()
        order = np.argsort(-size, kind="stable")
        placed = np.empty_like(h)
        placed[np.ix_(order, order)] = unit_factor(np.ascontiguousarray(h[np.ix_(order, order)]), portable=self.portable)
        return np.asarray(placed * size)


class Nearest(PathFollowing):
    """Every weight is rounded by itself, to the alphabets and steps of ``PathFollowing``: what the others are compared with.

    Calibration data only choose the step (``clip="search"``) and are what errors are measured on.
    """

    method = "nearest"

    def _data(self, calibration: Any, quantized: Any, w: Array, workers: int) -> Calibration:
        data = self._sums(calibration, quantized, w, workers)
        data.gram, data.cross = np.zeros_like(data.gram), None
        return data


def damped(gram: Array, damping: float) -> Array:
    """A Gram matrix plus ``damping`` times the mean of its diagonal, or 1 where that is 0."""
    h = gram.copy()
    mean = float(np.add.accumulate(h.diagonal())[-1]) / max(len(h), 1)
    h[np.diag_indices(len(h))] += damping * mean if mean > 0 else 1.0
    return h


def unit_factor(h: Array, *, portable: bool = True) -> Array:
    """The upper triangular M with a diagonal of ones of h = M D M^T, see ``factors``."""
    return factors(h, portable=portable)[0]


def factors(h: Array, *, portable: bool = True) -> tuple[Array, Array]:
    """M, upper triangular with a diagonal of ones, and the diagonal of D: h = M D M^T.

    h: (..., n, n), symmetric and positive definite. In one order of operations, the last column first; ``portable=False`` leaves
    it to LAPACK. Raises ValueError where h is not positive definite.
    """
    if not portable:
        lower = np.linalg.cholesky(h[..., ::-1, ::-1])[..., ::-1, ::-1]
        root = np.einsum("...ii->...i", lower)
        return np.ascontiguousarray(lower / root[..., None, :]), root * root
    n = h.shape[-1]
    h, m, d = h.copy(), np.broadcast_to(np.eye(n), h.shape).copy(), np.empty(h.shape[:-1])
    block = BLOCK if h.ndim == 2 else n
    for end in range(n, 0, -block):
        begin = max(0, end - block)
        rows = np.zeros((end - begin, *h.shape[:-2], end))
        for t in range(end - 1, begin - 1, -1):
            d[..., t] = pivot = h[..., t, t]
            if not (pivot > 0).all():
                raise ValueError(f"the Gram matrix has no positive pivot at column {t}; take more damping")
            m[..., :t, t] = column = h[..., :t, t] / pivot[..., None]
            rows[end - 1 - t, ..., :t] = row = -(column * pivot[..., None])
            h[..., :t, begin:t] += row[..., :, None] * column[..., None, begin:]
        if begin:  # what the block takes off the columns before it, in the same order
            left = np.ascontiguousarray(h[:begin, :begin])
            h[:begin, :begin] = multiply_add(rows[:, :begin].T, np.ascontiguousarray(m[:begin, begin:end][:, ::-1].T), left)
    return m, d

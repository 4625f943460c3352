"""What the estimators share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from evenbits._arrays import Array
from evenbits.encoded import Encoded
from evenbits.quantizers import quantize

Floats = NDArray[np.float64]


class QuantizedEstimator(BaseEstimator):
    """``bits``, ``method``, ``options`` and ``seed`` are those of ``evenbits.quantize``."""

    bits: Any
    method: str
    options: dict[str, Any] | None
    seed: int

    def _quantize(self, weights: Array) -> tuple[Encoded, Floats]:
        """The codes of weights and what they decode to."""
        encoded = quantize(np.asarray(weights, np.float64), self.bits, self.method, seed=self.seed, **(self.options or {}))
        decoded: Floats = encoded.decode()
        return encoded, decoded


def rounding(operations: int) -> float:
    """The relative error that so many roundings of float64 can add up to, and as much again for those of the bound itself."""
    return float(2 * operations * np.finfo(np.float64).eps)

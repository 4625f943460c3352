from __future__ import annotations

from fractions import Fraction

import numpy as np

from evenbits._arrays import Array
from evenbits.codebooks import kmeans
from evenbits.quantizers.base import Quantizer, choice
from evenbits.quantizers.uniform import group_of
from evenbits.spec import Spec


class LloydMax(Quantizer):
    """Levels of least squared error for the law of the values as they are, no rotation. Up to 8 bits.

    law: "gaussian" (default), "laplacian", or "empirical": k-means of the array's values, each divided by its row's root
    mean square, stored in the plane ``levels``.
    per: "row" (default), "tensor", or a number of consecutive values that share a scale.
    fit: "least_squares" (default) or "range": the scale that the law has, the root mean square.
    Source: Lloyd, Least squares quantization in PCM, IEEE Trans. Inf. Theory 28 (1982); Max, IRE Trans. 6 (1960).
    """

    method = "lloyd_max"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        law: str = "gaussian",
        per: str | int = "row",
        fit: str = "least_squares",
        seed: int = 0,
        stream: int = 0,
        scale_dtype: str = "float32",
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream, scale_dtype=scale_dtype)
        law = choice(law, "law", ("gaussian", "laplacian", "empirical"))
        self.grid = "table" if law == "empirical" else f"lloyd_max_{law}"
        self.fit = choice(fit, "fit", ("range", "least_squares"))
        self.group = group_of(per)

    def learn(self, values: Array, spec: Spec) -> Array:
        books = [kmeans(values, m) for m in range(spec.codes.levels, spec.top + 1)]
        sizes = range(spec.codes.levels, spec.top + 1)
        return np.concatenate([np.pad(b, (0, m - len(b)), mode="edge") for b, m in zip(books, sizes, strict=True)])

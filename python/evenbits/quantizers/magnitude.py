from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from evenbits._arrays import LARGEST, Array, bfloat16_bits, real
from evenbits.codings.streams import Stream, SurvivorStream
from evenbits.encoded import Encoded
from evenbits.quantizers.base import choice
from evenbits.quantizers.stream import StreamQuantizer, encoded_levels
from evenbits.spec import SCALE_DTYPES


class MagnitudePruning(StreamQuantizer):
    """The largest values as they are, 0 for all others, whose places are entropy-coded. A baseline for ``Pruning``.

    As many survive as ``bits`` allow for places and values together, or as ``sparsity`` says if those are fewer: the share
    of zeros, 0 to 1. Of equal magnitudes the first survive.
    values: how survivors are stored: "float32" (default), "float64", "float16" or "bfloat16".
    """

    method = "magnitude"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        sparsity: float | None = None,
        values: str = "float32",
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream)
        self.sparsity = None if sparsity is None else real(sparsity, "sparsity", 0, 1)
        self.values = choice(values, "values", tuple(SCALE_DTYPES))

    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> SurvivorStream:
        wide = SCALE_DTYPES[self.values]
        kept = size // wide
        return SurvivorStream(self.method, self.bits, shape, dtype, size - kept * wide, kept, self.values)

    def encode_rows(self, rows: Array, plan: Stream, workers: int) -> Encoded:
        size, most = np.abs(rows.reshape(-1)), plan.nbytes()
        peak = float(size.max(initial=0))
        if peak > LARGEST[self.values]:
            raise ValueError(f"values is {self.values!r}, which can't hold {peak:.3g}; take a wider one, or scale x")
        limit = int(np.count_nonzero(rows))
        if self.sparsity is not None:
            limit = min(limit, size.size - math.ceil(self.sparsity * size.size))
        best, low, high = self._keep(plan, rows, size, 0, most), 0, limit + 1
        assert best is not None
        while high - low > 1:
            kept = limit if high > limit and low == 0 else (low + high) // 2  # first, whether all may survive
            found = self._keep(plan, rows, size, kept, most)
            best, low, high = (best, low, kept) if found is None else (found, kept, high)
        return best

    def _keep(self, plan: Stream, rows: Array, size: Array, kept: int, most: int) -> Encoded | None:
        """The largest ``kept`` values encoded, if they fit."""
        if not kept:
            return self._encoded(plan, np.zeros(0, np.uint8), rows.reshape(-1)[:0])
        if kept * SCALE_DTYPES[self.values] > most:
            return None
        last = np.partition(size, size.size - kept)[size.size - kept]
        mask = size > last
        mask[np.flatnonzero(size == last)[: kept - np.count_nonzero(mask)]] = True
        stream = encoded_levels(mask.reshape(rows.shape).astype(np.int16), most)
        if stream is None:
            return None
        encoded = self._encoded(plan, stream, rows.reshape(-1)[mask])
        return encoded if encoded.nbytes <= most else None

    def _encoded(self, plan: Stream, stream: Array, survivors: Array) -> Encoded:
        with np.errstate(over="ignore", under="ignore"):
            stored = bfloat16_bits(survivors) if self.values == "bfloat16" else survivors.astype(self.values)
        coding = SurvivorStream(plan.method, plan.bits, plan.shape, plan.dtype, len(stream), len(stored), self.values)
        return Encoded({"stream": stream, "values": stored}, coding.to_dict())

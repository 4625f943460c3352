from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from numpy.typing import ArrayLike

from evenbits._arrays import Array, integer
from evenbits.codings.streams import Stream, default_floats
from evenbits.codings.trellis import MOST_EXPONENT, EntropyTrellisStream
from evenbits.encoded import Encoded, as_matrix
from evenbits.matrices import hadamard_length
from evenbits.quantizers.base import Progress, choice, finite, stored_dtype
from evenbits.quantizers.stream import StreamQuantizer
from evenbits.quantizers.trellis_rate import RateSearch
from evenbits.spec import canonical_json, plane_bytes
from evenbits.trellis import BLOCK, MOST_LEVEL
from evenbits.trellis_law import LAWS


class EntropyTrellis(StreamQuantizer):
    """An entropy-coded trellis after a random rotation: nearly the least error that any code of so many bits can have.

    Whatever the law of x, its rotated coordinates are nearly Gaussian, for which no code has an error below 4^-bits |x|^2;
    this one's is that times 1.17 at most with 8 states, 1.10 with 128, from .1 to 8 bits. ``bits`` is a ceiling for all but
    the scale and the spec, some 150 bytes; from about 10 bits on less is taken than allowed.
    states: 4, 8, ..., 256; more cost time in encoding, none in decoding. rotate=False codes values as they are, by the table
    of their own frequencies: better where they are sparse or Laplacian, as weights often are.
    law: how frequencies are told, by tables ("empirical") or by the curve of a "gaussian" or "laplacian" law, 8 to 20 bytes;
    "auto", the default, takes what leaves the least error: tables from 65,536 values on, of fewer a curve between the two, or
    tables.
    per: "tensor" (default) or "row", a scale of 2 bytes for each: equal relative errors of all rows, where else their errors
    are equal. fit: "least_squares", the default, or "unbiased", unless all becomes 0: <x, decode> = <x, x> for every seed,
    over all rows together, or with per="row" over each, to 2^-10 if its norm is at least 2^-14 of the largest. Then the mean
    over seeds is x, as far as 200 can tell; with one scale only if norms are alike, for of short rows more is lost.
    rows_per_block: rows that are decoded at a time; by default about 2^18 values.
    Encoding takes up to 14 bytes a value besides x. The same bytes on every machine.
    Sources: see ``evenbits.trellis``.
    """

    method = "entropy_trellis"
    fills = True

    def __init__(
        self,
        bits: float | Fraction,
        *,
        states: int = 32,
        rotate: bool = True,
        per: str = "tensor",
        fit: str = "least_squares",
        law: str = "auto",
        rows_per_block: int | None = None,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream)
        self.order = integer(states, "states", 4, 256).bit_length() - 1
        if states != 1 << self.order:
            raise ValueError(f"states is {states}; it must be 4, 8, 16, 32, 64, 128 or 256")
        self.rotate, self.per = bool(rotate), choice(per, "per", ("tensor", "row"))
        self.fit = choice(fit, "fit", ("least_squares", "unbiased"))
        self.law = choice(law, "law", ("auto", "empirical", *LAWS))
        self.rows_per_block = None if rows_per_block is None else integer(rows_per_block, "rows_per_block", 1, BLOCK)

    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> EntropyTrellisStream:
        d = shape[-1] if shape else 1
        length = hadamard_length(d) if self.rotate and d else max(d, 1)
        return EntropyTrellisStream(
            self.method,
            self.bits,
            shape,
            dtype,
            size,
            self.order,
            0 if self.rows_per_block is None else min(self.rows_per_block * length, BLOCK),
            few=True,
            per_row=self.per == "row",
            rotated=self.rotate,
            seed=self.seed,
            stream=self.stream,
        )

    def longest(self, shape: tuple[int, ...], dtype: str = "float32") -> Stream:
        plan = self.spec(shape, dtype)
        assert isinstance(plan, EntropyTrellisStream)
        return replace(
            plan,
            size=max(plan.size, 1),  # without a stream there is no other plane
            few=False,
            top=MOST_LEVEL,
            contexts=min(8, 1 << self.order),
            exponent=-MOST_EXPONENT if plan.compact else 0,
            outliers=max(plan.size // 8, 1),
        )

    def nbytes(self, shape: tuple[int, ...], dtype: str = "float32") -> int:
        longest = self.longest(shape, stored_dtype(dtype))
        assert isinstance(longest, EntropyTrellisStream)
        apart = {name: plane for name, plane in longest.layout().items() if name in ("scale", "rows")}
        return longest.size + plane_bytes(apart) + len(canonical_json(longest.to_dict()))

    def encode(self, x: ArrayLike, *, workers: int = 1, progress: Progress | None = None) -> Encoded:
        """As ``StreamQuantizer.encode``. ``progress(done, total)`` hears of values, as if one more pass were always to come."""
        a, dtype, workers = finite(x, workers)
        plan = self.spec(a.shape, dtype)
        with default_floats():
            return self.encode_rows(as_matrix(a), plan, workers, progress)

    def encode_rows(self, rows: Array, plan: Stream, workers: int, progress: Progress | None = None) -> Encoded:
        assert isinstance(plan, EntropyTrellisStream)
        everything = self.allowed is not None
        most = plan.size if self.allowed is None else self.allowed
        search = RateSearch(rows, plan, most, everything, self.fit == "unbiased", self.law, workers)
        search.progress = progress
        return search.run()

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from evenbits import _core
from evenbits._arrays import Array, integer, peak_exponent
from evenbits._chunks import for_row_chunks
from evenbits.codings.streams import Stream
from evenbits.codings.trellis import EntropyTrellisStream
from evenbits.encoded import Encoded
from evenbits.matrices import hadamard_length
from evenbits.quantizers.base import choice
from evenbits.quantizers.stream import StreamQuantizer, sum_of
from evenbits.spec import canonical_json
from evenbits.transforms import randomized_hadamard
from evenbits.trellis import BLOCK, FINENESS, MOST_LEVEL, Model, exp2, fitted, guessed, lanes_of, log2

SAMPLE, PIECE = 1 << 17, 1 << 12
"""Numbers that steps are tried on, in pieces."""
ROUNDS = 4
"""Searches until a model has settled, nearly."""
NEAR = 0.0008
"""Bits a value that need not be used."""
GAUSS = 1.2533
"""Standard deviations in a mean magnitude, of a Gaussian."""
RATES = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
STEPS = (1.6, 1.4, 1.1, 0.72, 0.56, 0.46, 0.25, 0.128)
"""Of a Gaussian, at these bits a value."""
PRICES = ((0.45, 0.45, 0.6, 1.3, 1.1, 0.75, 0.55, 0.42), (0.4, 0.4, 0.35, 0.45, 0.5, 0.5, 0.45, 0.42))
"""Of a bit, in squares of the step: with 8 states or fewer, and with 32 or more."""


class EntropyTrellis(StreamQuantizer):
    """An entropy-coded trellis after a random rotation: within 1.17 (8 states) or 1.1 (128) times of the least error possible.

    Whatever the law of x, its rotated coordinates are nearly Gaussian, for which no code has an error below 4^-bits |x|^2; this
    one's is that times 1.10 to 1.18 with 8 states, at any rate. ``bits`` is a ceiling for everything but the scale and the spec,
    some 150 bytes. From about 9 bits on less is taken than allowed.
    states: 4, 8, ..., 256. More cost time in encoding, none in decoding. rotate=False codes values as they are, by the table
    of their own frequencies: better where they are sparse or Laplacian. per: "tensor" (default) or "row", a scale of 2 bytes
    for each: equal relative errors of all rows, where else their errors are equal. fit: "least_squares" (default) or
    "unbiased": <x, decode> = <x, x>. rows_per_block: decoding takes that many rows at a time; by default about 2^18 values.
    Encoding keeps the coordinates, 4 bytes each, and 2 bytes a value more. The same bytes on every machine.
    Sources: see ``evenbits.trellis``.
    """

    method = "entropy_trellis"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        states: int = 8,
        rotate: bool = True,
        per: str = "tensor",
        fit: str = "least_squares",
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
        self.rows_per_block = None if rows_per_block is None else integer(rows_per_block, "rows_per_block", 1, BLOCK)

    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> EntropyTrellisStream:
        d = shape[-1] if shape else 1
        length = hadamard_length(d) if self.rotate and d else max(d, 1)
        rows = max(1, BLOCK // length) if self.rows_per_block is None else self.rows_per_block
        return EntropyTrellisStream(
            self.method,
            self.bits,
            shape,
            dtype,
            size,
            self.order,
            min(rows * length, BLOCK),
            MOST_LEVEL,
            per_row=self.per == "row",
            rotated=self.rotate,
            seed=self.seed,
            stream=self.stream,
        )

    def nbytes(self, shape: tuple[int, ...], dtype: str = "float32") -> int:
        plan = self.spec(tuple(shape), dtype)
        return plan.size + self._besides(plan)

    def _besides(self, plan: Stream) -> int:
        """Scales and spec."""
        assert isinstance(plan, EntropyTrellisStream)
        longest = replace(plan, outliers=plan.values)
        return 8 + 2 * plan.rows * plan.per_row + len(canonical_json(longest.to_dict()))

    def encode_rows(self, rows: Array, plan: Stream, workers: int) -> Encoded:
        assert isinstance(plan, EntropyTrellisStream)
        most = plan.size if self.allowed is None else self.allowed - self._besides(plan)
        return _Search(self, rows, plan, most, workers).run()


class _Found(NamedTuple):
    """Symbols of numbers in steps, the model that suits them, and what they take: all of it, in bytes."""

    model: Model
    fit: Model
    """The same, of indices that did not come as well."""
    symbols: Array
    places: Array
    size: float
    product: float
    """Of the numbers and what they become."""


class _Search:
    """The finest step whose bytes fit."""

    def __init__(self, quantizer: EntropyTrellis, x: Array, plan: EntropyTrellisStream, most: int, workers: int) -> None:
        self.quantizer, self.plan, self.most, self.workers = quantizer, plan, most, workers
        peak = np.array(max(float(x.max(initial=0)), -float(x.min(initial=0))))
        exponent = peak_exponent(peak)
        self.exponent = 0 if exponent is None else int(exponent)
        self.y = self._coordinates(x)
        self.rows: Array | None = None
        if plan.per_row:
            norms = np.sqrt(np.array([sum_of(row, row) for row in self.y]))
            self.rows = _halves(norms)
            self.y /= np.where(self.rows > 0, self.rows, np.inf)[:, None].astype(np.float32)
        self.y = self.y.reshape(-1)
        self.n = self.y.size
        self.mean = sum_of(self.y) / max(self.n, 1)
        self.peak = max(float(self.y.max(initial=0)), -float(self.y.min(initial=0)))
        self.sample = self._sample()
        size, rare = np.abs(self.sample), self.sample.size >> 10
        large = float(np.partition(size, size.size - 1 - rare)[size.size - 1 - rare]) if self.n else 0.0
        self.finest = 1.5 * (large or self.peak) / (2 * MOST_LEVEL)
        self.rate = 8 * max(most, 0) / max(self.n, 1)
        share = min(max((plan.order - 3) / 2, 0), 1)
        self.price = (1 - share) * self._between(PRICES[0]) + share * self._between(PRICES[1])

    def _between(self, table: tuple[float, ...]) -> float:
        """The entry for the rate."""
        rate = min(max(self.rate, RATES[0]), RATES[-1])
        i = min(bisect_right(RATES, rate), len(RATES) - 1)
        return table[i - 1] + (table[i] - table[i - 1]) * (rate - RATES[i - 1]) / (RATES[i] - RATES[i - 1])

    def _coordinates(self, x: Array) -> Array:
        """Rotated, at a magnitude that floats of 32 bits like."""
        plan, out = self.plan, np.empty((len(x), self.plan.length), np.float32)

        def work(begin: int, end: int) -> None:
            part = x[begin:end]
            if self.exponent:
                part = np.ldexp(part, -self.exponent)
            part = np.ascontiguousarray(part, np.float32)
            out[begin:end] = randomized_hadamard(part, seed=plan.seed, stream=plan.stream) if plan.rotated else part

        if x.size:
            for_row_chunks(len(x), plan.length, self.workers, work)
        return out

    def run(self) -> Encoded:
        best = self._best() if self.mean > 0 and self.most > 12 + 4 * self.plan.blocks else None
        if best is None:
            return Encoded({"stream": np.zeros(0, np.uint8)}, replace(self.plan, size=0, top=0).to_dict())
        return self._encoded(*best)

    def _best(self) -> tuple[float, _Found, list[Array]] | None:
        """The finest of the steps tried that fits."""
        step, slope, model = self._first_step()
        best, coarser = None, False
        for _ in range(8):
            found = self._pass(self.y, step, model)
            size, blocks = self._blocks(found) if found.size <= self.most else (found.size, [])
            left = 8 * (self.most - size) / self.n
            if left >= 0:
                best = step, found, blocks
            if best is not None and (coarser or left < NEAR or step <= self.finest):
                break
            coarser = left < 0
            step = max(self.finest, step * exp2((NEAR / 4 - min(left, 1) + coarser * NEAR / 4) / slope))
        return best

    def _sample(self) -> Array:
        if self.n <= SAMPLE:
            return self.y
        pieces = self.n // PIECE
        return np.ascontiguousarray(self.y[: pieces * PIECE].reshape(pieces, PIECE)[:: -(-self.n // SAMPLE)]).reshape(-1)

    def _first_step(self) -> tuple[float, float, Model]:
        """A step that nearly fits, by how many bits a value a step twice as large takes less, and what to search with."""
        step = max(self.finest, self.mean * GAUSS * self._between(STEPS) * exp2(min(0.0, 4 - self.rate)))
        low, high, slope, tried = self.finest, math.inf, 0.8, []
        for _ in range(10):
            found, model = self._settled(self.sample, step)
            rate = 8 * found.size / self.n
            tried.append((abs(rate - self.rate), step, rate, model))
            if len(tried) > 1 and abs(octaves := float(log2(np.array(step / tried[-2][1])))) > 0.02:
                slope = min(max((tried[-2][2] - rate) / octaves, 0.2 * min(self.rate, 1)), 8.0)
            low, high = (max(low, step), high) if rate > self.rate else (low, min(high, step))
            if tried[-1][0] < 2 * NEAR or high <= self.finest:
                break
            step *= exp2(min(max((rate - self.rate) / slope, -2.0), 2.0))
            if not low < step < high:
                step = math.sqrt(low * high)
        _, step, _, model = min(tried, key=lambda trial: trial[0])
        return step, slope, model

    def _settled(self, y: Array, step: float) -> tuple[_Found, Model]:
        """Symbols and the model that they were searched with, after a few searches each with the last one's model."""
        top, histogram = self._top(y * np.float32(1 / step))
        model = guessed(histogram, top)
        for _ in range(ROUNDS - 1):
            model = self._pass(y, step, model).fit
        return self._pass(y, step, model), model

    def _top(self, t: Array) -> tuple[int, Array]:
        """The greatest |k| worth its bytes; and how many magnitudes lie in every half step up to there."""
        size = np.abs(t)
        edge = min(float(size.max()), 2.0 * MOST_LEVEL + 1)
        histogram = np.bincount((2 * size[size <= edge]).astype(np.int64), minlength=1)
        beyond = len(t) - np.cumsum(histogram)
        top = np.arange(min(int(edge / 2) + 1, MOST_LEVEL) + 1)
        last = np.minimum(4 * top + 2, len(beyond) - 1)
        scale = self.n / len(t)
        cost = (4 + 2.2e-5 * self.n) * top + 8 * scale * beyond[last]
        best = int(top[np.argmin(cost)])
        return best, histogram[: 4 * best + 4]

    def _pass(self, y: Array, step: float, model: Model) -> _Found:
        """The search of numbers with a model, and the one that suits what it found."""
        inverse, reach = np.float32(1 / step), 2 * model.top + 1.5
        wide = self.peak * inverse > reach
        places = np.flatnonzero(np.abs(y) * inverse > reach) if wide else np.zeros(0, np.int64)
        tables, share = model.candidates(self.price), self.n / y.size
        symbols, block = np.empty(y.size, np.uint16), self.plan.block if y is self.y else BLOCK
        parts: dict[int, tuple[Array, Array]] = {}

        def work(begin: int, end: int) -> None:
            counts, sums = np.zeros(model.symbols, np.uint64), np.zeros(model.symbols)
            for first in range(begin * block, min(end * block, y.size), block):
                t = y[first : min(first + block, y.size)] * inverse
                a, b = np.searchsorted(places, [first, first + len(t)])
                t[places[a:b] - first] = 0
                _core.trellis_search(
                    t, lanes_of(len(t)), self.plan.order, FINENESS, *tables, symbols[first : first + len(t)], counts, sums
                )
            parts[begin] = counts, sums

        for_row_chunks(-(-y.size // block), block, self.workers, work)
        counts, sums = (np.stack([parts[i][j] for i in sorted(parts)]).sum(axis=0) for j in (0, 1))
        fit = fitted(counts, sums)
        used = fit.cut((int(counts.nonzero()[0][-1]) // 2 + 1) // 2)
        m = used.symbols
        bits = math.fsum(counts[:m] * used.by_symbol(used.bits))
        values = used.values.astype(np.float64)
        lanes = lanes_of(min(self.plan.block, self.n))
        size = share * (bits / 8 + 8 * len(places)) + (4 + 3 * lanes) * self.plan.blocks + 4 * (used.top + 1)
        return _Found(used, fit, symbols, places, size, math.fsum(sums[:m] * values))

    def _blocks(self, found: _Found) -> tuple[int, list[Array]]:
        """What all takes, and the bytes of each block."""
        model, block = found.model, self.plan.block
        out: dict[int, Array] = {}

        def work(begin: int, end: int) -> None:
            for i in range(begin, end):
                symbols = found.symbols[i * block : (i + 1) * block]
                room = np.empty(4 * len(symbols) + 64, np.uint8)
                size = _core.trellis_write(symbols, lanes_of(len(symbols)), self.plan.order, model.shares, model.starts, room)
                out[i] = room[:size].copy()

        for_row_chunks(self.plan.blocks, block, self.workers, work)
        blocks = [out[i] for i in range(self.plan.blocks)]
        taken = sum(map(len, blocks)) + 4 * len(blocks) + 4 * (model.top + 1) + 8 * len(found.places)
        return taken, blocks

    def _encoded(self, step: float, found: _Found, blocks: list[Array]) -> Encoded:
        own = found.places
        far = self.y[own] * np.float32(1 / step)
        scale, rows = math.ldexp(step, self.exponent), self.rows
        if self.quantizer.fit == "unbiased" and rows is None:
            scale *= sum_of(self.y, self.y) / (step * step) / (found.product + sum_of(far, far))
        elif rows is not None and self.quantizer.fit == "unbiased":
            y, decoded = self.y.reshape(-1, self.plan.length), found.model.values[found.symbols]
            decoded[own] = far
            pairs = zip(y, decoded.reshape(y.shape), strict=True)
            products = np.array([(sum_of(a, a), step * sum_of(a, b)) for a, b in pairs])
            factors = np.divide(products[:, 0], products[:, 1], out=np.ones(len(rows)), where=products[:, 1] > 0)
            rows, scale = _halves(rows * factors), scale * float((rows * factors).max())
        stream = np.concatenate(blocks)
        plan = replace(self.plan, size=len(stream), top=found.model.top, outliers=len(own))
        planes = {
            "stream": stream,
            "sizes": np.array([len(b) for b in blocks], np.uint32),
            "lengths": found.model.lengths,
            "offsets": found.model.offsets,
            "scale": np.array([scale]),
        }
        if plan.outliers:
            planes |= {"outliers": far, "places": own.astype(np.uint32)}
        if rows is not None:
            planes["rows"] = rows
        return Encoded(planes, plan.to_dict())


def _halves(rows: Array) -> Array:
    """Positive numbers in units of the greatest."""
    halves: Array = (rows / max(float(rows.max(initial=0)), 1e-300)).astype(np.float16)
    return halves

"""The step of an entropy-coded trellis whose bytes just fit. Nothing of the mathematics library decides it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from evenbits import _core
from evenbits._arrays import Array, exponent_of, greatest
from evenbits._chunks import for_row_chunks
from evenbits.codings.trellis import EntropyTrellisStream
from evenbits.encoded import Encoded
from evenbits.quantizers import trellis_start as start
from evenbits.quantizers.base import Progress
from evenbits.quantizers.stream import PIECE, SAMPLE, sample_of, sum_of
from evenbits.spec import canonical_json, plane_bytes
from evenbits.transforms import randomized_hadamard
from evenbits.trellis import BLOCK, FINENESS, MOST_LEVEL, Model, exp2, fitted, guessed, lanes_of, log2
from evenbits.trellis_law import LAWS, bytes_of, fitted_law

SETTLED = 2
"""Steps tried before the last one, at least."""
NEAR = 0.0008
"""Bits a value that need not be used."""
GAUSS = 1.2533
"""Standard deviations in a mean magnitude, of a Gaussian."""
LEAST = 1 << 12
"""Values that are worth more than 2 contexts."""
FEW = 1 << 13
"""Values that a model is first guessed by, at least."""
SMALL = 1 << 16
"""Values whose tables may take more than they are worth."""


class Found(NamedTuple):
    """Symbols of numbers in steps, the model that suits them, and what they take: all of it, in bytes."""

    model: Model
    fit: Model
    """The same, of indices that did not come as well."""
    symbols: Array
    places: Array
    size: float
    product: float
    """Of the numbers and what they become."""
    change: float
    """Of the sum of their squares, to that of what is lost."""


class RateSearch:
    """The finest step whose bytes fit."""

    progress: Progress | None = None
    passes = 0
    """Over all numbers, so far."""

    def __init__(
        self, x: Array, plan: EntropyTrellisStream, most: int, everything: bool, unbiased: bool, law: str, workers: int
    ) -> None:
        """``most``: bytes of everything, or of all but scales and spec. law: that of the model, or "empirical" or "auto"."""
        self.most, self.everything, self.unbiased, self.law, self.workers = most, everything, unbiased, law, workers
        self.plan = plan
        self.exponent = exponent_of(x)
        if plan.compact:
            self.plan = replace(plan, exponent=self.exponent)
        self.y = self._coordinates(x)
        self.rows: Array | None = None
        if plan.per_row:
            norms = np.sqrt(np.array([sum_of(row, row) for row in self.y]))
            self.rows = _halves(norms)
            self.y /= np.where(self.rows > 0, self.rows, np.inf)[:, None].astype(np.float32)
        self.y = self.y.reshape(-1)
        self.n = self.y.size
        self.mean = sum_of(self.y) / max(self.n, 1)
        self.peak = greatest(self.y)
        self.sample = self.y if self.n <= SAMPLE else sample_of(self.y).reshape(-1)
        if self.n > SAMPLE:
            self.few_values = self.sample.reshape(-1, PIECE)[::4].reshape(-1)
        else:
            self.few_values = self.sample[: max(FEW, self.n // 4)]
        size, rare = np.abs(self.sample), self.sample.size >> 10
        large = float(np.partition(size, size.size - 1 - rare)[size.size - 1 - rare]) if self.n else 0.0
        self.finest = 1.5 * (large or self.peak) / (2 * MOST_LEVEL)
        self.rate = 8 * max(most, 0) / max(self.n, 1)
        self.contexts, self.few, self.curve = 2, False, law if law in LAWS else None
        self.price = 0.0

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
        settings = self._settings() if self.mean > 0 else []
        found = [best for contexts, few in settings if (best := self._best(contexts, few)) is not None]
        if not found:
            return Encoded({"stream": np.zeros(0, np.uint8)}, replace(self.plan, size=0, exponent=0).to_dict())
        return self._encoded(*min(found, key=lambda best: best[0] * best[0] * best[1].change))

    def _settings(self) -> list[tuple[int, bool]]:
        """Contexts, and whether they have models of few bytes, that may be best."""
        rate = 8 * max(self.most - self._besides(0, None, 0), 0) / max(self.n, 1)
        low = rate < 0.9 + 0.2 * (self.plan.order - 3)
        contexts = min(8 if low and self.n >= LEAST else 2, 1 << self.plan.order)
        few = [self.law != "empirical"] if self.law != "auto" else [True, False] if self.n < SMALL else [False]
        return [(contexts, each) for each in few]

    def _besides(self, top: int, law: Array | None, outliers: int) -> int:
        """Bytes besides the stream, of what is counted."""
        few = law is not None
        plan = replace(self.plan, size=max(self.most, 1), contexts=self.contexts, top=top, few=few, outliers=outliers)
        layout = plan.layout()
        spec = len(canonical_json(plan.to_dict())) if self.everything else 0
        apart = ("stream",) if self.everything else ("stream", "scale", "rows")
        return spec + plane_bytes({name: plane for name, plane in layout.items() if name not in apart})

    def _best(self, contexts: int, few: bool) -> tuple[float, Found, list[Array]] | None:
        """The finest of the steps tried that fits."""
        self.contexts, self.few = contexts, few
        besides = self._besides(1, np.zeros(bytes_of(contexts), np.uint8) if few else None, 0)
        if self.most - besides < 5 * self.plan.blocks:
            return None
        self.rate = 8 * (self.most - besides) / self.n
        if self.plan.rotated:
            price = start.entry(start.PRICES, contexts, self.plan.order, self.rate)
            step, slope, model, _ = self._first_step(price)
        else:
            tried = ((p, self._first_step(p)) for p in start.OTHERS[min(contexts, 4)])
            price, (step, slope, model, _) = min(tried, key=lambda each: each[1][3])
        self.price = price
        best: tuple[float, Found, list[Array] | None] | None = None
        over, under = None, None  # what was left: less than nothing, and the least above
        near = max(NEAR, 16 / self.n, self.rate / 2048)
        aim = 0.6 * near
        for trial in range(10):
            found = self._pass(self.y, step, model)
            size, blocks = found.size, None
            if 0 <= 8 * (self.most - size) / self.n < 2 * near or step <= self.finest or trial > 5:  # worth writing
                size, blocks = self._blocks(found)
            left = 8 * (self.most - size) / self.n
            if left < 0:
                over = step, left
            elif under is None or left < under[1]:
                best, under = (step, found, blocks), (step, left)
            if under is not None and (under[1] < near or step <= self.finest):
                break
            if over is None or under is None:
                step = max(self.finest, step * exp2((aim * (1 << trial if left < 0 else 1) - min(left, 1)) / slope))
            else:
                share = (aim - over[1]) / (under[1] - over[1])
                step = over[0] + (under[0] - over[0]) * min(max(share, 0.1), 0.9)
        return best and self._written(best, model)

    def _written(self, best: tuple[float, Found, list[Array] | None], model: Model) -> tuple[float, Found, list[Array]] | None:
        """With its bytes, and a coarser step if sizes were not as expected."""
        step, found, blocks = best
        for trial in range(10):
            if blocks is not None:
                return step, found, blocks
            size, blocks = self._blocks(found)
            if size > self.most:
                step, blocks = step * exp2(0.01 * (1 << trial)), None
                found = self._pass(self.y, step, model)
        return None

    def _first_step(self, price: float) -> tuple[float, float, Model, float]:
        """A step that nearly fits, by how many bits a value a step twice as large takes less, and what to search with.

        At last what the sample loses, times 4^bits. Models go on settling from step to step, so that rates do not fall strictly.
        """
        self.price = price
        usual = start.entry(start.STEPS, self.contexts, self.plan.order, self.rate) * exp2(min(0.0, 4 - self.rate))
        step = max(self.finest, self.mean * GAUSS * usual)
        aim, whole = 8 * self.most / self.n, sum_of(self.sample, self.sample)
        near = 2 * max(NEAR, 64 / self.n, aim / 512)
        slope, last = 0.8, None
        tried: list[tuple[float, float, float, Model, float]] = []
        for trial in range(12):
            found, model = self._settled(self.sample, step, last)
            rate = 8 * found.size / self.n
            loss = (whole + step * step * found.change) * exp2(2 * rate)
            if tried and abs(octaves := float(log2(np.array(step / tried[-1][1])))) > 0.015:
                slope = (slope + min(max((tried[-1][2] - rate) / octaves, 0.3 * min(aim, 1)), 4.0)) / 2
            tried.append((abs(rate - aim), step, rate, model, loss))
            last = found.fit if rate > 0.4 * aim else None
            if (tried[-1][0] < near and trial >= SETTLED) or (rate <= aim and step <= self.finest):
                break
            step = max(self.finest, step * exp2(min(max((rate - aim) / slope, -2.0), 0.5 if trial else 2.0)))
        _, step, _, model, loss = min(tried[-3:], key=lambda trial: trial[0])
        return step, slope, model, loss

    def _settled(self, y: Array, step: float, last: Model | None) -> tuple[Found, Model]:
        """Symbols and the model that they were searched with, after a few searches each with the last one's model."""
        top, histogram = self._top(y * np.float32(1 / step))
        first, again = start.ROUNDS[min(self.contexts, 4)]
        model = guessed(histogram, top, self.contexts)
        if last is not None:
            model = last if last.law is not None else last.joined(model)
        else:
            model = self._searched(self.few_values, step, model, first)
        model = self._searched(y, step, model, again - 1)
        return self._pass(y, step, model), model

    def _searched(self, y: Array, step: float, model: Model, rounds: int) -> Model:
        """What suits y after so many searches, or those after which nothing changes."""
        for _ in range(rounds):
            last, model = model, self._pass(y, step, model).fit
            if np.array_equal(last.lengths, model.lengths) and np.array_equal(last.offsets, model.offsets):
                break
        return model

    def _top(self, t: Array) -> tuple[int, Array]:
        """The greatest |k| worth its bytes; and how many magnitudes lie in every half step up to there."""
        size = np.abs(t)
        edge = min(float(size.max()), 2.0 * MOST_LEVEL + 1)
        histogram = np.bincount((2 * size[size <= edge]).astype(np.int64), minlength=1)
        beyond = len(t) - np.cumsum(histogram)
        top = np.arange(min(int(edge / 2) + 1, MOST_LEVEL) + 1)
        last = np.minimum(4 * top + 2, len(beyond) - 1)
        scale = self.n / len(t)
        each = 0 if self.few else 2 * self.contexts + 2.2e-5 * self.n
        cost = each * top + 8 * scale * beyond[last]
        best = int(top[np.argmin(cost)])
        return best, histogram[: 4 * best + 4]

    def _pass(self, y: Array, step: float, model: Model) -> Found:
        """The search of numbers with a model, and the one that suits what it found."""
        inverse, reach = np.float32(1 / step), 2 * model.top + 1.5
        wide = self.peak * inverse > reach
        places = np.flatnonzero(np.abs(y) * inverse > reach) if wide else np.zeros(0, np.int64)
        far = y[places] * inverse
        tables, share = model.candidates(self.price, self.peak * float(inverse)), self.n / y.size
        symbols, block = np.empty(y.size, np.uint16), self.plan.block if y is self.y else BLOCK
        parts: dict[int, tuple[Array, Array]] = {}

        def work(begin: int, end: int) -> None:
            counts, sums = np.zeros(model.symbols, np.uint64), np.zeros(model.symbols)
            for first in range(begin * block, min(end * block, y.size), block):
                t = y[first : min(first + block, y.size)] * inverse
                a, b = np.searchsorted(places, [first, first + len(t)])
                t[places[a:b] - first] = 0
                _core.trellis_search(
                    t,
                    lanes_of(len(t)),
                    self.plan.order,
                    model.contexts,
                    FINENESS,
                    *tables,
                    symbols[first : first + len(t)],
                    counts,
                    sums,
                )
            parts[begin] = counts, sums

        for_row_chunks(-(-y.size // block), block, self.workers, work, self._heard if self.progress and y is self.y else None)
        self.passes += y is self.y
        counts, sums = (np.stack([parts[i][j] for i in sorted(parts)]).sum(axis=0) for j in (0, 1))
        fit = fitted_law(counts, sums, model.contexts, self.curve) if self.few else fitted(counts, sums, model.contexts)
        last = (int(counts.nonzero()[0][-1]) // model.contexts + 1) // 2
        used = model if fit.top < last and model.law is not None else fit.cut(last)
        m = min(used.symbols, counts.size)
        bits = math.fsum(counts[:m] * used.by_symbol(used.bits)[:m])
        values = used.values[:m].astype(np.float64)
        lanes = lanes_of(min(self.plan.block, self.n))
        size = share * bits / 8 + 3 * lanes * self.plan.blocks + self._besides(used.top, used.law, round(share * len(places)))
        product, energy = math.fsum(sums[:m] * values), math.fsum(counts[:m] * values * values)
        change = energy - 2 * product - math.fsum(np.square(far.astype(np.float64)))
        return Found(used, fit, symbols, places, size, product, change)

    def _heard(self, blocks: int) -> None:
        """So many of this pass are done: nobody knows how many passes there will be, and one more is as good a guess as any."""
        assert self.progress
        share, values = self.passes + blocks / self.plan.blocks, math.prod(self.plan.shape)
        self.progress(int(values * share / (share + 1)), values)

    def _blocks(self, found: Found) -> tuple[int, list[Array]]:
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
        return sum(map(len, blocks)) + self._besides(model.top, model.law, len(found.places)), blocks

    def _encoded(self, step: float, found: Found, blocks: list[Array]) -> Encoded:
        own = found.places
        far = self.y[own] * np.float32(1 / step)
        scale, rows, model = step if self.plan.compact else math.ldexp(step, self.exponent), self.rows, found.model
        product = found.product + sum_of(far, far)
        if self.unbiased and rows is None and product > 0:
            scale *= sum_of(self.y, self.y) / (step * step) / product
        elif rows is not None and self.unbiased:
            y, decoded = self.y.reshape(-1, self.plan.length), found.model.values[found.symbols]
            decoded[own] = far
            pairs = zip(y, decoded.reshape(y.shape), strict=True)
            products = np.array([(sum_of(a, a), step * sum_of(a, b)) for a, b in pairs])
            factors = np.divide(products[:, 0], products[:, 1], out=np.ones(len(rows)), where=products[:, 1] > 0)
            rows, scale = _halves(rows * factors), scale * float((rows * factors).max())
        stream = np.concatenate(blocks)
        few = model.law is not None
        plan = replace(self.plan, size=len(stream), contexts=model.contexts, top=model.top, few=few, outliers=len(own))
        planes: dict[str, Any] = {
            "stream": stream,
            "sizes": np.array([len(b) for b in blocks], np.uint32),
            "law": model.law,
            "lengths": model.lengths,
            "offsets": model.offsets,
            "scale": np.array([scale], plan.scale_dtype),
            "outliers": far,
            "places": own.astype(np.uint32),
            "rows": rows,
        }
        return Encoded({name: planes[name] for name in plan.layout()}, plan.to_dict())


def _halves(rows: Array) -> Array:
    """Positive numbers in units of the greatest."""
    halves: Array = (rows / max(float(rows.max(initial=0)), 1e-300)).astype(np.float16)
    return halves

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from evenbits._arrays import LARGEST, Array, exponent_of, greatest, real
from evenbits._chunks import for_row_chunks
from evenbits.codings.streams import LevelStream, Stream
from evenbits.encoded import Encoded
from evenbits.quantizers.base import choice
from evenbits.quantizers.stream import PIECE, SAMPLE, StreamQuantizer, encoded_levels, sample_of, sum_of

MOST_LEVEL = 32000
"""Magnitudes of levels stay near or below this, so that they fit into 16 bits."""
MEDIANS = 1 << 20
"""Values that a median is taken of, at most."""
NARROW = {"squared": 6.6, "absolute": 3.4}
"""How large a step is, in mean magnitudes, when the dead zone has become notably wider."""


class DeadZone(StreamQuantizer):
    """Equal steps, a wider zone around 0, and entropy coding: the least error at a rate for values as they are.

    k = sign(x) floor(|x| / step + 1 - dead), 0 where |x| < dead step, coded by adaptive range coding; what stands to the left
    and above tells how large to expect a level. ``bits`` is a ceiling for the stream, and the step the finest that
    keeps to it; levels and spec, some 150 bytes, come on top.
    loss: "squared" (default) or "absolute": levels are means or medians of what they stand for.
    distortion: the loss at which to stop before, in units of the loss of zeros: .01 is a signal-to-noise ratio of 100.
    dead: of a step, between 0 and 2; by default what is best for a Laplacian, .5 of small steps up to 1 of large ones.
    Source: Sullivan, Efficient scalar quantization of exponential and Laplacian random variables, IEEE Trans. Inf. Theory
    42 (1996); Martin, Range encoding (1979).
    """

    method = "dead_zone"

    def __init__(
        self,
        bits: float | Fraction,
        *,
        loss: str = "squared",
        distortion: float | None = None,
        dead: float | None = None,
        seed: int = 0,
        stream: int = 0,
    ) -> None:
        super().__init__(bits, seed=seed, stream=stream)
        self.loss = choice(loss, "loss", tuple(NARROW))
        self.distortion = None if distortion is None else real(distortion, "distortion", 1e-12, 1)
        self.dead = None if dead is None else real(dead, "dead", 0.01, 1.99)

    def planned(self, shape: tuple[int, ...], dtype: str, size: int) -> LevelStream:
        return LevelStream(self.method, self.bits, shape, dtype, size)

    def encode_rows(self, rows: Array, plan: Stream, workers: int) -> Encoded:
        stream, levels = _Search(self, rows, workers).run(plan.size)
        return Encoded({"stream": stream, "levels": levels}, replace(plan, size=len(stream)).to_dict())


class _Search:
    """The finest step whose stream fits, or the coarsest that is good enough if that is coarser."""

    def __init__(self, quantizer: DeadZone, x: Array, workers: int) -> None:
        self.quantizer, self.workers = quantizer, workers
        self.exponent = exponent_of(x)
        self.x = np.ascontiguousarray(np.ldexp(x, -self.exponent) if self.exponent else x, np.float32)
        self.peak = math.ldexp(greatest(x), -self.exponent)
        self.mean = sum_of(self.x) / max(self.x.size, 1)

    def run(self, most: int) -> tuple[Array, Array]:
        """The stream and what its levels mean. Of an empty stream all values are 0."""
        if self.mean == 0:
            return np.zeros(0, np.uint8), np.zeros(3)
        sample, wanted = self._sample(), self.quantizer.distortion
        step = finest = self.peak / MOST_LEVEL
        if wanted is not None:
            worst = wanted * self._loss(sample)
            step = self._coarsest(step, lambda s: self._loss(sample, s) <= worst)
        room = most * sample.size // self.x.size
        if encoded_levels(self._round(sample, step), room) is None:
            step = self._coarsest(step, lambda s: encoded_levels(self._round(sample, s), room) is None) * 1.0005
            finest = step * 0.9
        while True:
            levels = self._round(self.x, step)
            stream = encoded_levels(levels, most)
            if stream is not None:
                break
            if step > 4 * self.peak:
                return np.zeros(0, np.uint8), np.zeros(3)
            step *= 1.004
        if sample.size < self.x.size and wanted is None and step > finest and len(stream) < 0.99 * most:
            finer = step * max(0.9, 1 - 6 * (most - len(stream)) / self.x.size)  # there are bits left: once more
            more = self._round(self.x, finer)
            second = encoded_levels(more, most)
            if second is not None:
                step, levels, stream = finer, more, second
        top = LARGEST["float64"]  # a level that no value has may lie beyond it
        return stream, np.clip(np.ldexp(self._means(self.x, levels, step), self.exponent), -top, top)

    def _coarsest(self, step: float, holds: Callable[[float], bool]) -> float:
        """The coarsest step, nearly, for which something holds that holds for finer ones only; at least ``step``."""
        low, high = step, 4 * self.peak
        while high > 1.001 * low:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low

    def _sample(self) -> Array:
        if self.x.size <= SAMPLE:
            return self.x
        if self.x.shape[1] <= PIECE:
            return np.ascontiguousarray(self.x[:: -(-self.x.size // SAMPLE)])
        return sample_of(self.x.reshape(-1))

    def _dead(self, step: float) -> float:
        v = step / (self.mean * NARROW[self.quantizer.loss])
        return 1 - 0.5 / (1 + v + v * v / 2) if self.quantizer.dead is None else self.quantizer.dead

    def _round(self, x: Array, step: float) -> Array:
        levels = np.empty(x.shape, np.int16)
        inverse, offset = np.float32(1 / step), np.float32(1 - self._dead(step))

        def work(begin: int, end: int) -> None:
            t = np.abs(x[begin:end])
            t *= inverse
            t += offset
            levels[begin:end] = np.copysign(t, x[begin:end])

        for_row_chunks(len(x), x.shape[1], self.workers, work)
        return levels

    def _means(self, x: Array, levels: Array, step: float) -> Array:
        """What 1, 2 and a step after that stand for."""
        stride = -(-x.size // MEDIANS) if self.quantizer.loss == "absolute" else 1
        size, level = np.abs(x.reshape(-1)[::stride]), np.abs(levels.reshape(-1)[::stride])
        first = self._middle(size[level == 1], step * self._dead(step), step)
        many = level >= 2
        rest = size[many] - (level[many] - 2).astype(np.float32) * np.float32(step)
        return np.array([first, self._middle(rest, step * (1 + self._dead(step)), step), step])

    def _middle(self, values: Array, edge: float, step: float) -> float:
        """Their mean or median; of none the middle of the cell."""
        if not values.size:
            return edge + step / 2
        if self.quantizer.loss == "squared":
            return sum_of(values) / values.size
        return float(np.partition(values, values.size // 2)[values.size // 2])

    def _loss(self, x: Array, step: float | None = None) -> float:
        """What the values lose; all of it without a step."""
        left = x
        if step is not None:
            levels = self._round(x, step)
            first, second, _ = self._means(x, levels, step)
            size = np.abs(levels).astype(np.float32)
            y = np.where(size > 1, (size - 2) * np.float32(step) + np.float32(second), size * np.float32(first))
            left = np.abs(x) - y
        return sum_of(left) if self.quantizer.loss == "absolute" else sum_of(left, left)

"""Range coding, streams of levels and successive refinement, plainly: pure Python and NumPy."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MEMORY, LENGTHS, CLASSES, MOST = 510, 32, 8, 15


class Bit:
    """How often a decision was 0, in units of 2^-32."""

    def __init__(self) -> None:
        self.zero, self.seen = 1 << 31, 0

    def bound(self, span: int) -> int:
        return span * max(self.zero >> 16, 1) >> 16

    def learn(self, one: bool) -> None:
        share = (1 << 32) // (self.seen + 2)
        self.zero += -(self.zero * share >> 32) if one else (0xFFFFFFFF - self.zero) * share >> 32
        self.seen = min(self.seen + 1, MEMORY)


class Encoder:
    """The number in [low, low + span) / 2^(8 bytes), exactly."""

    def __init__(self) -> None:
        self.low, self.span, self.bytes = 0, 0xFFFFFFFF, 4

    def _settle(self) -> None:
        while self.span < 1 << 24:
            self.low, self.span, self.bytes = self.low << 8, self.span << 8, self.bytes + 1

    def code(self, bit: Bit, one: bool) -> None:
        bound = bit.bound(self.span)
        self.low, self.span = (self.low + bound, self.span - bound) if one else (self.low, bound)
        bit.learn(one)
        self._settle()

    def raw(self, value: int, count: int) -> None:
        while count:
            now = min(count, 8)
            count -= now
            self.span >>= now
            self.low += (value >> count & (1 << now) - 1) * self.span
            self._settle()

    def finish(self) -> bytes:
        """The fewest bytes whose every continuation lies in the interval."""
        if (self.span, self.bytes) == (0xFFFFFFFF, 4) and self.low == 0:
            return b""
        for cut in (24, 16, 8, 0):
            value = -(-self.low >> cut)
            if (value + 1) << cut <= self.low + self.span:
                return value.to_bytes(self.bytes - cut // 8, "big")
        raise AssertionError("an interval holds a number")


class Decoder:
    """Decisions of a stream; EOFError at the first that the bytes leave open."""

    def __init__(self, stream: bytes) -> None:
        self.stream, self.at = stream, 4
        self.least, self.unknown, self.span = int.from_bytes(stream[:4].ljust(4, b"\0"), "big"), 0, 0xFFFFFFFF
        self.unknown = (1 << 8 * max(4 - len(stream), 0)) - 1

    def _settle(self) -> None:
        while self.span < 1 << 24:
            here = self.at < len(self.stream)
            self.least = self.least << 8 | (self.stream[self.at] if here else 0)
            self.unknown, self.span, self.at = self.unknown << 8 | (0 if here else 255), self.span << 8, self.at + 1

    def code(self, bit: Bit) -> bool:
        bound = bit.bound(self.span)
        one = self.least >= bound
        if not one and self.least + self.unknown >= bound:
            raise EOFError
        self.least, self.span = (self.least - bound, self.span - bound) if one else (self.least, bound)
        bit.learn(one)
        self._settle()
        return one

    def raw(self, count: int) -> int:
        value = 0
        while count:
            now = min(count, 8)
            count -= now
            self.span >>= now
            digit = min(self.least // self.span, (1 << now) - 1)
            self.least -= digit * self.span
            if digit + 1 < 1 << now and self.least + self.unknown >= self.span:
                raise EOFError
            value = value << now | digit
            self._settle()
        return value


class Gamma:
    """Numbers from 1 on: their length, up to four bits that are learnt, the rest."""

    def __init__(self) -> None:
        self.tree = [[Bit() for _ in range(16)] for _ in range(LENGTHS)]

    def encode(self, coder: Encoder, lengths: list[Bit], number: int) -> None:
        length = number.bit_length() - 1
        for i in range(length):
            coder.code(lengths[i], True)
        coder.code(lengths[length], False)
        node, learnt = 1, min(length, 4)
        for i in range(learnt):
            one = bool(number >> (length - 1 - i) & 1)
            coder.code(self.tree[length][node], one)
            node = 2 * node + one
        self._rest(length - learnt, lambda rest, now: coder.raw(number >> rest & (1 << now) - 1, now))

    def decode(self, coder: Decoder, lengths: list[Bit]) -> int:
        length = 0
        while length < LENGTHS and coder.code(lengths[length]):
            length += 1
        if length == LENGTHS:
            return 0
        number, learnt = 1, min(length, 4)
        for _ in range(learnt):
            number = 2 * number + coder.code(self.tree[length][number])
        parts: list[int] = []
        self._rest(length - learnt, lambda _, now: parts.append(now))
        for now in parts:
            number = number << now | coder.raw(now)
        return number

    @staticmethod
    def _rest(rest: int, code: Callable[[int, int], None]) -> None:
        while rest:
            now = min(rest, 16)
            rest -= now
            code(rest, now)


class Levels:
    """What is known of a level from those to the left of it and the one above."""

    def __init__(self, n: int) -> None:
        self.zero, self.sign, self.rest = [Bit() for _ in range(CLASSES)], Bit(), Gamma()
        self.lengths = [[Bit() for _ in range(LENGTHS)] for _ in range(CLASSES)]
        self.above, self.n, self.last, self.before = [0] * n, n, 0, 0

    def context(self, j: int) -> int:
        if j == 0:
            self.last = self.before = 0
        activity = 2 * self.last + self.before + 2 * self.above[j]
        return sum(activity > edge for edge in (0, 1, 2, 4, 6, 10, 20))

    def saw(self, j: int, magnitude: int) -> None:
        self.before, self.last = self.last, min(magnitude, MOST)
        self.above[j] = self.last


def encode_levels(levels: Array) -> bytes:
    coder, model = Encoder(), Levels(levels.shape[-1])
    for row in levels.tolist():
        for j, level in enumerate(row):
            c = model.context(j)
            coder.code(model.zero[c], level != 0)
            if level:
                coder.code(model.sign, level < 0)
                model.rest.encode(coder, model.lengths[c], abs(level))
            model.saw(j, abs(level))
    return coder.finish()


def decode_levels(stream: bytes, rows: int, n: int) -> list[int]:
    """As many levels as the bytes hold."""
    coder, model, out = Decoder(stream), Levels(n), []
    try:
        for i in range(rows * n):
            j, magnitude, sign = i % n, 0, 1
            c = model.context(j)
            if coder.code(model.zero[c]):
                sign = -1 if coder.code(model.sign) else 1
                magnitude = model.rest.decode(coder, model.lengths[c])
            model.saw(j, magnitude)
            out.append(sign * magnitude)
    except EOFError:
        pass
    return out


def refined(stream: bytes, n: int, passes: bool, decay: float, events: int) -> Iterator[Array]:
    """What the bytes make of 0, after every event."""
    coder, y = Decoder(stream), np.zeros(n, np.float32)
    sign, number, lengths = Bit(), Gamma(), [Bit() for _ in range(LENGTHS)]
    chances = [[Bit() for _ in range(3)] for _ in range(4)]

    def threshold() -> np.float32:
        return np.float32(struct.unpack("<f", struct.pack("<I", coder.raw(32)))[0])

    def grow(i: int, by: np.float32, negative: bool) -> None:
        size = np.abs(y[i]) + by
        y[i] = -size if negative else size

    def direction(i: int) -> bool:
        return coder.code(sign) if y[i] == 0 else bool(y[i] < 0)

    try:
        if not events:
            return
        known, cursor = [0] * n, 0
        now = threshold() if not passes else np.float32(0)
        exact = float(now)
        while events:
            if passes:
                now, recent = threshold(), (0, 0)
                for i in range(n):
                    grows = coder.code(chances[known[i]][sum(recent)])
                    known[i], recent = 3 if grows else known[i] & 1, (recent[1], int(grows))
                    if grows and events:
                        negative = direction(i)
                        grow(i, np.float32(number.decode(coder, lengths)) * now, negative)
                        events -= 1
                        yield y.copy()
                    if not events:
                        return
                continue
            gap = number.decode(coder, lengths)
            if gap == 0:
                now = threshold()
                exact = float(now)
                continue
            i = (cursor + gap - 1) % n
            grow(i, now, direction(i))
            exact *= decay
            now, cursor, events = np.float32(exact), (i + 1) % n, events - 1
            yield y.copy()
    except EOFError:
        return


def refine(w: Array, decay: float, order: int, first: float, least: float) -> tuple[int, Array]:
    """The plainest encoder, one weight at a time with ``order``: how many events until the residuals add up to least; y."""
    y, n = np.zeros_like(w), len(w)
    now, exact, cursor, events = np.float32(first), float(np.float32(first)), 0, 0
    total = float(np.abs(w).astype(np.float64).sum())
    while total > least:
        residual = np.abs(w) - np.abs(y)
        candidates = np.flatnonzero(residual > now)
        if not len(candidates):
            largest = np.sort(residual)[::-1]
            now = min(largest[order], np.nextafter(largest[order - 1], np.float32(0)))
            exact = float(now)
            continue
        i = int(candidates[np.argmax(candidates >= cursor)])
        size = np.abs(y[i]) + now
        total -= float(size) - float(np.abs(y[i]))
        y[i] = -size if w[i] < 0 else size
        exact *= decay
        now, cursor, events = np.float32(exact), (i + 1) % n, events + 1
    return events, y

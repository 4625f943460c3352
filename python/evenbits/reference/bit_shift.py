"""Bit-shift trellises, see ``evenbits.bit_shift``: what is right, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BEST, WORST = -32768, 32767
WINDOW = 32
"""A decision waits for so many times the values after which any state has led to any other."""
MULTIPLIERS = (1976101133, 310825767, 4173394211, 1753752023)


def multiplier(memory: int, bits: int, per: int) -> int:
    a = MULTIPLIERS[bits // per - 1]
    return (a << (16 - memory) | a >> (16 + memory)) & 0xFFFFFFFF


def level(state: Any, memory: int, bits: int, per: int) -> Ints:
    """The sum of the four bytes of a state + 76625530 modulo 2^32, less 510."""
    h = (np.asarray(state, np.uint64) * np.uint64(multiplier(memory, bits, per)) + np.uint64(76625530)).astype(np.uint32)
    levels: Ints = h[..., None].view(np.uint8).sum(axis=-1, dtype=np.int64) - 510
    return levels


def decode(codes: NDArray[np.uint8], n: int, memory: int, bits: int, per: int) -> Ints:
    """Rows of n values before they are scaled."""
    ends = np.arange(1, n + 1) * bits // per
    stream = np.unpackbits(codes, axis=-1, bitorder="little")[..., : ends[-1]].astype(np.int64)
    windows = (ends[:, None] - memory + np.arange(memory)) % ends[-1]
    return level((stream[..., windows] << np.arange(memory)).sum(axis=-1), memory, bits, per)


def search(x: Ints, memory: int, bits: int, per: int) -> NDArray[np.uint8]:
    """The bits of one row of integers, in whole bytes."""
    return _Search(np.asarray(x, np.int64), memory, bits, per).run()


class _Search:
    def __init__(self, x: Ints, memory: int, bits: int, per: int) -> None:
        self.x, self.memory, self.states = x, memory, 1 << memory
        self.places = np.arange(len(x) + 1) * bits // per
        self.widths = np.diff(self.places)
        least = bits // per
        self.factor = 1 << max(0, least - 2)
        self.levels = level(np.arange(self.states), memory, bits, per) * (32 if least == 1 else 64)
        reach = -(-memory // least)
        self.around, self.window = min(8 * reach, len(x)), WINDOW * reach

    def start(self, costs: Ints) -> None:
        self.costs, self.least, self.base = costs, 0, 0
        self.chosen: dict[int, Ints] = {}

    def step(self, step: int, i: int) -> None:
        """One value: from states p K + j, the cheapest, to states c G + p."""
        if self.chosen:
            self.base = self.least - self.base - BEST
        k = self.widths[i]
        pairs = self.costs.reshape(self.states >> k, 1 << k)
        self.chosen[step] = pairs.argmin(axis=1)
        self.least = int(pairs.min())
        before = np.clip(pairs.min(axis=1) - self.base, BEST, WORST)
        e = np.clip(np.clip(self.x[i] - self.levels, BEST, WORST) * self.factor, BEST, WORST)
        self.costs = np.clip(np.tile(before, 1 << k) + (e * e >> 16), BEST, WORST)

    def best(self, after: int) -> int:
        """The cheapest state; of equals the one of least j, then of least p, as the value after that has them."""
        k = self.widths[after % len(self.x)]
        order = np.arange(self.states).reshape(self.states >> k, 1 << k).T.reshape(-1)
        return int(order[self.costs[order].argmin()])

    def back(self, state: int, step: int, i: int) -> int:
        k = self.widths[i]
        p = state & ((self.states >> k) - 1)
        return int(p << k | self.chosen[step][p])

    def run(self) -> NDArray[np.uint8]:
        n, tail = len(self.x), self.around
        self.start(np.full(self.states, BEST))
        for step in range(2 * tail):
            self.step(step, (n - tail + step) % n)
        state = self.best(tail)
        for step in range(2 * tail - 1, tail - 1, -1):
            state = self.back(state, step, step - tail)
        joint = self.known = state
        self.written = 0
        self.stream = np.zeros(self.places[-1], np.uint8)
        i = self.start_again()
        while i < n:
            self.step(i, i)
            i += 1
            due = i == n or i - self.written == 2 * self.window
            if due and not (self.write(joint, n, n) if i == n else self.write(self.best(i), i, self.written + self.window)):
                i = self.start_again()
        return np.packbits(self.stream, bitorder="little")

    def start_again(self) -> int:
        """From the state that all values before ``written`` lead to."""
        self.start(np.where(np.arange(self.states) == self.known, BEST, WORST))
        self.leads = True
        return self.written

    def write(self, state: int, end: int, last: int) -> bool:
        """The bits up to value ``last``, on the way to a state before value ``end``; False if it does not come from ``known``."""
        for i in range(end - 1, self.written - 1, -1):
            if i + 1 == last:
                after = state
            if i < last:
                k = self.widths[i]
                self.stream[self.places[i] : self.places[i + 1]] = state >> (self.memory - k) >> np.arange(k) & 1
            state = self.back(state, i, i)
        if state != self.known and not self.leads:
            return False
        self.written, self.known, self.leads = last, after, False
        return True
